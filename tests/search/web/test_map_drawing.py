"""When the map that the page shows is drawn, and how often."""

from __future__ import annotations

import threading
import uuid
from types import SimpleNamespace
from typing import Any

import anyio
import numpy as np
import pytest
from qdrant_client import QdrantClient

from geosim.ingest.schema import CollectionInfo, ModelRef, Payload
from geosim.ingest.store.base import VectorStore
from geosim.search.graph.layout import Layout, ids_of, texts_of
from geosim.search.web import map as web_map
from geosim.search.web.map import MapCache
from geosim.trainer.working import Working
from tests.memory import memory_store


def test_a_collection_that_grows_is_drawn_by_one_thread_at_a_time(
    working: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, free = SimpleNamespace(points=1), threading.Event()
    store.info = lambda: CollectionInfo(ModelRef("f" * 64, "colour-grid"), store.points)
    drawing: list[int] = []

    def draw(*_: Any) -> Layout:
        drawing.append(store.points)
        free.wait(60)
        one = np.zeros(1, np.int32)
        return Layout(
            ids_of([str(uuid.UUID(int=1))]), ["class"], one, np.zeros((1, 2), np.uint16), ""
        )

    monkeypatch.setattr(web_map, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(web_map, "layout", draw)
    drawn = MapCache(store, working)  # type: ignore[arg-type]

    async def visit() -> None:
        for store.points in (1, 2, 3):
            assert await drawn.get() is None
        assert len(drawing) == 1
        free.set()
        while (first := await drawn.get()) is None:
            pass
        assert texts_of(first.layout.ids) == [str(uuid.UUID(int=1))]
        while len(drawing) == 1:
            await drawn.get()  # once the first map is returned, the new images are drawn
        assert drawing[-1] == 3

    async def bounded() -> None:
        with anyio.fail_after(60):
            await visit()

    anyio.run(bounded)


def test_pictures_that_replace_others_on_a_server_are_drawn(working: Working) -> None:
    client = QdrantClient(":memory:")
    writer, reader = (memory_store("geosim", client) for _ in range(2))
    writer.create(ModelRef("f" * 64, "colour-grid"))
    old = add(writer, 0)
    drawn = MapCache(reader, working)

    async def ids() -> list[str]:
        with anyio.fail_after(60):
            while (found := await drawn.get()) is None:
                pass
        return sorted(texts_of(found.layout.ids))

    assert anyio.run(ids) == sorted(one.id for one in old)
    writer.delete([one.id for one in old])
    new = add(memory_store("geosim", client), 1)
    assert anyio.run(ids) == sorted(one.id for one in new)


def add(store: VectorStore, number: int) -> list[Payload]:
    names = [f"rocks/a/{number}-{one}.jpg" for one in range(8)]
    payloads = [
        Payload(name, "a", uuid.uuid5(uuid.NAMESPACE_URL, name).hex * 2, 9, 9, "rocks")
        for name in names
    ]
    store.upsert(payloads, np.random.default_rng(number).normal(size=(8, 32)).astype(np.float32))
    return payloads
