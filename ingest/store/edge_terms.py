"""The name, filters, kinds of indexes and settings of Qdrant Edge."""

from typing import Any

import qdrant_edge as edge

from geosim.ingest.store.filters import Terms
from geosim.trainer.heads.head import EMBEDDING_DIM

TERMS = Terms(
    filter=edge.Filter,
    field=edge.FieldCondition,
    match=edge.MatchAny,
    range=edge.RangeFloat,
    date_range=edge.RangeDateTime,
    radius=edge.GeoRadius,
    point=edge.GeoPoint,
    is_empty=edge.IsEmptyCondition,
    has_id=lambda ids: edge.HasIdCondition({*ids}),
)
"""See `translate`."""

KINDS: dict[str, Any] = {
    "keyword": edge.KeywordIndexParams(memory=edge.Memory.Cold),
    "float": edge.FloatIndexParams(memory=edge.Memory.Cold),
    "datetime": edge.DatetimeIndexParams(memory=edge.Memory.Cold),
    "geo": edge.GeoIndexParams(memory=edge.Memory.Cold),
}
"""Kinds of payload indexes, see `INDEX_KINDS`. Those of settled segments stay in their files."""

SETTLE_FROM = 20_000
"""Points of a segment from which it is settled (`edge_segments.py`): fewer open in 0.05 s."""

SEGMENT_POINTS = 250_000
"""Points after which they are settled while more are written: so many take some seconds, and
several segments are searched by several threads. Larger segments are not made of small ones."""

SEGMENTS = 8
"""Settled segments from which the small ones of them are merged. A merge makes all payload indexes
of its points anew, and while many points are changed there are small ones at each settling."""

DELETED = 0.5
"""Share of a segment's points that were deleted or moved, from which the others are moved, too."""

_KIB = EMBEDDING_DIM * 4 / 1024  # of a vector

CONFIG = edge.EdgeConfig(
    vectors=edge.EdgeVectorParams(size=EMBEDDING_DIM, distance=edge.Distance.Cosine),
    # A graph without edges: every search is exact.
    hnsw_config=edge.HnswIndexConfig(m=0, ef_construct=4, full_scan_threshold=SETTLE_FROM),
    optimizers=edge.EdgeOptimizersConfig(
        indexing_threshold=int(SETTLE_FROM * _KIB),
        max_segment_size=int(SEGMENT_POINTS * _KIB),
        default_segment_number=SEGMENTS,
        deleted_threshold=DELETED,
    ),
    id_tracker_memory=edge.Memory.Cold,
)
"""Settings of a shard; loading with them refuses vectors of another size."""


def engine() -> str:
    """Return the engine's name and version."""
    from importlib.metadata import version  # takes a tenth of a search's start

    return f"Qdrant Edge {version('qdrant-edge-py')}"
