"""Counts that are kept with a collection on a server, so that readers need not count."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from geosim.ingest.schema import Filter, ModelRef
from geosim.ingest.store.server import ServerStore
from geosim.ingest.store.server_revision import COUNTS_KEY
from tests.benches.synthetic import blocks, payload
from tests.memory import memory_store

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")

MODEL = ModelRef("f" * 64, "colour-grid")
CLASSES = {f"class-{number}": 10 for number in range(6)}


class Counted(QdrantClient):
    """A client in memory that notes what is counted."""

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.asked: list[str] = []

    def count(self, *arguments: Any, **options: Any) -> Any:
        self.asked.append("count")
        return super().count(*arguments, **options)

    def facet(self, *arguments: Any, **options: Any) -> Any:
        self.asked.append("facet")
        return super().facet(*arguments, **options)


def write(store: ServerStore, numbers: range) -> None:
    (_, vectors), *_ = blocks(numbers.stop)
    store.upsert([payload(one) for one in numbers], vectors[numbers.start : numbers.stop])


@pytest.fixture
def client() -> Iterator[Counted]:
    made = Counted()
    store = memory_store("rocks", made)
    store.create(MODEL)
    write(store, range(60))
    store._end_writing()
    made.asked.clear()
    yield made
    store.close()


def look(client: QdrantClient) -> tuple[int, dict[str, int], dict[str, int], int]:
    store = memory_store("rocks", client)
    info = store.info()
    assert info is not None
    assert info.points == store.count()
    return info.points, store.values("class"), store.values("dataset"), store.unlabelled()


def test_readers_take_what_the_writer_counted(client: Counted) -> None:
    assert look(client) == (60, CLASSES, {"synthetic": 60}, 0)
    assert client.asked == []
    store = memory_store("rocks", client)
    assert store.count(Filter(label="class-1")) == 10
    assert client.asked == ["count"], "a part is counted"


def test_what_is_written_meanwhile_is_counted(client: Counted) -> None:
    writer = memory_store("rocks", client)
    write(writer, range(60, 66))
    client.asked.clear()
    assert look(client)[:2] == (66, {f"class-{number}": 11 for number in range(6)})
    assert "facet" in client.asked
    writer._end_writing()
    client.asked.clear()
    assert look(client)[0] == 66
    assert client.asked == []


def test_of_two_writers_at_once_neither_keeps_counts(client: Counted) -> None:
    one, other = memory_store("rocks", client), memory_store("rocks", client)
    write(one, range(60, 63))
    write(other, range(63, 66))
    one._end_writing()
    write(other, range(66, 69))
    client.asked.clear()
    assert look(client)[0] == 69
    other._end_writing()
    assert look(client)[0] == 69
    assert client.asked != []


def test_points_of_a_key_that_may_not_change_the_collection_are_counted(client: Counted) -> None:
    (_, vectors), *_ = blocks(61)
    point = models.PointStruct(
        id=payload(60).id, vector=vectors[60].tolist(), payload=payload(60).to_dict()
    )
    client.upsert("rocks", [point])
    assert look(client)[:2] == (61, CLASSES | {"class-0": 11})


@pytest.mark.parametrize("kept", ["{", "3", "{}", json.dumps({"of": "x", "points": 60})])
def test_damaged_counts_are_counted_anew(client: Counted, kept: str) -> None:
    client.update_collection("rocks", metadata={COUNTS_KEY: kept})
    assert look(client) == (60, CLASSES, {"synthetic": 60}, 0)
    assert np.isin(["count", "facet"], client.asked).all()
