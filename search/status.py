"""The state of a working folder and its collection: images, model, engine, disk use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from geosim.ingest.known import known_origins
from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.factory import is_url
from geosim.ingest.store.health import Health, ReplicaHealth, Served, by_shard
from geosim.ingest.tiling import is_tiled
from geosim.search.recall import Recall, index_recall
from geosim.trainer.data.places import read_places
from geosim.trainer.errors import ModelError
from geosim.trainer.files import allocated_bytes
from geosim.trainer.kept import find_card, read_card
from geosim.trainer.text import NO_CLASS, printable
from geosim.trainer.working import Working


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a working folder and its collection.

    Attributes:
        engine: name and version; None without a collection.
        dashboard: address of the Qdrant dashboard; None for the embedded engine.
        points: number of indexed images, or of tiles; ``classes`` and ``datasets`` have those of
            each, and ``without_class`` is that of images without a class. None if shards of a
            cluster cannot be read; the counts are empty then.
        pictures_in_tiles: number of images that the tiles are of; None without tiles.
        model: backbone and fingerprint of the model in the working folder; None without one.
        fits: whether that model made the collection; None if either is missing.
        at_hand: whether the model that made it is in the working folder, if only as a former one;
            None without a collection.
        pictures: location of the pictures of each data set on this machine.
        origins: where each data set comes from: a location, with the machine if it is another.
        unfinished: number of parts of each data set that is ingested in parts, until `--finish`.
        disk: bytes per part of the working folder.
        recall: of the index that answers searches; None where they are exact.
        health: the nodes of a server, and the shards of the collection; None for the embedded
            engine.
    """

    collection: str
    location: str
    engine: str | None
    dashboard: str | None
    points: int | None
    classes: dict[str, int]
    datasets: dict[str, int]
    without_class: int
    pictures_in_tiles: int | None
    model: str | None
    fits: bool | None
    at_hand: bool | None
    pictures: dict[str, str]
    origins: dict[str, str]
    unfinished: dict[str, int]
    disk: dict[str, int]
    recall: Recall | None
    health: Health | None = None


def status(store: VectorStore, working: Working) -> Status:
    """Return the status of a store and a working folder; write nothing but what `measured` keeps.

    Raises:
        StoreError: the store is damaged, busy or unreachable.
    """
    health = store.health() if isinstance(store, Served) else None
    unreadable = health is not None and health.unreadable
    info = None if unreadable else store.info()
    try:
        card = read_card(working.model)
        fingerprint = str(card["fingerprint"])
        model = f"{card['backbone']['name']} {fingerprint[:12]}"
    except (ModelError, KeyError, TypeError):
        fingerprint, model = "", None
    made_by = "" if info is None else info.model.fingerprint
    origins = {} if info is None else known_origins(store, working.datasets)
    remote = is_url(store.location)
    return Status(
        collection=store.name,
        location=store.location,
        engine=None if info is None else store.engine(),
        dashboard=f"{store.location.partition(',')[0]}/dashboard" if remote else None,
        points=None if unreadable else 0 if info is None else info.points,
        classes={} if info is None else store.values("class"),
        datasets={} if info is None else store.values("dataset"),
        without_class=0 if info is None else store.unlabelled(),
        pictures_in_tiles=len(store.values("path")) if info and is_tiled(store) else None,
        model=model,
        fits=None if info is None or model is None else made_by == fingerprint,
        at_hand=None if info is None else find_card(working.model, made_by) is not None,
        pictures={name: str(place) for name, place in read_places(working.datasets).items()},
        origins={name: str(origin) for name, origin in sorted(origins.items())},
        unfinished={name: one.parts for name, one in sorted(origins.items()) if one.parts},
        disk={path.name: allocated_bytes(path) for path in sorted(working.root.glob("[!.]*"))},
        recall=None if info is None else index_recall(store, working),
        health=health,
    )


def render(found: Status) -> str:
    """Return a status as aligned lines for a terminal."""
    lines = list(_lines(found))
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {printable(value)}" for name, value in lines)


def _described(recall: Recall | None) -> str:
    if recall is None:
        return "every search is exact"
    return (
        f"Qdrant's index finds {recall.recall:.2%} of the ten nearest in {recall.index_ms:.1f} ms; "
        f"exact searches (--exact) take {recall.exact_ms:.1f} ms; {recall.queries} were compared"
    ).replace("%", " %")


def _health_lines(health: Health) -> Iterator[tuple[str, str]]:
    for node in health.nodes:
        parts = [f"Qdrant {node.version}"] if node.version else []
        parts += ["leads the cluster"] if node.leader else []
        parts += ["does not answer"] if node.fault else ["answers"]
        yield "node", f"{node.location}: {', '.join(parts)}"
    if (collection := health.collection) is not None:
        for shard, replicas in by_shard(collection).items():
            yield f"shard {shard}", "; ".join(map(_replica, replicas))
        if collection.status is not None:
            indexed = f"{collection.indexed:,} of {collection.points:,} points in the HNSW index"
            yield "state", f"{collection.status}; optimizer {collection.optimizer}; {indexed}"
        if collection.waiting or collection.moving:
            yield "", f"{collection.waiting or 0:,} writes wait; {collection.moving:,} shards move"
    for fault in health.faults:
        yield "warning", fault


def _replica(one: ReplicaHealth) -> str:
    points = "" if one.points is None else f"{one.points:,} points, "
    return f"{one.node} {points}{one.state if one.answers else 'away'}"


def _lines(found: Status) -> Iterator[tuple[str, str]]:
    yield "collection", f"{found.collection} at {found.location}"
    if found.points is None:
        yield "", "it cannot be read"
    elif found.engine is None:
        yield "", "there is none yet; make it with `geosim ingest DATA`"
    else:
        yield "engine", found.engine
        yield "searches", _described(found.recall)
    if found.dashboard is not None:
        yield "dashboard", found.dashboard
    if found.health is not None:
        yield from _health_lines(found.health)
    what = "images" if found.pictures_in_tiles is None else "tiles"
    of = "" if found.pictures_in_tiles is None else f" of {found.pictures_in_tiles:,} images"
    if found.points is not None:
        yield what, f"{found.points:,}{of}"
    for label, count in found.classes.items():
        yield f"  {printable(label)}", f"{count:,}"
    if found.without_class:
        yield f"  {NO_CLASS}", f"{found.without_class:,}"
    for name, count in found.datasets.items():
        origin, place = found.origins.get(name), found.pictures.get(name)
        text = f"{name}: {count:,} {what}; pictures: {place or 'not on this machine'}"
        yield "data set", text if origin in (None, place) else f"{text}; ingested from {origin}"
    for name, parts in found.unfinished.items():
        finish = f"when all {parts} are done, `geosim ingest DATA --finish`"
        yield "unfinished", f"{name} is ingested in {parts} parts; {finish}"
    fits = {None: "", True: ", made the collection", False: ", did NOT make the collection"}
    former = "; the model that did is kept here, and searches use it" if found.at_hand else ""
    fits[False] += former or "; bring that one with `geosim model pull`"
    yield "model", (found.model or "none yet; `geosim train DATA`") + fits[found.fits]
    for name, size in (*found.disk.items(), ("in all", sum(found.disk.values()))):
        yield "disk", f"{f'{size / 1e6:,.1f} MB':>10}  {name}"
