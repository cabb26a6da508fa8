"""A map of the collection: every image a point in two dimensions, near those that look like it.

Owns the drawing, t-SNE on the exact neighbour graph, and its copy in the working folder. How the
collection is read is `search/graph/collection.py`; how the map is shown, `search/web/map.py`.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.store.base import VectorStore
from geosim.search.graph.collection import Collection, read_collection
from geosim.trainer.errors import StoreError
from geosim.trainer.files import DAMAGED_NPZ, replacing
from geosim.trainer.progress import progress_bar
from geosim.trainer.working import Working

TSNE, AXES = "t-SNE 1", "main axes 1"
"""How a map is drawn; another name has it drawn anew. Of 29,998 embeddings of the geological
similarity data set, t-SNE kept 38 % of an image's ten nearest among its ten nearest on the map,
UMAP 13 %, the two main axes 3 %; ten neighbours' vote was right for 99.8 %, 99.8 % and 85 %."""

PERPLEXITY = 30
"""GraphBlock that an image is kept near to, about: van der Maaten and Hinton (JMLR 9, 2008) advise
5 to 50."""

PULLED, SETTLED = 250, 250
"""Iterations with neighbours pulled together twelve times as hard, then as they are. 500 of the
latter, as usual, took nearly twice the time and kept 1 of 100 neighbours more."""

FOLLOWED = 25
"""Iterations between two steps of the progress bar."""

FEWEST = 10
"""Images below which there are no neighbours to speak of and the two main axes will do."""

MOST = 50_000
"""Images drawn by t-SNE; of more a random sample is, and every other goes among its neighbours."""

AMONG = 10
"""Nearest images of the sample in whose middle another image goes."""

PLACED_AT_ONCE = 1 << 16
"""Images per step of the latter, at a few hundred bytes each."""

SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """All images of a collection in two dimensions, sorted by path.

    Attributes:
        ids: n point ids.
        paths: n stored paths.
        labels: n classes.
        positions: ``(n, 2) float32``, 0 to 1, at the same scale in both directions.
    """

    ids: list[str]
    paths: list[str]
    labels: list[str]
    positions: NDArray[np.float32]


def layout(store: VectorStore, working: Working) -> Layout:
    """Return the map of a collection, drawn anew where the collection or its model has changed.

    Equal collections give equal maps on one machine. Drawing 30,000 images takes half a minute;
    what is kept in ``working`` is read in a second. Without openTSNE, which has no wheel for Linux
    on ARM, the map shows the two main axes, and a warning says so.

    Raises:
        StoreError: there is no such collection.
    """
    info = store.info()
    if info is None:
        raise StoreError(
            f"there is no collection {store.name!r} at {store.location}; make it with "
            "`geosim ingest DATA`"
        )
    drawing = TSNE if find_spec("openTSNE") else AXES
    path = working.derived / f"{store.name}-map.npz"
    collection = read_collection(store, vectors=False)
    positions = _read(path, _key(collection, info.model.fingerprint, drawing))
    if positions is None:
        if drawing == AXES:
            warnings.warn(
                "openTSNE is not installed, so the map shows the two main axes only; install it "
                "with `pip install opentsne`",
                stacklevel=2,
            )
        collection = read_collection(store)
        positions = draw(collection.vectors, drawing)
        key = _key(collection, info.model.fingerprint, drawing)
        with suppress(OSError), replacing(path) as temporary:  # drawn anew if it must be
            np.savez(temporary, positions=positions, key=np.array(key))
    return Layout(collection.ids, collection.paths, collection.labels, positions)


def draw(vectors: NDArray[np.float32], drawing: str = TSNE) -> NDArray[np.float32]:
    """Return a position for each vector, near to those of its neighbours.

    t-SNE, started from the two main axes, so that far apart means something too (Kobak and
    Berens, Nature Communications 10, 2019).

    Args:
        vectors: ``(n, d) float32``, L2 norm 1, any n.
        drawing: `TSNE`, or `AXES` for the two main axes alone.

    Returns:
        ``(n, 2) float32``, 0 to 1; the middle where all vectors are equal.
    """
    count = len(vectors)
    if count == 0:
        return np.empty((0, 2), dtype=np.float32)
    if count <= FEWEST or drawing == AXES:
        return _framed(_main_axes(vectors))
    if count <= MOST:
        return _framed(_tsne(vectors))
    drawn = np.sort(np.random.default_rng(SEED).choice(count, MOST, replace=False))
    return _framed(_placed(vectors, drawn, _tsne(vectors[drawn])))


def _main_axes(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the two principal components, ``(n, 2)``; their signs follow from the vectors."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, :-3:-1]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
    flat: NDArray[np.float64] = centred @ (axes * np.sign(largest))
    return flat


def _tsne(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return t-SNE's positions, ``(n, 2)``, of more than `FEWEST` vectors."""
    start = _main_axes(vectors)
    spread = start.std()
    if spread < 1e-6:  # all equal, but for float32's rounding
        return np.zeros_like(start)

    from openTSNE import TSNEEmbedding, affinity
    from openTSNE.nearest_neighbors import PrecomputedNeighbors

    from geosim.search.graph.neighbours import neighbour_graph

    perplexity = min(PERPLEXITY, (len(vectors) - 1) // 3)
    blocks = list(neighbour_graph(vectors, 3 * perplexity))
    rows = np.concatenate([block.rows for block in blocks])
    cosines = np.concatenate([block.scores for block in blocks])
    near = PrecomputedNeighbors(rows, np.sqrt(2 - 2 * cosines))  # distances on the unit sphere
    embedding = TSNEEmbedding(
        start / spread * 1e-4,  # as the authors of the start advise
        affinity.PerplexityBasedNN(knn_index=near, perplexity=perplexity, n_jobs=1),
        n_jobs=1,
        random_state=SEED,
    )
    with progress_bar("drawing the map", PULLED + SETTLED, unit="step") as bar:
        followed: dict[str, object] = {
            "callbacks": _following(bar.update),
            "callbacks_every_iters": FOLLOWED,
            "inplace": True,
        }
        embedding.optimize(PULLED, exaggeration=12, momentum=0.5, **followed)
        embedding.optimize(SETTLED, momentum=0.8, **followed)
    return np.asarray(embedding, dtype=np.float64)


def _following(update: Callable[[int], object]) -> Callable[[int, float, object], None]:
    def follow(_iteration: int, _error: float, _embedding: object) -> None:
        update(FOLLOWED)

    return follow


def _placed(
    vectors: NDArray[np.float32], drawn: NDArray[np.intp], positions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Put every vector that was not drawn in the middle of its nearest that were.

    Args:
        vectors: ``(n, d) float32``, L2 norm 1.
        drawn: ``(m,)`` row numbers.
        positions: ``(m, 2)``, theirs.

    Returns:
        ``(n, 2)``; the middle is the median in each direction, which no straggler moves.
    """
    from geosim.search.graph.neighbours import nearest

    placed, sample = np.empty((len(vectors), 2)), vectors[drawn]
    placed[drawn] = positions
    rest = np.setdiff1d(np.arange(len(vectors)), drawn)
    with progress_bar("placing", len(rest)) as bar:
        for start in range(0, len(rest), PLACED_AT_ONCE):
            rows = rest[start : start + PLACED_AT_ONCE]
            found, _ = nearest(sample, vectors[rows], AMONG)
            placed[rows] = np.median(positions[found], axis=1)
            bar.update(len(rows))
    return placed


def _framed(flat: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return positions moved and scaled, both directions alike, into 0 to 1, in its middle."""
    low, high = flat.min(axis=0), flat.max(axis=0)
    width = float((high - low).max())
    framed = (flat - (low + high) / 2) / width + 0.5 if width > 0 else np.full_like(flat, 0.5)
    return np.clip(framed, 0, 1).astype(np.float32)


def _key(collection: Collection, fingerprint: str, drawing: str) -> str:
    """Return a digest of all that decides a map: the images, the model and the drawing."""
    digest = hashlib.sha256(f"{drawing}\0{fingerprint}\n".encode())
    for path, sha256 in zip(collection.paths, collection.hashes, strict=True):
        digest.update(f"{path}\0{sha256}\n".encode())
    return digest.hexdigest()


def _read(path: Path, key: str) -> NDArray[np.float32] | None:
    """Return the positions that were kept under ``key``, or None: none, others, or damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            if str(stored["key"]) != key:
                return None
            positions: NDArray[np.float32] = stored["positions"]
            return positions
    except DAMAGED_NPZ:
        return None
