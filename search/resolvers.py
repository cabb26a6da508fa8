"""The resolvers of one collection: that of the model which made it, also after it was replaced."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from geosim.ingest.schema import Filter, ModelRef
from geosim.ingest.store.base import VectorStore
from geosim.search.consistent import consistently
from geosim.search.resolver import Resolver
from geosim.trainer.errors import StoreError
from geosim.trainer.working import Working

T = TypeVar("T")


class Resolvers:
    """Opens the model of a collection when it is first asked for. Thread-safe."""

    def __init__(self, store: VectorStore, working: Working) -> None:
        """Open the collection and, if there is one, its model.

        Raises:
            StoreError: there is no collection, or it is empty.
            ModelMismatchError: ``working`` has models, but not the collection's.
        """
        model = store.model()
        if model is None or not store.has(Filter()):
            state = "does not exist" if model is None else "is empty"
            raise StoreError(
                f"collection {store.name!r} at {store.location} {state}; fill it with "
                "`geosim ingest DATA`"
            )
        self._store, self._working = store, working
        self._opening, self._warm = threading.Lock(), False
        self._open: dict[str, Resolver] = {}  # by the fingerprint of the model
        self.of(model).refuse_others()

    def of(self, model: ModelRef) -> Resolver:
        """Return the resolver for the collection that a model made."""
        with self._opening:
            if (found := self._open.get(model.fingerprint)) is None:
                found = Resolver(self._store, self._working, model)
                if self._warm:
                    found.warm_up()
                if found.has_model:  # otherwise somebody may bring it
                    latest = list(self._open.items())[-1:]  # a thread may still read with it
                    self._open = {**dict(latest), model.fingerprint: found}
            return found

    def consistently(self, read: Callable[[Resolver], T]) -> T:
        """Return what ``read`` returns for the collection as it is; see `consistently`."""
        return consistently(self._store, lambda model: read(self.of(model)))

    def warm_up(self) -> None:
        """Load the backbone now, and that of a later model as soon as it is asked for."""
        self._warm = True
        self.consistently(Resolver.warm_up)
