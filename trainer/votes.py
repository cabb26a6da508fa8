"""The certainty of a model's class vote, fitted in training on images that are held out.

The final model has seen all images, so their own votes would be too sure. A head on frozen features
is therefore fitted once more without the images that vote. A backbone that is trained end to end
would take too long; its votes are those of ``--validation-split``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.data.split import stratified_split
from geosim.trainer.errors import ModelError
from geosim.trainer.evaluation.calibration import VOTERS, class_votes, fit_certainty
from geosim.trainer.heads.fit import TrainOptions
from geosim.trainer.inputs import Inputs
from geosim.trainer.rows import Rows

SHARE = 0.2
"""Share of each class that votes. The gallery of these votes is smaller than the final one."""

ENOUGH_VOTES, MAX_FITS = 500, 2
"""Votes to collect and fits that collect them, at most. 500 votes tell a share of 0.9 to 0.013."""

MIN_LABELLED = 100
"""Images with a class below which there are too few votes to tell how sure they are."""

MIN_VOTES = 20
"""Votes below which nothing is fitted to them: one fit's, of `MIN_LABELLED` images."""

BLOCK, SCORES = 512, 2**24
"""Most queries compared with the gallery at once, and most scores."""

MOST_QUERIES = 10_000
"""Held-out images of a fit that vote, at most: they tell a share of 0.9 to 0.003."""

Embed = Callable[[Rows], NDArray[np.float32]]
Votes = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]  # what `fit_certainty` takes


def vote_facts(
    inputs: Inputs,
    rows: NDArray[np.intp],
    options: TrainOptions,
    embed: Embed,
    fit: Callable[[NDArray[np.intp]], Embed],
) -> dict[str, Any]:
    """Return the model card's entry ``vote`` for a model trained on some rows of `Inputs.array`.

    ``embed`` is the model's; ``fit`` trains another one like it on other rows. ``vote`` is null
    where there are too few votes to tell how sure they are, or a single class that wins all. There
    is no entry for a backbone that was trained on all rows; the default `Certainty` was measured on
    such backbones.
    """
    if len(np.unique(inputs.labels[rows][inputs.labels[rows] >= 0])) < 2:
        return {"vote": None}
    if not inputs.recipe.reads_pixels:
        return {"vote": _refitted(inputs, rows, options, fit)}
    if options.validation_split == 0:
        return {}
    kept, held = stratified_split(inputs.labels[rows], options.validation_split, options.seed)
    return {"vote": _entry(list(_votes(inputs, embed, rows[kept], rows[held])))}


def _refitted(
    inputs: Inputs,
    rows: NDArray[np.intp],
    options: TrainOptions,
    fit: Callable[[NDArray[np.intp]], Embed],
) -> dict[str, Any] | None:
    """Return the entry from models that are trained without the images that vote."""
    labelled = rows[inputs.labels[rows] >= 0]
    if len(labelled) < MIN_LABELLED:
        return None
    found: list[Votes] = []
    with suppress(ModelError):  # the final model was fitted, so it is good without this
        for number in range(MAX_FITS):
            _, chosen = stratified_split(inputs.labels[labelled], SHARE, options.seed + number)
            held = labelled[chosen]
            kept = np.setdiff1d(rows, held)
            copied = {inputs.items[row].sha256 for row in kept.tolist()}
            held = held[[inputs.items[row].sha256 not in copied for row in held.tolist()]]
            if len(held) > MOST_QUERIES:
                chosen = np.random.default_rng(options.seed).permutation(len(held))[:MOST_QUERIES]
                held = held[np.sort(chosen)]
            found += _votes(inputs, fit(kept), kept, held)
            if sum(len(one[-1]) for one in found) >= ENOUGH_VOTES:
                break
    return _entry(found)


def _votes(
    inputs: Inputs, embed: Embed, gallery: NDArray[np.intp], queries: NDArray[np.intp]
) -> Iterator[Votes]:
    """Yield the votes of the queries' nearest in the gallery, in blocks."""
    queries = queries[inputs.labels[queries] >= 0]
    labels, vectors = inputs.labels[gallery].astype(np.int64), embed(inputs.rows(gallery))
    size = max(1, min(BLOCK, SCORES // len(gallery)))
    for start in range(0, len(queries), size):
        block = queries[start : start + size]
        scores = embed(inputs.rows(block)) @ vectors.T
        near = _nearest(scores)
        nearest = np.take_along_axis(scores, near, axis=1).astype(np.float64)
        winner, votes = class_votes(labels[near], nearest)
        yield (*votes, winner == inputs.labels[block])


def _nearest(scores: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the columns of each row's `VOTERS` best scores, the best and first ones first."""
    count = min(VOTERS, scores.shape[1])
    near = np.empty((len(scores), count), np.intp)
    least = np.partition(scores, -count, axis=1)[:, -count]
    for row, (own, limit) in enumerate(zip(scores, least, strict=True)):
        columns = np.flatnonzero(own >= limit)
        near[row] = columns[np.argsort(-own[columns], kind="stable")[:count]]
    return near


def _entry(found: Sequence[Votes]) -> dict[str, Any] | None:
    """Return the entry of a model card for held-out votes; None for too few."""
    if sum(len(one[-1]) for one in found) < MIN_VOTES:
        return None
    winner, others, voters, right = (np.concatenate(one) for one in zip(*found, strict=True))
    fitted = fit_certainty(winner, others, voters, right)
    return {**asdict(fitted), "held_out": len(right), "right": int(right.sum())}
