"""The filters of a Qdrant server."""

from typing import Any

from qdrant_client import models

from geosim.ingest.store.filters import Terms

TERMS = Terms(
    filter=models.Filter,
    field=models.FieldCondition,
    match=models.MatchAny,
    range=models.Range,
    date_range=models.DatetimeRange,
    radius=models.GeoRadius,
    point=models.GeoPoint,
    is_empty=lambda path: models.IsEmptyCondition(is_empty=models.PayloadField(key=path)),
    has_id=lambda ids: models.HasIdCondition(has_id=sorted(ids)),
)
"""See `translate`."""

SCHEMAS: dict[str, Any] = {
    "keyword": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, enable_hnsw=False),
    "float": models.FloatIndexParams(type=models.FloatIndexType.FLOAT, enable_hnsw=False),
    "datetime": models.DatetimeIndexParams(
        type=models.DatetimeIndexType.DATETIME, enable_hnsw=False
    ),
    "geo": models.GeoIndexParams(type=models.GeoIndexType.GEO, enable_hnsw=False),
}
"""Kinds of payload indexes, see `INDEX_KINDS`.

By default a server links the points of every value among themselves in the vectors' index, too, for
filtered searches by it. Filtered searches are exact (`search/searcher.py`).
"""

EXACT = models.SearchParams(exact=True)
"""Parameters of a search without an index."""

INDEXED = models.SearchParams(
    hnsw_ef=128,
    quantization=models.QuantizationSearchParams(rescore=True, oversampling=8.0),
)
"""Parameters of a search by the HNSW index; a server compares all points that it has not indexed.
The recall at ten of 5,000,000 synthetic points was 1.0000. Where a collection is quantized, the
scores are those of the vectors nevertheless: without it a score of bytes was wrong by up to 0.012,
and the recall at ten of 1,000,000 points 0.48 (``tests/benches/RESULTS.md``)."""
