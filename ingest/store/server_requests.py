"""Requests to a Qdrant server or cluster: retries, the next node, and errors in words."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import httpx
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import (
    ApiException,
    ResponseHandlingException,
    UnexpectedResponse,
)

from geosim.ingest.store.base import WAIT_SECONDS
from geosim.ingest.store.server_client import ANSWER_S, CONNECT_S, FIRST_ANSWER_S, Node
from geosim.trainer.errors import StoreDeniedError, StoreError, StoreUnreachableError

PAUSE_S = 0.2
"""Seconds before the first retry; doubled before each further one, up to `LONGEST_PAUSE_S`."""

LONGEST_PAUSE_S = 5.0

FIRST_WAIT_S = 5.0
"""Seconds to wait for a server that starts; more likely the address is wrong."""

TRANSIENT_STATUS = frozenset({429, 500, 502, 503, 504})
"""HTTP statuses of a server or proxy that is busy or starting, or whose other nodes are away."""

ERRORS = (ApiException, QdrantException, ValueError, RuntimeError)
"""What qdrant-client raises for an answer or for none."""

_T = TypeVar("_T")


class Connection:
    """The nodes of a server or cluster: one of them is asked until it fails, then the next.

    ``wait`` is how long a request is repeated after all nodes failed, in seconds. Thread-safe.
    """

    def __init__(self, nodes: Sequence[Node], *, wait: float = WAIT_SECONDS) -> None:
        self._nodes, self.wait = tuple(nodes), wait
        self._asked = 0  # number of the node that is asked first
        self.location = ",".join(node.location for node in nodes)

    def send(self, request: Callable[[QdrantClient], _T], *, patient: bool = True) -> _T:
        """Return the answer to an idempotent request, sent again after transient failures.

        Where no node ever answered, `FIRST_WAIT_S` is the longest wait. Without ``patient`` each
        node is asked once.

        Raises:
            StoreUnreachableError: no answer.
            StoreDeniedError: the server refused the API key.
            StoreError: the server refused the request, or the answer is not a Qdrant server's.
        """
        pause, end = PAUSE_S, None
        while True:
            failures: list[tuple[Exception, Node]] = []
            first = self._asked
            for number in range(first, first + len(self._nodes)):
                node = self._nodes[number % len(self._nodes)]
                try:
                    answer = request(node.client)
                except ERRORS as error:
                    if not _transient(error):
                        raise _translate(error, node) from error
                    failures.append((error, node))
                else:
                    self._asked = number % len(self._nodes)
                    return answer
            # An answer says more than that there is none.
            failure, node = max(failures, key=lambda one: isinstance(one[0], UnexpectedResponse))
            now, told = time.monotonic(), _translate(failure, node)
            if len(self._nodes) > 1 and isinstance(told, StoreUnreachableError):
                told = StoreUnreachableError(f"none of {self.location} can be used: {told}")
            if not patient or self.wait == 0 or (end is not None and now >= end):
                raise told from failure
            if end is None:
                known = any(one.answered for one in self._nodes)
                wait = self.wait if known else min(self.wait, FIRST_WAIT_S)
                end = now + wait
                logging.getLogger(__name__).warning(
                    "%s; trying again for %g s", str(told).partition(";")[0], wait
                )
            time.sleep(max(0.0, min(pause, end - now)))
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def ask_each(self, request: Callable[[QdrantClient], _T]) -> list[tuple[str, _T | StoreError]]:
        """Return the location of every node with its answer, or with why there is none.

        All are asked at the same time, once. `send` asks those that failed last from now on.
        """

        def ask(node: Node) -> _T | StoreError:
            try:
                return request(node.client)
            except ERRORS as error:
                return _translate(error, node)

        with ThreadPoolExecutor(len(self._nodes)) as pool:
            answers = list(pool.map(ask, self._nodes))
        failed = [isinstance(one, StoreError) for one in answers]
        if False in failed:
            self._asked = failed.index(False)
        found = [(node.location, one) for node, one in zip(self._nodes, answers, strict=True)]
        return sorted(found, key=lambda one: isinstance(one[1], StoreError))

    def send_once(self, request: Callable[[QdrantClient], _T]) -> _T:
        """Return the answer to a request that must not be repeated; raises as `send` does."""
        node = self._nodes[self._asked]
        try:
            return request(node.client)
        except ERRORS as error:
            raise _translate(error, node) from error

    def impatient(self) -> Connection:
        """Return a connection to the same nodes for another thread; it asks each of them once."""
        return Connection(self._nodes, wait=0.0)

    def close(self) -> None:
        """Close all connections; safe to call twice."""
        for node in self._nodes:
            node.client.close()


class ByName:
    """Requests that name a collection which another one may replace.

    ``finish`` gives the name to one that was to take it, and returns whether there is one.
    """

    def __init__(self, connection: Connection, finish: Callable[[], bool]) -> None:
        self._connection, self._finish = connection, finish

    def send(self, request: Callable[[QdrantClient], _T], *, patient: bool = True) -> _T:
        """Return the answer to a request, as `Connection.send` does.

        It is sent again where it met the moment when one collection is deleted and the next has not
        its name yet.
        """
        try:
            return self._connection.send(request, patient=patient)
        except StoreError as error:
            cause = error.__cause__
            missing = isinstance(cause, UnexpectedResponse) and cause.status_code == 404
            if not missing or not self._finish():
                raise
        return self._connection.send(request, patient=patient)


def _transient(error: Exception) -> bool:
    if isinstance(error, UnexpectedResponse):
        return error.status_code in TRANSIENT_STATUS
    if isinstance(error, ResponseHandlingException):
        return isinstance(error.source, httpx.TransportError)
    return isinstance(error, ResourceExhaustedResponse)


def _translate(error: Exception, node: Node) -> StoreError:
    if isinstance(error, UnexpectedResponse):
        return _refusal(error, node.location)
    source = error.source if isinstance(error, ResponseHandlingException) else error
    if isinstance(source, httpx.TransportError):
        return _no_answer(source, node)
    if source is not error or isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return _stranger(node.location, _short(str(source)))
    return StoreError(f"the request to {node.location} failed: {_short(str(error))}")


def _refusal(error: UnexpectedResponse, location: str) -> StoreError:
    """Return what a status other than 2xx says."""
    server, status = f"the Qdrant server at {location}", f"{error.status_code}"
    if error.reason_phrase:
        status += f" {error.reason_phrase}"
    message = _server_message(error.content)
    reason = status if message is None else _short(f"{status}: {message}")
    if error.status_code in {401, 403}:
        return StoreDeniedError(
            f"{server} refused access ({reason}); set GEOSIM_QDRANT_API_KEY to a key that it "
            "accepts and that may write"
        )
    if message is None:
        if error.status_code in TRANSIENT_STATUS:
            return StoreUnreachableError(
                f"no Qdrant server answers behind {location} ({status}); start it, or check the "
                "proxy"
            )
        return _stranger(location, status)
    if error.status_code == 404:
        return StoreError(
            f"{server} found nothing ({reason}); make the collection with `geosim ingest DATA`, "
            "or check the URL"
        )
    if error.status_code in TRANSIENT_STATUS:
        return StoreError(
            f"{server} failed ({reason}); see its log, and `geosim status` for the other nodes"
        )
    return StoreError(f"{server} refused a request ({reason}); its log may say more")


def _no_answer(source: httpx.TransportError, node: Node) -> StoreUnreachableError:
    reason = _short(f"{type(source).__name__}: {source}".rstrip(": "))
    if isinstance(source, httpx.ConnectTimeout):
        return StoreUnreachableError(
            f"{node.location} cannot be reached within {CONNECT_S:g} s; check the URL, the network "
            "and the firewalls between"
        )
    if isinstance(source, httpx.TimeoutException):
        limit = ANSWER_S if node.answered else FIRST_ANSWER_S
        return StoreUnreachableError(
            f"{node.location} accepts connections but does not answer within {limit:g} s; the "
            "server is halted or overloaded: look at its log and load, and try again"
        )
    if isinstance(source, httpx.ConnectError):
        return StoreUnreachableError(
            f"no Qdrant server answers at {node.location} ({reason}); start one with "
            "`docker compose up -d --wait`, or leave --qdrant out to use the embedded engine"
        )
    return StoreUnreachableError(
        f"the connection to {node.location} broke ({reason}); see whether the server there is a "
        "Qdrant server and still runs"
    )


def _stranger(location: str, reason: str) -> StoreError:
    return StoreError(
        f"the answer from {location} is not a Qdrant server's ({reason}); check the URL"
    )


def _server_message(content: bytes) -> str | None:
    """Return the error message in a Qdrant server's answer, or None in that of another program."""
    try:
        return str(json.loads(content)["status"]["error"])
    except (ValueError, KeyError, TypeError):
        return None


def _short(text: str) -> str:
    """Return ``text`` as one line of at most 200 characters."""
    return " ".join(text.split())[:200]
