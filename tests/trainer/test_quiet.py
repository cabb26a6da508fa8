"""Log records of libraries are dropped for the thread that asks for it, and for no other."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from geosim.trainer.quiet import quiet

LOGGER = logging.getLogger("a.library")


@pytest.fixture
def fast_switching() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_records_of_this_thread_are_dropped_inside_only(caplog: pytest.LogCaptureFixture) -> None:
    LOGGER.error("before")
    with quiet("a.library", "another"):
        LOGGER.error("inside")
        with quiet("a.library"):
            LOGGER.error("deeper")
        LOGGER.error("inside again")
        with ThreadPoolExecutor(1) as pool:
            pool.submit(LOGGER.error, "of another thread").result()
    LOGGER.error("after")
    assert caplog.messages == ["before", "of another thread", "after"]


def test_many_threads_at_once(caplog: pytest.LogCaptureFixture, fast_switching: None) -> None:
    def decode(_: int) -> None:
        for _ in range(2_000):
            with quiet("a.library"):
                LOGGER.error("leaked")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(decode, range(4)))
    assert caplog.messages == []
