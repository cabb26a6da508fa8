"""A search as it is without this project's runtime: ``python -m ... PICTURE WORKING``.

Loads the network with Keras on TensorFlow, embeds the picture with it and asks the collection.
Prints a line of JSON as ``geosim-search`` does, as far as the benchmark reads it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click


def main(picture: Path, working: Path) -> None:
    """Search for one picture."""
    from geosim.ingest.schema import VectorQuery
    from geosim.ingest.store.factory import open_store
    from geosim.trainer.backbones.registry import choose
    from geosim.trainer.data.images import prepare
    from geosim.trainer.model import load_model

    model = load_model(working / "model")
    backbone = choose(model.spec.name)[0].load()
    pixels = prepare(picture.read_bytes(), model.spec.input_size).pixels
    vector = model.head(backbone(pixels[None]))[0]
    with open_store(None, "geosim", working=working) as store:
        matches = store.query([VectorQuery(vector)], 10)[0]
    hits = [{"path": match.payload.path, "score": match.score} for match in matches]
    click.echo(json.dumps({"query": str(picture), "hits": hits}))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
