"""The filters of a Qdrant server."""

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

EXACT = models.SearchParams(exact=True)
"""Parameters of a search without an index."""
