"""A search with Keras on TensorFlow: ``python -m tests.benches.tensorflow_search FILE WORKING``."""

from __future__ import annotations

import sys
from pathlib import Path

from geosim.ingest.schema import VectorQuery
from geosim.ingest.store.factory import open_store
from geosim.trainer.backbones.registry import choose
from geosim.trainer.data.images import prepare
from geosim.trainer.model import load_model


def main(picture: Path, working: Path) -> None:
    """Embed a picture and print the paths of its hits."""
    model = load_model(working / "model")
    backbone = choose(model.spec.name)[0].load()
    pixels = prepare(picture.read_bytes(), model.spec.input_size).pixels
    vector = model.head(backbone(pixels[None]))[0]
    with open_store(None, "geosim", working=working) as store:
        for match in store.query([VectorQuery(vector)], 10)[0]:
            sys.stdout.write(f"{match.payload.path}\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
