"""Reads a collection that another one may replace at any moment, on a server or in the page.

What is read belongs to one collection and its model: it is read again where the model was another
one afterwards.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from geosim.ingest.schema import ModelRef
from geosim.ingest.store.base import VectorStore
from geosim.trainer.errors import StoreError

TRIES = 5
"""Times that something is read while one collection after the other takes the name."""

T = TypeVar("T")

_inside = threading.local()


def consistently(store: VectorStore, read: Callable[[ModelRef], T]) -> T:
    """Return what ``read`` returns for the model of a collection that was not replaced meanwhile.

    It is called again if it was, also where it raised. Inside of ``read`` the same thread may call
    this for the same store.

    Raises:
        StoreError: there is no collection, or others replaced it all the time.
    """
    if getattr(_inside, "store", None) is store:
        return read(_inside.model)
    for tried in range(1, TRIES + 1):
        with store.reading():
            model = _model_of(store)
            outer = getattr(_inside, "store", None), getattr(_inside, "model", None)
            _inside.store, _inside.model = store, model
            try:
                found = read(model)
            except Exception as error:
                # A request may meet the moment when one collection is gone and the next not there.
                again = isinstance(error, StoreError) and tried == 1
                if tried == TRIES or not (again or _model_of(store) != model):
                    raise
                continue
            finally:
                _inside.store, _inside.model = outer
            if _model_of(store) == model:
                return found
    raise StoreError(
        f"collection {store.name!r} at {store.location} was made anew {TRIES} times while it was "
        "read; try again later"
    )


def _model_of(store: VectorStore) -> ModelRef:
    model = store.model()
    if model is None:
        raise StoreError(
            f"there is no collection {store.name!r} at {store.location}; make it with "
            "`geosim ingest DATA`"
        )
    return model
