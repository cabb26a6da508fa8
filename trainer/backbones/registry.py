"""The table of all backbones, and the choice of a backbone with its weights.

A module of a backbone registers it on import; `geosim.trainer.backbones` imports the built-in ones.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from geosim.trainer.backbones.own_network import (
    ENDINGS,
    is_network,
    open_network,
    spec_of_network,
)
from geosim.trainer.backbones.spec import BackboneSpec, Pretrained
from geosim.trainer.errors import ModelError, WeightsError
from geosim.trainer.files import sha256_of
from geosim.trainer.runtime.keras import check_installed

BACKBONES: dict[str, BackboneSpec] = {}
"""All registered backbones by name."""

AUTO = ("resnet50", "efficientnet-lite0")
"""The backbone that ``auto`` takes, and the one that it takes where the first has no weights."""


def register(spec: BackboneSpec) -> BackboneSpec:
    """Add a backbone to the table and return it; raise ValueError if the name is taken."""
    if BACKBONES.setdefault(spec.name, spec) != spec or spec.name == "auto":
        raise ValueError(f"the backbone name {spec.name!r} is taken; choose another")
    return spec


def spec_of(name: str) -> BackboneSpec:
    """Return the spec called ``name``; raise `ModelError` with the valid names if it is unknown.

    The spec of a network file has an input size and a feature width of 0: `open_network` and the
    card of a model know them.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    if is_network(name):
        return spec_of_network(Path(name))
    raise ModelError(
        f"unknown backbone {name!r}; expected auto, {', '.join(sorted(BACKBONES))}, or a file of a "
        f"network, {', '.join(ENDINGS)}"
    )


def choose(
    name: str, weights: Path | None = None, auto: tuple[str, ...] = AUTO
) -> tuple[Pretrained, str]:
    """Find a backbone and its weights; return them and a one-line reason for the choice.

    The name ``auto`` is the first of ``auto`` whose weights are cached, installed or can be
    downloaded. A path is a network file of the user's own. ``weights`` is a local file, for a
    backbone that takes one.

    Raises:
        ModelError: the name is unknown, a network file cannot be used, or TensorFlow is not
            installed.
        WeightsError: the weights of a named backbone, or of all of ``auto``, are not available.
    """
    check_installed()
    if weights is not None:
        spec = asked_for(name, weights)
        return _pretrained(spec, (weights,)), f"backbone {spec.name}: weights of {weights}"
    if name != "auto":
        spec = spec_of(name)
        if spec.graph_only:
            return open_network(Path(name)), f"backbone {name}, as asked"
        files = () if spec.find_weights is None else spec.find_weights()
        return _pretrained(spec, files), f"backbone {name}, as asked"
    first, *others = auto
    if not others:
        return choose(first)[0], f"backbone {first}: its weights are installed"
    try:
        return choose(first)[0], f"backbone {first}: its ImageNet weights are cached"
    except WeightsError:
        missing = f"those of {first} cannot be had (--backbone {first} says why)"
    pretrained, why = choose(name, None, tuple(others))
    return pretrained, f"{why}, {missing}"


def asked_for(name: str, weights: Path | None) -> BackboneSpec:
    """Return the backbone that a name other than ``auto``, or a weights file, asks for.

    Raises:
        ModelError: the name is unknown.
        WeightsError: the backbone takes no weights file.
    """
    takers = [spec.name for spec in BACKBONES.values() if spec.takes_weights]
    spec = spec_of(takers[0] if name == "auto" else name)
    if weights is not None and not spec.takes_weights:
        raise WeightsError(f"--weights is for {', '.join(takers)}; {name} takes none, leave it out")
    return spec


def _pretrained(spec: BackboneSpec, files: tuple[Path, ...]) -> Pretrained:
    try:
        digests = [sha256_of(file) for file in files]
    except OSError as error:
        raise WeightsError(
            f"weights {error.filename} cannot be read: {error.strerror}; give --weights an "
            "existing .h5 file"
        ) from error
    joined = "".join(digests)
    digest = joined if len(digests) < 2 else hashlib.sha256(joined.encode()).hexdigest()
    return Pretrained(spec, files, digest)
