"""Metrics of the server for Prometheus: requests, searches, waits, the collection.

Labels are routes, methods, statuses and kinds, of which there are few; none names a picture.
Connections that `protocol` refuses are not requests yet and are not counted.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from importlib.metadata import version

import anyio
from anyio.to_thread import run_sync
from fastapi import Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geosim.ingest.store.base import VectorStore
from geosim.trainer.errors import GeosimError
from geosim.trainer.logs import log

METHODS = ("GET", "HEAD", "POST")
"""Methods that routes have; clients may send any word as another one."""

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Upper bounds in seconds: from a stored picture to an upload over a slow line."""

STORE_SECONDS = 5.0
"""Time to read the collection for the metrics; Prometheus waits for 10 s by default."""

SEARCHES = {
    ("POST", "/api/search"): "picture",
    ("GET", "/api/search"): "embedding",
    ("GET", "/api/points/{id}/similar"): "indexed",
    ("POST", "/api/recommend"): "examples",
}
"""Kind of search by method and route."""


class Metrics:
    """The metrics of one application, in a registry of their own; ``pages`` are paths of pages."""

    def __init__(self, store: VectorStore, pages: Collection[str]) -> None:
        self._store, self._reader = store, anyio.CapacityLimiter(1)
        self._pages = pages
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Histogram(
            "geosim_request_seconds",
            "Time from the head of a request to the end of its response.",
            ["method", "route", "status"],
            buckets=BUCKETS,
            registry=registry,
        )
        self._running = Gauge(
            "geosim_requests_running", "Requests that are being answered.", registry=registry
        )
        self._searches = Counter(
            "geosim_searches", "Searches that were answered.", ["kind"], registry=registry
        )
        for kind in SEARCHES.values():
            self._searches.labels(kind)
        self._waits = Histogram(
            "geosim_picture_wait_seconds",
            "Time that a picture waits until it is decoded or embedded.",
            buckets=BUCKETS,
            registry=registry,
        )
        self._waiting = Gauge(
            "geosim_pictures_waiting",
            "Pictures that wait to be decoded or embedded.",
            registry=registry,
        )
        self._points = Gauge(
            "geosim_collection_points",
            "Points of the collection when it was read last.",
            registry=registry,
        )
        self._readable = Gauge(
            "geosim_collection_readable",
            "1 if the collection can be read, otherwise 0.",
            registry=registry,
        )
        self._info = Info("geosim", "Version, collection, engine and model.", registry=registry)

    def measure(self, app: ASGIApp) -> ASGIApp:
        """Wrap an application: measure every request, and log it while messages are JSON."""

        async def handle(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                return await app(scope, receive, send)
            began, status = time.perf_counter(), 0

            async def note_status(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                with self._running.track_inprogress():
                    await app(scope, receive, note_status)
            finally:
                method = scope["method"] if scope["method"] in METHODS else "other"
                route = self._route(scope)
                seconds = time.perf_counter() - began
                self._requests.labels(method, route, status).observe(seconds)
                fields = {"method": method, "route": route, "status": status}
                log.info("request", extra={"fields": {**fields, "seconds": round(seconds, 4)}})
                if status == 200 and (kind := SEARCHES.get((method, route))):
                    self._searches.labels(kind).inc()

        return handle

    @asynccontextmanager
    async def waiting(self, limiter: anyio.CapacityLimiter) -> AsyncIterator[None]:
        """Hold a place of ``limiter`` in the block; measure how long a picture waits for it."""
        began = time.perf_counter()
        with self._waiting.track_inprogress():
            await limiter.acquire()
        try:
            self._waits.observe(time.perf_counter() - began)
            yield
        finally:
            limiter.release()

    async def page(self) -> Response:
        """Return all metrics as text; those of the collection are read now."""
        readable = False
        with anyio.move_on_after(STORE_SECONDS):
            readable = await run_sync(self._read, abandon_on_cancel=True, limiter=self._reader)
        self._readable.set(readable)
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

    def _read(self) -> bool:
        """Read the collection; return whether it is there and can be read."""
        try:
            info = self._store.info()
        except GeosimError:
            return False
        if info is None:
            return False
        self._points.set(info.points)
        self._info.info(
            {
                "version": version("geosim"),
                "collection": self._store.name,
                "engine": self._store.engine(),
                "backbone": info.model.backbone,
                "model": info.model.fingerprint,
            }
        )
        return True

    def _route(self, scope: Scope) -> str:
        """Return the template of the route that a request took; "" if it took none."""
        if (route := scope.get("route")) is not None:
            return str(route.path)
        return scope["path"] if scope["path"] in self._pages else str(scope.get("root_path", ""))
