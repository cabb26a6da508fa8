"""A network of the user's own as a frozen backbone: an ONNX, OpenVINO or Keras file.

It is run by OpenVINO on the CPU. The model's folder keeps the graph, so the file is needed for
training only.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from geosim.trainer.backbones.own_graph import UnfitError, fit_graph, reason
from geosim.trainer.backbones.own_sidecar import Sidecar, read_sidecar
from geosim.trainer.backbones.spec import BackboneSpec, Pretrained
from geosim.trainer.errors import ModelError
from geosim.trainer.files import sha256_of
from geosim.trainer.runtime.backbone import Backbone
from geosim.trainer.runtime.keras import export, import_keras
from geosim.trainer.runtime.openvino import ExportedBackbone, import_openvino

ENDINGS = (".onnx", ".xml", ".keras")
"""Endings of network files: ONNX, OpenVINO, Keras."""

LARGEST = 2 * 2**30
"""Bytes of the largest network; training holds it in memory more than once."""

PRECISION = "bf16"

# In an ONNX file: a tensor's entry "location", the name of the file that holds its values.
# `TensorProto.external_data` of onnx.proto is field 13.
_EXTERNAL = re.compile(rb"\x6a[\x80-\xff]{0,2}[\x00-\x7f]\x0a\x08location\x12([\x01-\x7f])")


def is_network(name: str) -> bool:
    """Return whether a value of ``--backbone`` is a network file, by its ending."""
    return Path(name).suffix.lower() in ENDINGS


def spec_of_network(path: Path) -> BackboneSpec:
    """Return the spec of a network file that is not read: without its sizes."""
    return BackboneSpec(
        name=re.sub(r"[^A-Za-z0-9._-]+", "_", path.stem)[:40] + path.suffix.lower(),
        summary="a network of your own",
        input_size=0,
        feature_width=0,
        version=1,
        licence="that of the network's publisher",
        build=_not_read,
        keras=False,
        graph_only=True,
        precision=PRECISION,
    )


def _not_read(_size: int) -> Backbone:
    raise ModelError("a network file is read by open_network, or run from the folder of a model")


def open_network(path: Path) -> Pretrained:
    """Read a network file and its sidecar, and try it on two generated pictures.

    Raises:
        ModelError: a file is missing or damaged, or inputs or outputs do not fit.
    """
    files = _files(path)
    sidecar = read_sidecar(path)
    try:
        digests = [sha256_of(file) for file in files]
        exported, width = fit_graph(_read(path), sidecar)
    except OSError as error:
        raise ModelError(f"{error.filename or path} cannot be read: {error.strerror}") from error
    except UnfitError as error:
        raise ModelError(f"{path} does not fit: {error}") from error
    network = ExportedBackbone(exported, PRECISION)
    _try(path, network, sidecar)
    facts = orjson.dumps(asdict(sidecar), option=orjson.OPT_SORT_KEYS)
    digest = hashlib.sha256("".join(digests).encode() + facts).hexdigest()
    spec = replace(
        spec_of_network(path),
        input_size=sidecar.size,
        feature_width=width,
        build=lambda _size: network,
    )
    return Pretrained(spec, (), digest)


def _files(path: Path) -> list[Path]:
    """Return the network file and those that it refers to.

    Raises:
        ModelError: one is missing, no regular file or too large.
    """
    files = [path]
    if path.suffix.lower() == ".xml":
        files.append(path.with_suffix(".bin"))
    _check_sizes(path, files)
    if path.suffix.lower() == ".onnx":
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error.strerror}") from error
        places = {(found.end(), found[1][0]) for found in _EXTERNAL.finditer(content)}
        names = sorted({content[end : end + length] for end, length in places})
        for name in names:
            text = name.decode(errors="replace")
            if Path(text).name != text or "\\" in text:
                raise ModelError(f"{path} keeps weights in {text!r}, which is not beside it")
            files.append(path.with_name(text))
        _check_sizes(path, files)
    return files


def _check_sizes(path: Path, files: list[Path]) -> None:
    total = 0
    for file in files:
        if not file.is_file():
            needs = "" if file == path else f"; {path.name} needs it beside it"
            raise ModelError(f"there is no network file {file}{needs}")
        total += file.stat().st_size
    if path.suffix.lower() == ".keras":
        try:
            with zipfile.ZipFile(path) as archive:
                total = sum(one.file_size for one in archive.infolist())
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise ModelError(
                f"{path} is damaged or no Keras file ({reason(error)}); save it with "
                "model.save('NAME.keras')"
            ) from error
    if total > LARGEST:
        raise ModelError(
            f"{path} holds {total:,} bytes, expected {LARGEST:,} at most; export it in float16, or "
            "take a smaller network"
        )


def _read(path: Path) -> Any:
    """Read a network as an OpenVINO model."""
    core = import_openvino().Core()
    kinds = {".onnx": "an ONNX file", ".xml": "an OpenVINO file with its .bin"}
    try:
        if path.suffix.lower() != ".keras":
            return core.read_model(str(path))
    except RuntimeError as error:
        kind = kinds[path.suffix.lower()]
        raise ModelError(
            f"{path} is damaged or not {kind} that OpenVINO can read: {reason(error)}"
        ) from error
    try:
        model = import_keras().saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras, zipfile and h5py raise many kinds
        raise ModelError(
            f"{path} cannot be loaded by Keras: {reason(error)}; a network with code of its own "
            "can be exported to ONNX"
        ) from error
    try:
        exported = export(model)
        return core.read_model(exported.graph, exported.weights)
    except ModelError:
        raise
    except Exception as error:  # TensorFlow raises many kinds for a model that it cannot trace
        raise ModelError(f"{path} cannot be exported to OpenVINO: {reason(error)}") from error


def _try(path: Path, network: ExportedBackbone, sidecar: Sidecar) -> None:
    """Raise `ModelError` if a network fails on pictures or tells none apart."""
    size = sidecar.size
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    slope = np.linspace(0, 255, size, dtype=np.uint8)[:, None, None]
    pictures = np.stack([noise, np.broadcast_to(slope, noise.shape)])
    try:
        features = network(pictures)
    except ModelError as error:
        raise ModelError(f"{path}: {str(error).partition('; train again')[0]}") from error
    if not np.isfinite(features).all():
        raise ModelError(
            f"{path} gives numbers that are not finite; check range, mean and std in its sidecar"
        )
    if np.array_equal(features[0], features[1]):
        raise ModelError(
            f"{path} gives the same features for different pictures; check the output, range, mean "
            "and std in its sidecar"
        )
