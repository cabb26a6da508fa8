"""Finds the images of a collection that are the same, nearly the same, or overlap, as groups."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.catalog import ImageReader
from geosim.ingest.schema import SCORE_DIGITS, point_id
from geosim.search.graph.collection import Collection
from geosim.search.graph.neighbours import neighbour_graph
from geosim.search.reduced import read_reduced
from geosim.search.types import Hit
from geosim.trainer.data.dataset import HashedRecord
from geosim.trainer.data.sources import Record, Stamp
from geosim.trainer.decoding.encoded import Encoded, sha256_of
from geosim.trainer.errors import ImageError
from geosim.trainer.evaluation.overlap import (
    components,
    find_copies,
    find_shifted,
)
from geosim.trainer.progress import progress_bar
from geosim.trainer.working import Working

IDENTICAL, NEAR, OVERLAPPING = KINDS = ("identical", "near-identical", "overlapping")
"""The same bytes; the same whole picture, re-encoded or resized; cut from one larger picture."""

EQUAL_SCORE = 1 - 10.0**-SCORE_DIGITS
"""Least cosine at which images are called nearly identical whose pictures cannot be compared: equal
up to the last digit. Different pictures of one class may have 0.999."""

NEIGHBOURS = 10
"""Neighbours of an image whose cosines are looked at."""

Edges = NDArray[np.int64]  # (p, 2) row numbers


@dataclass(frozen=True, slots=True)
class Group:
    """Images that are alike, directly or through others.

    Attributes:
        kind: one of `KINDS`.
        rows: row numbers in the collection, ascending.
        classes: names of their classes, sorted. Several are a wrong label, except that images that
            overlap may be of two classes where the larger picture is.
    """

    kind: str
    rows: tuple[int, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Duplicates:
    """The groups of a collection.

    Attributes:
        groups: of several classes first, then by kind, then by path. A group of near-identical
            images holds identical ones as well, one that overlaps holds both.
        unread: number of contents whose pictures could not be compared, and the first reason.
    """

    groups: tuple[Group, ...]
    unread: int = 0
    reason: str = ""


def find_duplicates(collection: Collection, working: Working, known: Edges) -> Duplicates:
    """Compare all images of a collection: their bytes, their pixels, and some of their cosines.

    Pictures are compared as in `find_overlaps`, across classes; those that are not on this machine,
    or changed since they were ingested, by their embeddings alone (`EQUAL_SCORE`), in tiles by the
    mean of them. ``known (p, 2)`` are rows of images that are known to be alike: pairs of them are
    left out, also through others.
    """
    hashes = collection.hashes
    first: dict[str, int] = {}
    originals = np.array([first.setdefault(one, row) for row, one in enumerate(hashes)], np.int64)
    rows = np.arange(len(hashes))
    copies = np.flatnonzero(originals != rows)
    identical = np.stack([originals[copies], copies], axis=1)

    unique = np.flatnonzero(originals == rows)
    near, overlapping, unread, reason = _compare_pictures(collection, unique, working)
    by_score = _equal_scores(collection, unique, unread)
    known_groups = components(len(hashes), known)
    edges = np.empty((0, 2), dtype=np.int64)
    groups: list[Group] = []
    levels = (identical, np.concatenate([near, by_score]), overlapping)
    for kind, found in zip(KINDS, levels, strict=True):
        new = found[known_groups[found[:, 0]] != known_groups[found[:, 1]]]
        edges = np.concatenate([edges, new])
        seen = {one.rows for one in groups}
        listed = _groups(kind, new, edges, collection.labels)
        groups += [one for one in listed if one.rows not in seen]
    groups.sort(key=lambda one: (len(one.classes) < 2, KINDS.index(one.kind), one.rows))
    return Duplicates(tuple(groups), len(unread), reason)


def beside_first(collection: Collection, group: Group) -> tuple[Hit, ...]:
    """Return the other images of a group, with their cosines to its first, best first."""
    own, *others = group.rows
    scores = np.clip(collection.vectors[others] @ collection.vectors[own], -1, 1).tolist()
    ranked = sorted(zip(scores, others, strict=True), key=lambda one: (-one[0], one[1]))
    return tuple(
        Hit(
            rank,
            round(score, SCORE_DIGITS),
            collection.paths[row],
            collection.labels[row],
            point_id(collection.paths[row]),
            identical=collection.hashes[row] == collection.hashes[own],
        )
        for rank, (score, row) in zip(count(1), ranked)
    )


def _groups(kind: str, new: Edges, edges: Edges, labels: Sequence[str]) -> Iterator[Group]:
    """Yield the connected components of ``edges`` that have one of ``new``."""
    of_row = components(len(labels), edges)
    order = np.argsort(of_row, kind="stable")
    starts = np.flatnonzero(np.diff(of_row[order], prepend=-1))
    members = np.split(order, starts[1:])
    for number in np.unique(of_row[new[:, 0]]).tolist():
        rows = tuple(members[number].tolist())
        yield Group(kind, rows, tuple(sorted({labels[row] for row in rows} - {""})))


class _Stored:
    """Reads the content of indexed images from any place on this machine where it is."""

    def __init__(self, collection: Collection, working: Working) -> None:
        self._reader, self._lock = ImageReader(working.datasets), threading.Lock()
        self._paths: dict[str, list[str]] = {}
        for path, sha256 in zip(collection.paths, collection.hashes, strict=True):
            self._paths.setdefault(sha256, []).append(path)

    def read(self, record: Record) -> Encoded:
        """Return the file with the hash in ``source``, or raise `ImageError` without them."""
        reason = "not on this machine"
        for path in self._paths[record.source]:
            try:
                with self._lock:
                    data = self._reader.read(path)
            except ImageError as error:
                reason = str(error)
                continue
            if sha256_of(data) == record.source:
                return data
            reason = "changed since it was ingested; run `geosim ingest` again"
        raise ImageError(reason)

    def stamp(self, record: Record) -> Stamp | None:  # noqa: ARG002
        """Return None: nothing is kept of these."""
        return None


def _compare_pictures(
    collection: Collection, unique: NDArray[np.int64], working: Working
) -> tuple[Edges, Edges, set[int], str]:
    """Return the pairs that are copies, those that overlap, the rows not read, and a reason."""
    items = []
    for row in unique.tolist():
        path, sha256 = collection.paths[row], collection.hashes[row]
        items.append(HashedRecord(Record(path, "", sha256), sha256))
    source = _Stored(collection, working)
    with progress_bar("decoding", len(items)) as bar:
        kept, pictures, rejected = read_reduced(
            source, items, working.derived / "pictures.sqlite", progress=bar.update
        )
    of_path = dict(zip((item.record.path for item in items), unique.tolist(), strict=True))
    unread = {of_path[one.path] for one in rejected}
    rows = np.array([of_path[item.record.path] for item in kept], dtype=np.int64)
    if not len(rows):
        nothing = np.empty((0, 2), dtype=np.int64)
        return nothing, nothing, unread, rejected[0].reason
    hashes = [item.sha256 for item in kept]
    with progress_bar("overlaps", len(rows)) as bar:
        copies = find_copies(pictures, hashes)
        labels = [collection.labels[row] for row in rows.tolist()]
        shifted, _ = find_shifted(pictures, labels, hashes, across=True, progress=bar.update)
    return rows[copies], rows[shifted], unread, rejected[0].reason if rejected else ""


def _equal_scores(collection: Collection, unique: NDArray[np.int64], unread: set[int]) -> Edges:
    """Return the pairs with equal embeddings of which one picture or both could not be read."""
    pairs: list[tuple[int, int]] = []
    if unread:
        with progress_bar("neighbours", len(unique)) as bar:
            for block in neighbour_graph(
                collection.vectors[unique], NEIGHBOURS, progress=bar.update
            ):
                at, rank = np.nonzero(block.scores >= EQUAL_SCORE)
                ones, others = unique[block.start + at], unique[block.rows[at, rank]]
                pairs += zip(ones.tolist(), others.tolist(), strict=True)
    pairs = [(one, other) for one, other in pairs if one in unread or other in unread]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)
