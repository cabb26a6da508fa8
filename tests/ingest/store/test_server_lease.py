"""Leases: who works on what in a server's collection, so that nobody else does the same."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import numpy as np
import pytest
from qdrant_client import QdrantClient
from qdrant_client.http.exceptions import UnexpectedResponse

from geosim.ingest.schema import ModelRef, Payload
from geosim.ingest.store import server_lease
from geosim.ingest.store.server import ServerStore
from geosim.ingest.work import Part, Work
from geosim.trainer.errors import StoreBusyError, StoreDeniedError, StoreError
from tests.memory import memory_store

pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")

MODEL = ModelRef("a" * 64, "colour-grid")
ROCKS, SCANS, EVERYTHING = Work("rocks"), Work("scans"), Work()
SECOND = Work("rocks", Part(2, 8))

Open = Callable[..., ServerStore]


class Clock:
    """Time that passes in pauses only; ``meanwhile`` is called in each of them."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.meanwhile: Callable[[], object] = lambda: None

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.meanwhile()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(server_lease, "_now", made.now)
    monkeypatch.setattr(server_lease, "sleep", made.sleep)
    return made


@pytest.fixture
def opened(client: QdrantClient, name: str) -> Open:
    """Open the collection of the test as another process would."""

    def open_(wait: float = 0.0) -> ServerStore:
        return memory_store(name, client, wait=wait)

    open_().create(MODEL)
    return open_


def leases(client: QdrantClient, name: str) -> list[dict[str, Any]]:
    client.update_collection(name, metadata={"none": None})  # a node knows all earlier changes then
    metadata = client.get_collection(name).config.metadata or {}
    return [json.loads(text) for key, text in metadata.items() if key.startswith("geosim-lease:")]


def upsert(store: ServerStore, path: str = "rocks/c/x.jpg") -> None:
    vectors = np.eye(32, dtype=np.float32)[:1]
    store.upsert([Payload(path, "c", "0" * 64, 1, 1, "rocks")], vectors)


def refused(store: ServerStore, work: Work) -> str:
    with pytest.raises(StoreBusyError) as raised, store.lease(work):
        pass
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("one", "other", "excluded"),
    [
        (ROCKS, SCANS, False),
        (ROCKS, ROCKS, True),
        (EVERYTHING, ROCKS, True),
        (EVERYTHING, EVERYTHING, True),
        (EVERYTHING, SECOND, True),
        (ROCKS, SECOND, True),
        (SCANS, SECOND, False),
        (SECOND, SECOND, True),
        (SECOND, Work("rocks", Part(3, 8)), False),
        (SECOND, Work("rocks", Part(1, 4)), True),
        (SECOND, Work("scans", Part(2, 8)), False),
    ],
)
def test_the_same_work_is_refused_and_other_work_is_not(
    opened: Open, client: QdrantClient, name: str, one: Work, other: Work, excluded: bool
) -> None:
    for first, second in ((one, other), (other, one)):
        with opened().lease(first):
            if excluded:
                message = refused(opened(), second)
                assert f"process {os.getpid()} on " in message
                assert f"works on {first} of collection {name!r} at memory" in message
                assert "--wait SECONDS" in message
            else:
                with opened().lease(second):
                    assert len(leases(client, name)) == 2
            (entry,) = leases(client, name)
            assert (entry["dataset"], entry["held"]) == (first.dataset, True)
        assert leases(client, name) == []


def test_a_node_that_is_behind_refuses_nothing_that_has_ended(
    opened: Open, client: QdrantClient, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = opened()
    with opened().lease(ROCKS):
        before = client.get_collection(name)
    change = client.update_collection

    def catch_up(*arguments: Any, **fields: Any) -> Any:
        monkeypatch.undo()
        return change(*arguments, **fields)

    monkeypatch.setattr(client, "get_collection", lambda _: before)
    monkeypatch.setattr(client, "update_collection", catch_up)
    with behind.lease(ROCKS):
        (entry,) = leases(client, name)
    assert entry["held"]


@pytest.mark.parametrize("error", [StoreError("full"), KeyboardInterrupt()])
def test_it_is_released_at_an_error(
    opened: Open, client: QdrantClient, name: str, error: BaseException
) -> None:
    with pytest.raises(type(error)), opened().lease(ROCKS):
        raise error
    assert leases(client, name) == []


def test_it_is_waited_for_and_the_wait_is_told(
    opened: Open, clock: Clock, client: QdrantClient, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    holder = opened().lease(ROCKS)
    holder.__enter__()
    pauses = itertools.count(1)

    def release_later() -> None:
        if next(pauses) == 8:
            holder.__exit__(None, None, None)

    clock.meanwhile = release_later
    with opened(wait=30).lease(ROCKS):
        assert clock.seconds == 1000 + 8 * server_lease.POLL_S
        assert len(leases(client, name)) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert told[0].startswith(f"waiting for process {os.getpid()} on ")
    assert told[0].endswith("to end data set 'rocks' ...")


def test_ctrl_c_while_it_waits_leaves_nothing(
    opened: Open, clock: Clock, client: QdrantClient, name: str
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    clock.meanwhile = interrupt
    with opened().lease(ROCKS):
        with pytest.raises(KeyboardInterrupt), opened(wait=30).lease(ROCKS):
            pass
        assert len(leases(client, name)) == 1


def elsewhere(monkeypatch: pytest.MonkeyPatch, store: ServerStore, work: Work) -> Any:
    """Take a lease as a process of another machine, and return it."""
    with monkeypatch.context() as patched:
        patched.setattr(server_lease, "running_system", lambda: "elsewhere")
        held = store.lease(work)
        held.__enter__()
    return held


def test_one_that_is_not_renewed_is_taken_over_and_its_holder_stops(
    opened: Open, clock: Clock, client: QdrantClient, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    halted = opened()
    lease = elsewhere(monkeypatch, halted, ROCKS)
    refused(opened(wait=server_lease.EXPIRY_S - 1), ROCKS)
    started, second = clock.seconds, opened(wait=30)
    with second.lease(ROCKS):
        waited = clock.seconds - started
        assert server_lease.EXPIRY_S <= waited <= server_lease.EXPIRY_S + 1
        upsert(second)
        for write in (lambda: upsert(halted), lambda: halted.delete(["0" * 32])):
            with pytest.raises(StoreBusyError, match=r"'rocks' .* any more: .*taken over; run"):
                write()
        assert second.count() == 1
        lease.__exit__(None, None, None)
        assert len(leases(client, name)) == 1
        upsert(second)


def test_one_that_nobody_wanted_meanwhile_goes_on(opened: Open, clock: Clock) -> None:
    store = opened()
    with store.lease(ROCKS):
        clock.seconds += 3600
        upsert(store)
        refused(opened(), ROCKS)


def test_one_that_is_renewed_is_not_taken_over(
    opened: Open, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = opened()
    lease = elsewhere(monkeypatch, holder, ROCKS)
    clock.meanwhile = partial(upsert, holder)
    refused(opened(wait=300), ROCKS)
    lease.__exit__(None, None, None)


def test_time_in_which_the_server_does_not_answer_does_not_count(
    opened: Open, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = elsewhere(monkeypatch, opened(), ROCKS)
    hangs = iter([90.0])

    def hang() -> None:
        clock.seconds += next(hangs, 0.0)

    clock.meanwhile = hang
    started = clock.seconds
    with opened(wait=600).lease(ROCKS):
        assert clock.seconds - started >= 90 + server_lease.EXPIRY_S - 1
    lease.__exit__(None, None, None)


def test_one_of_a_process_of_this_machine_that_was_killed_is_taken_over_at_once(
    opened: Open, client: QdrantClient, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not server_lease.running_system():
        pytest.skip("this system does not tell which processes see each other")
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait(60)
    with monkeypatch.context() as patched:
        patched.setattr(server_lease.os, "getpid", lambda: ended.pid)
        opened().lease(ROCKS).__enter__()
    with opened().lease(ROCKS):
        assert len(leases(client, name)) == 1


def test_a_lease_of_a_later_version_is_respected_and_expires(
    opened: Open, clock: Clock, client: QdrantClient, name: str
) -> None:
    client.update_collection(name, metadata={"geosim-lease:0": '{"new": 1}'})
    assert "another version of geosim works on all data sets" in refused(opened(), SCANS)
    with opened(wait=30).lease(SCANS):
        assert len(leases(client, name)) == 1


def test_one_process_at_a_time_has_it(
    opened: Open, client: QdrantClient, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_lease, "POLL_S", 0.01)
    turn = threading.Lock()  # the client in memory is not for several threads

    def in_turn(request: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        with turn:
            return request(*arguments, **options)

    for one in ("update_collection", "get_collection", "collection_exists"):
        monkeypatch.setattr(client, one, partial(in_turn, getattr(client, one)))
    inside: list[int] = []
    most, turns = [0], [0]
    failures: list[BaseException] = []
    together = threading.Barrier(6)

    def take_turns(number: int) -> None:
        try:
            together.wait(60)
            for _ in range(4):
                with opened(wait=60).lease(ROCKS):
                    inside.append(number)
                    most[0] = max(most[0], len(inside))
                    turns[0] += 1
                    time.sleep(0)
                    inside.remove(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=take_turns, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert (failures, most, turns) == ([], [1], [24])
    assert leases(client, name) == []


def test_it_is_renewed_in_the_background(
    opened: Open, client: QdrantClient, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_lease, "RENEW_S", 0.01)
    with opened().lease(ROCKS):
        until = time.monotonic() + 30
        while leases(client, name)[0]["beat"] < 5 and time.monotonic() < until:
            threading.Event().wait(0.01)
        assert leases(client, name)[0]["beat"] >= 5


def test_a_collection_that_was_rebuilt_meanwhile_is_not_written(opened: Open, clock: Clock) -> None:
    store = opened()
    with store.lease(ROCKS):
        opened().drop()
        opened().create(MODEL)
        clock.seconds += server_lease.LATE_S + 1
        with pytest.raises(StoreBusyError, match="dropped or rebuilt"):
            upsert(store)
    assert opened().count() == 0


def denied(*_: object, **__: object) -> Any:
    content = b'{"status": {"error": "Forbidden"}}'
    raise UnexpectedResponse(403, "Forbidden", content, httpx.Headers())


def test_a_key_that_may_only_read_is_refused_and_one_that_may_write_points_goes_on(
    opened: Open,
    client: QdrantClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = opened()
    monkeypatch.setattr(client, "update_collection", denied)
    with store.lease(ROCKS):
        upsert(store)
    assert caplog.messages[0].startswith(
        "nothing keeps others from data set 'rocks' at the same time: the Qdrant server at memory "
        "refused access (403 Forbidden: Forbidden)"
    )
    monkeypatch.setattr(client, "delete", denied)
    with pytest.raises(StoreDeniedError, match="GEOSIM_QDRANT_API_KEY"), store.lease(ROCKS):
        pass


@pytest.mark.parametrize(
    "text", ["0/8", "9/8", "1", "1/0", "1/-1", "a/b", "1/8/2", "", "1 /2", "1/²"]
)
def test_what_is_no_part_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="expected NUMBER/COUNT"):
        Part.parse(text)
