"""The filters, kinds of indexes and settings of Qdrant Edge."""

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

KINDS = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "float": edge.PayloadSchemaType.Float,
    "datetime": edge.PayloadSchemaType.Datetime,
    "geo": edge.PayloadSchemaType.Geo,
}
"""Kinds of payload indexes, see `INDEX_KINDS`."""

CONFIG = edge.EdgeConfig(
    vectors=edge.EdgeVectorParams(size=EMBEDDING_DIM, distance=edge.Distance.Cosine)
)
"""Settings of a shard; loading with them refuses vectors of another size."""
