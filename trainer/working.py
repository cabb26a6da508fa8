"""The working folder: the paths of everything that geosim writes."""

from __future__ import annotations

from pathlib import Path

from geosim.trainer.temporary import delete_abandoned


class Working:
    """Paths below ``--working``; none is created here."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.model = root / "model"
        self.features = root / "features"  # the feature cache
        self.hashes = root / "hashes"  # of files by their stat (`trainer/data/hashes.py`)
        self.qdrant = root / "qdrant"  # the embedded store
        self.datasets = root / "datasets.json"  # where each data set is (`ingest/catalog.py`)
        self.embeddings = root / "embeddings.json"  # exported vectors
        self.index = root / "inverted-index.json"  # exported neighbour graph
        self.samples = root / "samples.png"  # sample queries of `geosim run`
        self.derived = root / "derived"  # computed from a collection, such as its map
        self.marks = root / "marks"  # right and wrong hits, by collection (`search/marks.py`)
        self.report = root / "report"  # runs and report of `geosim evaluate`
        self.sample_set = root / "geosim-sample"  # generated data set of `geosim demo`

    def sweep(self) -> None:
        """Delete the unfinished files of killed processes, also where nothing is written now."""
        written = (self.model, self.hashes, self.qdrant, self.derived, self.marks, self.report)
        for folder in (self.root, *written, self.report / "runs"):
            delete_abandoned(folder)
