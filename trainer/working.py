"""The working folder: the paths of everything that geosim writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Working:
    """Paths below ``--working``; none is created here."""

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
        """Where each data set lies on this machine (`ingest/catalog.py`)."""
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
        """Folder of what is computed from a collection, such as its map."""
        return self.root / "derived"

    @property
    def report(self) -> Path:
        """Runs and report of ``geosim evaluate``."""
        return self.root / "report"

    @property
    def sample_set(self) -> Path:
        """The generated data set of ``geosim demo``."""
        return self.root / "geosim-sample"
