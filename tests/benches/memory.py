"""The memory of a large ingest and export, and how much of it is the engine's own."""

from __future__ import annotations

from pathlib import Path

from geosim.trainer.working import Working
from tests.benches import synthetic
from tests.benches.children import in_child, peak_of
from tests.benches.growth import K
from tests.benches.results import OURS, Row, Settings, Target

ABOUT = (
    "Largest resident memory of a fresh process that ingests, or exports, synthetic vectors; and "
    "of one that stores, or reads, the same points through Qdrant Edge and keeps nothing. GB are "
    "10^9 bytes; one run each."
)
FULL = 1_000_000
ENGINE = "Qdrant Edge alone"
ALLOWED = 1.5
"""GB that this project may take beyond the engine's own."""


def measure(settings: Settings, scratch: Path) -> list[Row]:
    """Measure the processes one after the other."""
    size = min(settings.largest, FULL)
    in_child(synthetic.fill_cache, Working(scratch), size)
    ingesting = peak_of(ingest, scratch, size)
    exact = peak_of(export, scratch, False)
    approximate = peak_of(export, scratch, True)
    storing = peak_of(store_alone, scratch / "engine", size)
    reading = peak_of(read_alone, scratch / "engine", size)
    return [
        *_rows(f"ingest of {size:,} vectors", ingesting, storing, size),
        *_rows(f"export of {size:,} vectors, exact", exact, reading, size),
        *_rows(f"export of {size:,} vectors, approximate", approximate, reading, size),
    ]


def _rows(group: str, ours: float, engine: float, size: int) -> list[Row]:
    target = Target(ours - engine, ALLOWED, "GB") if size >= FULL else None
    return [
        Row(group, OURS, "GB", (ours,), 1.0, target),
        Row(group, ENGINE, "GB", (engine,), engine / ours),
    ]


def ingest(folder: Path, size: int) -> None:
    """Ingest the data set whose features are cached in ``folder``."""
    from geosim.ingest.store.factory import open_store
    from geosim.ingest.sync import sync

    working = Working(folder)
    with open_store(None, "geosim", working=folder) as store:
        sync(synthetic.dataset(size), synthetic.model(working.model), store, working)


def export(folder: Path, approximate: bool) -> None:
    """Export what `ingest` stored."""
    from geosim.ingest.store.factory import open_store
    from geosim.search.graph.export import export as write

    working = Working(folder)
    with open_store(None, "geosim", working=folder) as store:
        write(store, working.index, working.embeddings, K, approximate=approximate)


def store_alone(folder: Path, size: int) -> None:
    """Store the points through the engine, one batch in memory at a time."""
    import qdrant_edge as edge

    from geosim.ingest.schema import KEYWORD_FIELDS
    from geosim.ingest.sync import UPSERT_BATCH
    from geosim.trainer.heads.head import EMBEDDING_DIM

    folder.mkdir()
    settings = edge.EdgeVectorParams(size=EMBEDDING_DIM, distance=edge.Distance.Cosine)
    shard = edge.EdgeShard.create(str(folder), edge.EdgeConfig(vectors=settings))
    for key in KEYWORD_FIELDS:
        shard.update(edge.UpdateOperation.create_field_index(key, edge.PayloadSchemaType.Keyword))
    for numbers, vectors in synthetic.blocks(size):
        for start in range(0, len(numbers), UPSERT_BATCH):
            batch = slice(start, start + UPSERT_BATCH)
            points = [
                edge.Point(payload.id, vector.tolist(), payload.to_dict())
                for payload, vector in zip(
                    map(synthetic.payload, numbers[batch]), vectors[batch], strict=True
                )
            ]
            shard.update(edge.UpdateOperation.upsert_points(points))
            shard.flush()
    shard.close()


def read_alone(folder: Path, size: int) -> None:
    """Read what `store_alone` stored, one batch in memory at a time."""
    import qdrant_edge as edge

    from geosim.ingest.store.base import SCAN_BATCH

    shard = edge.EdgeShard.load(str(folder))
    offset, found = None, 0
    while True:
        request = edge.ScrollRequest(
            offset=offset, limit=SCAN_BATCH, with_payload=True, with_vector=True
        )
        records, offset = shard.scroll(request)
        found += len(records)
        if offset is None:
            break
    shard.close()
    if found != size:
        raise ValueError(f"read {found:,} points, expected {size:,}")
