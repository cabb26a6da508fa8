"""Peak memory of a large ingest and export, and of the engine alone."""

from __future__ import annotations

from pathlib import Path

import qdrant_edge as edge

from geosim.ingest.schema import KEYWORD_FIELDS
from geosim.ingest.store.base import SCAN_BATCH
from geosim.ingest.writing import UPSERT_BATCH
from geosim.trainer.heads.head import EMBEDDING_DIM
from geosim.trainer.working import Working
from tests.benches import synthetic
from tests.benches.common import OURS, Row, Settings, in_process, peak_memory
from tests.benches.graph import export
from tests.benches.growth import SIZES, ingest

ABOUT = (
    "Peak resident memory of a fresh process that ingests, or exports, synthetic vectors; and of "
    "one that stores, or reads, the same points through Qdrant Edge and keeps nothing. GB are 10^9 "
    "bytes; one run each."
)


def measure(settings: Settings, scratch: Path) -> list[Row]:
    """Measure the processes one after the other."""
    size, engine = settings.limit(SIZES[-1]), scratch / "engine"
    in_process(synthetic.fill_cache, Working(scratch), size)
    peaks = {
        "ingest": (peak_memory(ingest, scratch, size), peak_memory(store_alone, engine, size)),
        "export": (peak_memory(export, scratch), peak_memory(read_alone, engine)),
    }
    rows = []
    for name, (ours, alone) in peaks.items():
        group = f"{name} of {size:,} vectors"
        rows.append(Row(group, OURS, "GB", [ours], 1.0))
        rows.append(Row(group, "Qdrant Edge alone", "GB", [alone], alone / ours))
    return rows


def store_alone(folder: Path, size: int) -> None:
    """Store the points through the engine, one batch in memory at a time."""
    folder.mkdir()
    vectors = edge.EdgeVectorParams(size=EMBEDDING_DIM, distance=edge.Distance.Cosine)
    shard = edge.EdgeShard.create(str(folder), edge.EdgeConfig(vectors=vectors))
    for key in KEYWORD_FIELDS:
        shard.update(edge.UpdateOperation.create_field_index(key, edge.PayloadSchemaType.Keyword))
    for numbers, block in synthetic.blocks(size):
        for start in range(0, len(numbers), UPSERT_BATCH):
            batch = slice(start, start + UPSERT_BATCH)
            payloads = map(synthetic.payload, numbers[batch])
            points = [
                edge.Point(payload.id, vector.tolist(), payload.to_dict())
                for payload, vector in zip(payloads, block[batch], strict=True)
            ]
            shard.update(edge.UpdateOperation.upsert_points(points))
            shard.flush()
    shard.close()


def read_alone(folder: Path) -> None:
    """Read what `store_alone` stored, one batch in memory at a time."""
    shard, offset = edge.EdgeShard.load(str(folder)), None
    while True:
        request = edge.ScrollRequest(
            offset=offset, limit=SCAN_BATCH, with_payload=True, with_vector=True
        )
        _, offset = shard.scroll(request)
        if offset is None:
            break
    shard.close()
