"""The saved model: a card, a head and the backbone's weights in ``<working>/model/``.

The card, ``model.json``, is written last and names the other files with their SHA-256, so that a
folder always holds either the old model or the new one. `trainer/kept.py` has the former ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
from numpy.typing import NDArray

from geosim.trainer.backbones.registry import spec_of
from geosim.trainer.backbones.spec import BackboneSpec, Pretrained
from geosim.trainer.data.views import views_digest
from geosim.trainer.errors import ModelError
from geosim.trainer.features import FeatureExtractor
from geosim.trainer.files import replacing, sha256_of
from geosim.trainer.heads.head import Head
from geosim.trainer.kept import (
    CARD,
    NAME_DIGITS,
    REMEDY,
    cards,
    changing,
    find_card,
    keep_current,
    prune,
    read_card,
)
from geosim.trainer.runtime.backbone import Backbone
from geosim.trainer.runtime.choice import choose_runtime, gpu_present
from geosim.trainer.runtime.keras import KerasBackbone
from geosim.trainer.runtime.openvino import Exported, ExportedBackbone, OpenVinoBackbone

BACKBONE_FILES = {"backbone": ".weights.h5", "graph": ".xml", "graph_weights": ".bin"}
"""File suffixes of a Keras backbone by entry of the card: Keras weights for a GPU, the exported
graph for a CPU."""

GRAPH_FILES = ("graph", "graph_weights")
"""Those entries of a network of the user's own."""


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A trained model; its backbone is loaded on demand."""

    folder: Path  # that it is saved in
    spec: BackboneSpec
    head: Head
    card: Mapping[str, Any]  # content of model.json

    @property
    def fingerprint(self) -> str:
        """Hex digest that changes with the embeddings that the model computes."""
        return str(self.card["fingerprint"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes it was trained on, sorted."""
        return tuple(self.card["classes"])

    def extractor(self, features: Path) -> FeatureExtractor:
        """Return an extractor for the backbone; ``features`` is the folder of the feature cache."""
        fingerprint = str(self.card["backbone"]["fingerprint"])
        views = self.head.views
        return FeatureExtractor(self.spec, fingerprint, self._load_backbone, features, views)

    def check(self) -> None:
        """Compare all files with the card; `load_model` checks only the head's.

        Raises:
            ModelError: a file is missing or damaged.
        """
        for entry in self.card["files"].values():
            check_file(self.folder, entry)

    def _load_backbone(self) -> Backbone:
        if self.spec.graph_only or (self.spec.keras and not gpu_present()):
            files = self.card["files"]
            check_file(self.folder, files["graph_weights"])
            exported = Exported.read(check_file(self.folder, files["graph"]))
            return OpenVinoBackbone(exported, self.spec.precision)
        backbone = self.spec.build(self.spec.input_size)
        if isinstance(backbone, KerasBackbone):
            backbone.load(check_file(self.folder, self.card["files"]["backbone"]))
        return choose_runtime(backbone, self.spec.precision)


def fingerprint_of(backbone_fingerprint: str, head: Head) -> str:
    """Return the fingerprint of a backbone, views of a picture and a head, as hex SHA-256."""
    prefix = backbone_fingerprint + (views_digest() if head.views > 1 else "")
    return sha256_of_arrays(head.arrays().values(), prefix=prefix)


def sha256_of_arrays(arrays: Iterable[NDArray[Any]], *, prefix: str = "") -> str:
    """Return the SHA-256 of a text and arrays, as float32, as hex."""
    digest = hashlib.sha256(prefix.encode())
    for array in arrays:
        digest.update(array.astype("<f4").tobytes())
    return digest.hexdigest()


def load_model(folder: Path, fingerprint: str | None = None) -> Model:
    """Load the current model without its backbone, or the one with this fingerprint.

    Raises:
        ModelError: the model is missing, damaged or of another version.
    """
    card = read_card(folder) if fingerprint is None else find_card(folder, fingerprint)
    if card is None:
        raise ModelError(f"there is no model {fingerprint} in {folder}; {REMEDY}")
    try:
        spec = spec_of(card["backbone"]["name"])
        if spec.trained or spec.graph_only:
            spec = replace(spec, input_size=int(card["input_size"]))
        if spec.graph_only:
            spec = replace(spec, feature_width=int(card["backbone"]["feature_width"]))
        weights = str(card["backbone"]["weights_sha256"])
        if Pretrained(spec, (), weights).fingerprint != card["backbone"]["fingerprint"]:
            raise ModelError(
                f"the model in {folder} was made by another version of geosim, whose backbone "
                f"computes differently; {REMEDY}"
            )
        for name in BACKBONE_FILES if spec.keras else GRAPH_FILES if spec.graph_only else ():
            str(card["files"][name]["sha256"])
        classes = card["classes"]
        if not isinstance(classes, list) or (
            not classes and card["training"]["images_per_class"]  # empty if trained without any
        ):
            raise TypeError("no list of classes")
        backbone_fingerprint = str(card["backbone"]["fingerprint"])
        path = check_file(folder, card["files"]["head"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"the model card in {folder} is incomplete; {REMEDY}") from error
    head = Head.load(path, feature_width=spec.feature_width)
    table = card.get("views", {}).get("table")
    if head.views > 1 and table != views_digest():
        raise ModelError(
            f"the model in {folder} was made by another version of geosim, which takes other views "
            f"of a picture; {REMEDY}"
        )
    if fingerprint_of(backbone_fingerprint, head) != card["fingerprint"]:
        raise ModelError(
            f"the model card in {folder} is damaged: its fingerprint is not that of its backbone "
            f"and head; {REMEDY}"
        )
    return Model(folder, spec, head, card)


def save_model(
    folder: Path,
    head: Head,
    backbone: Backbone | None,
    card: Mapping[str, Any],
    previous: Mapping[str, Any] | None,
) -> None:
    """Write a model; the card is written last and replaces the old one atomically.

    ``backbone`` is None if the model of the card ``previous`` has the same one on disk. The old
    model is kept while a collection may need it; other former ones are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with changing(folder):
        files = _write_files(folder, head, backbone, card, previous)
        content = orjson.dumps({**card, "files": files}, option=orjson.OPT_INDENT_2)
        keep_current(folder)
        with replacing(folder / CARD) as temporary:
            temporary.write_bytes(content + b"\n")
        prune(folder)


def _write_files(
    folder: Path,
    head: Head,
    backbone: Backbone | None,
    card: Mapping[str, Any],
    previous: Mapping[str, Any] | None,
) -> dict[str, dict[str, str]]:
    """Write the files that a card names, and return its entry on them."""
    fingerprint = str(card["fingerprint"])
    files = {"head": _write(folder / f"head-{fingerprint[:NAME_DIGITS]}.npz", head.save)}
    found = whole_backbone(folder, str(card["backbone"]["fingerprint"]))
    if found:
        return files | found
    if isinstance(backbone, KerasBackbone | ExportedBackbone):
        stem = f"backbone-{str(card['backbone']['fingerprint'])[:NAME_DIGITS]}"
        exported = backbone.exported
        saves: dict[str, Callable[[Path], object]] = {
            "graph": lambda path: path.write_bytes(exported.graph),
            "graph_weights": lambda path: path.write_bytes(exported.weights),
        }
        if isinstance(backbone, KerasBackbone):
            saves["backbone"] = backbone.save
        for name, save in saves.items():
            files[name] = _write(folder / (stem + BACKBONE_FILES[name]), save)
    elif previous is not None:
        old = previous["files"]
        files |= {name: old[name] for name in BACKBONE_FILES & old.keys()}
    return files


def whole_backbone(folder: Path, fingerprint: str) -> dict[str, dict[str, str]]:
    """Return the entries of a backbone's files, if a model in a folder has them all whole.

    Written anew, they might not be those of the models that share them, to the last byte.
    """
    for card in cards(folder):
        with suppress(ModelError, KeyError, TypeError, AttributeError):
            if card["backbone"]["fingerprint"] == fingerprint:
                files = {
                    name: card["files"][name] for name in BACKBONE_FILES & card["files"].keys()
                }
                for entry in files.values():
                    check_file(folder, entry)
                return files
    return {}


def _write(path: Path, save: Callable[[Path], object]) -> dict[str, str]:
    with replacing(path) as temporary:
        save(temporary)
    return {"file": path.name, "sha256": sha256_of(path)}


def check_file(folder: Path, entry: Mapping[str, str]) -> Path:
    """Return the path of a model's file after comparing its SHA-256 with the card's entry.

    Raises:
        ModelError: it is missing or damaged.
    """
    path = folder / Path(entry["file"]).name
    try:
        actual = sha256_of(path)
    except OSError as error:
        raise ModelError(f"{path} of the model is missing or unreadable; {REMEDY}") from error
    if actual != entry["sha256"]:
        raise ModelError(
            f"{path} is damaged: SHA-256 {actual[:12]}, the card says {entry['sha256'][:12]}; "
            f"{REMEDY}"
        )
    return path
