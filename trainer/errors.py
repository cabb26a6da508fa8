"""Every error a user can meet, in one tree.

    GeosimError
    ├── DatasetError          a folder or archive is no usable data set
    ├── ImageError            one picture cannot be read or decoded
    ├── ModelError            a model is missing, damaged or does not fit
    │   └── WeightsError      pretrained weights are missing, damaged or out of reach
    ├── DownloadError         a file could not be fetched from the network
    ├── StoreError            a collection is missing, damaged or refused the request
    │   ├── StoreBusyError         another process holds the store
    │   ├── StoreUnreachableError  no answer from the server
    │   ├── StoreDeniedError       the server refused the API key
    │   └── ModelMismatchError     the collection was made by another model
    └── QueryError            a search cannot be answered as it was asked

Each message is one line that says what was received, what was expected and the remedy. Command
lines print it and exit with 1. Errors of other libraries are translated in the module that calls
them and chained with ``from``; they never reach a user bare.
"""


class GeosimError(Exception):
    """Base of all errors that have a remedy on the user's side."""


class DatasetError(GeosimError):
    """A folder or archive is no usable data set."""


class ImageError(GeosimError):
    """One picture cannot be read or decoded; the message is the reason, without the path."""


class ModelError(GeosimError):
    """A model is missing, damaged or does not fit what it is used for."""


class WeightsError(ModelError):
    """Pretrained weights are missing, damaged or out of reach."""


class DownloadError(GeosimError):
    """A file could not be fetched from the network."""


class StoreError(GeosimError):
    """A collection is missing, damaged or refused the request."""


class StoreBusyError(StoreError):
    """Another process holds the store."""


class StoreUnreachableError(StoreError):
    """The server does not answer."""


class StoreDeniedError(StoreError):
    """The server refused the API key, or wants one."""


class ModelMismatchError(StoreError):
    """The collection was made by another model than the one at hand."""


class QueryError(GeosimError):
    """A search cannot be answered as it was asked."""
