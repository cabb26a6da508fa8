"""All errors of geosim, in one tree.

    GeosimError
    ├── DatasetError
    ├── ImageError
    ├── ModelError
    │   └── WeightsError
    ├── DownloadError
    ├── StoreError
    │   ├── StoreBusyError
    │   ├── StoreCopyError
    │   ├── StoreUnreachableError
    │   ├── StoreDeniedError
    │   └── ModelMismatchError
    └── QueryError
        └── ExpressionError

A message is one line: received, expected, remedy. Commands print it and exit with status 1. The
module that calls another library translates its errors and chains them with ``from``.
"""


class GeosimError(Exception):
    """Base of all errors that a user can fix."""


class DatasetError(GeosimError):
    """A folder or archive is not a usable data set."""


class ImageError(GeosimError):
    """An image cannot be read or decoded; the message is the reason, without the path."""


class ModelError(GeosimError):
    """A model is missing, damaged or does not fit its use."""


class WeightsError(ModelError):
    """Pretrained weights are missing, damaged or unreachable."""


class DownloadError(GeosimError):
    """A file cannot be downloaded."""


class StoreError(GeosimError):
    """A collection is missing, damaged or refused the request."""


class StoreBusyError(StoreError):
    """Another process holds the store."""


class StoreCopyError(StoreError):
    """There is no room for a private copy of a collection."""


class StoreUnreachableError(StoreError):
    """The server does not answer."""


class StoreDeniedError(StoreError):
    """The server requires an API key or refused it."""


class ModelMismatchError(StoreError):
    """The collection was made by another model."""


class QueryError(GeosimError):
    """A query is invalid or cannot be answered."""


class NoMatchError(QueryError):
    """No indexed image fulfils the conditions of a search."""


class ExpressionError(QueryError):
    """A condition on facts cannot be read; ``place`` is the index of the character, from 0."""

    def __init__(self, message: str, place: int) -> None:
        super().__init__(message)
        self.place = place
