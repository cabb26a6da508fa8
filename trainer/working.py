"""The working folder: the paths of everything that geosim writes."""

from __future__ import annotations

from pathlib import Path


class Working:
    """Paths below ``--working``; none is created here.

    Attributes:
        root: the working folder.
        model: folder of the trained model.
        features: folder of the feature cache.
        qdrant: folder of the embedded store.
        datasets: file with the location of each data set on this machine (`ingest/catalog.py`).
        embeddings: the exported vectors.
        index: the exported neighbour graph.
        samples: contact sheet of the sample queries of ``geosim run``.
        derived: folder of what is computed from a collection, such as its map.
        report: folder of the runs and the report of ``geosim evaluate``.
        sample_set: folder of the generated data set of ``geosim demo``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.model = root / "model"
        self.features = root / "features"
        self.qdrant = root / "qdrant"
        self.datasets = root / "datasets.json"
        self.embeddings = root / "embeddings.json"
        self.index = root / "inverted-index.json"
        self.samples = root / "samples.png"
        self.derived = root / "derived"
        self.report = root / "report"
        self.sample_set = root / "geosim-sample"
