"""The working folder: everything the product writes, and under which name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Working:
    """Paths below ``--working``; nothing is created before it is written."""

    root: Path

    @property
    def model(self) -> Path:
        """The trained model's folder."""
        return self.root / "model"

    @property
    def features(self) -> Path:
        """The feature cache's folder."""
        return self.root / "features"

    @property
    def qdrant(self) -> Path:
        """Folder of the embedded store."""
        return self.root / "qdrant"

    @property
    def datasets(self) -> Path:
        """Where this machine keeps the pictures of each data set (`ingest/catalog.py`)."""
        return self.root / "datasets.json"

    @property
    def embeddings(self) -> Path:
        """The exported vectors."""
        return self.root / "embeddings.json"

    @property
    def index(self) -> Path:
        """The exported neighbour graph."""
        return self.root / "inverted-index.json"

    @property
    def samples(self) -> Path:
        """Contact sheet of the sample queries of ``geosim run``."""
        return self.root / "samples.png"

    @property
    def derived(self) -> Path:
        """What is worked out from a collection, and again when it changes: its map, its scores."""
        return self.root / "derived"

    @property
    def report(self) -> Path:
        """Runs and report of ``geosim evaluate``."""
        return self.root / "report"

    @property
    def sample_set(self) -> Path:
        """The generated data set of ``geosim demo``."""
        return self.root / "geosim-sample"
