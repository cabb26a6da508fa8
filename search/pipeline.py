"""The whole job: train, ingest, export, answer sample queries and draw them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import chain

from geosim.ingest.check import check
from geosim.ingest.plan import spellings_of_name
from geosim.ingest.schema import CollectionInfo, Filter, ModelRef, point_id
from geosim.ingest.store.base import VectorStore
from geosim.ingest.sync import SyncReport, sync
from geosim.search.graph.export import ExportReport, export
from geosim.search.render.sheet import save_results
from geosim.search.searcher import Searcher
from geosim.search.types import Result, SearchOptions
from geosim.trainer.backbones.spec import Pretrained
from geosim.trainer.data.dataset import Dataset
from geosim.trainer.data.places import unregister_place
from geosim.trainer.heads.fit import TrainOptions
from geosim.trainer.train import TrainReport, train
from geosim.trainer.working import Working

DATASET_QUERIES = tuple(
    f"geological_similarity/marble/{name}.jpg" for name in ("MGN0Z", "W90SQ", "2G6SC", "PSQ1K")
)
"""Sample queries of the geological similarity data set."""

MAX_QUERIES = 12
"""Sample queries at most: a row of the contact sheet and a table each."""

SPREAD_QUERIES = 6
"""Sample queries of a data set without classes."""


def run(
    dataset: Dataset,
    pretrained: Pretrained,
    store: VectorStore,
    working: Working,
    *,
    learned: Dataset,
    options: TrainOptions,
    k: int,
    recreate: bool,
    replace: bool,
    rehash: bool,
    on_trained: Callable[[TrainReport], None],
    on_ingested: Callable[[SyncReport], None],
    on_exported: Callable[[ExportReport], None],
    on_limited: Callable[[int, int], None],
) -> list[Result]:
    """Do the whole job and return the results of the sample queries.

    ``learned`` is the data set, or a sample of it to train on. ``k`` is the number of neighbours
    per image and of hits per query. ``recreate`` drops the collection first, with all its data
    sets; ``replace`` allows what `check` refuses. ``rehash`` reads the files that seem unchanged as
    well, once. Each callback receives the report of its step; ``on_limited`` the number of sample
    queries, and of classes, if there are more than `MAX_QUERIES`.

    Raises:
        StoreError: the ingest would cost a data set points by mistake; nothing was written.
        ModelError: a new model is needed, but the collection depends on the old one: it holds
            images of other data sets, or is outside the working folder.
    """

    def reason_to_keep() -> str | None:
        """Look into the store, and let others use and change it until the next look."""
        info = store.info()
        reason = None if recreate else _reason_to_keep(info, dataset, store, working, moved)
        store.release()
        return reason

    moved: list[str] = []  # data sets whose images are all in this one now
    if store.info() is not None and not recreate:
        checked = check(dataset, store, working, replace=replace, rehash=rehash)
        moved = [one.dataset for one in checked.moved if not one.left]
        rehash = False
    reason_to_keep()  # an unusable store fails now, not after the training
    trained = train(learned, pretrained, working, options, keep=reason_to_keep, rehash=rehash)
    on_trained(trained)
    info, model = store.info(), ModelRef(trained.model.fingerprint, trained.model.spec.name)
    new_model = info is not None and info.model != model and not recreate
    anew = new_model and _reason_to_keep(info, dataset, store, working, moved) is None
    report = sync(
        dataset, trained.model, store, working, recreate=recreate or anew, replace=replace
    )
    if anew:
        report = dataclasses.replace(report, moved=report.dropped, dropped={})
        for name in moved:
            unregister_place(working.datasets, name)
    on_ingested(report)
    on_exported(export(store, working.index, working.embeddings, k))
    queries = sample_queries(dataset, store)
    if len(queries) > MAX_QUERIES:
        on_limited(MAX_QUERIES, len(queries))
        queries = queries[:MAX_QUERIES]
    results = list(Searcher(store, working).search(queries, SearchOptions(k)))
    save_results(results, working.samples, working)
    return results


def _reason_to_keep(
    info: CollectionInfo | None,
    dataset: Dataset,
    store: VectorStore,
    working: Working,
    moved: list[str],
) -> str | None:
    """Return why the model must be kept; None if only this data set's points depend on it.

    Those of the data sets ``moved`` count as its own.
    """
    if info is None or info.points == 0:
        return None
    names = {*spellings_of_name(dataset, store), *moved}
    others = info.points - sum(store.count(Filter(dataset=name)) for name in names)
    if not others and store.location == str(working.qdrant):
        return None
    return (
        f"{dataset.location} with these options gives a new model, which does not fit collection "
        f"{store.name!r} at {store.location}: it holds {info.points:,} images of the model "
        f"{info.model}, {others:,} of them of other data sets. Name another --working or "
        "--collection, add the images with `geosim ingest`, or drop the collection with --recreate"
    )


def sample_queries(dataset: Dataset, store: VectorStore) -> list[str]:
    """Return `DATASET_QUERIES` if the data set has them, otherwise one image per class.

    Without classes, `SPREAD_QUERIES` images at even distances in the order of their paths.
    """
    paths = [path for path in DATASET_QUERIES if path.startswith(f"{dataset.name}/")]
    if paths and len(store.fetch([point_id(path) for path in paths], vectors=False)) == len(paths):
        return paths
    first: dict[str, str] = {}
    unlabelled = []
    for point in chain.from_iterable(store.scan(Filter(dataset=dataset.name), vectors=False)):
        label, path = point.payload.label, point.payload.path
        if label:
            first[label] = min(path, first.get(label, path))
        else:
            unlabelled.append(path)
    if first:
        return [first[label] for label in sorted(first)]
    return sorted(unlabelled)[:: -(-len(unlabelled) // SPREAD_QUERIES) or 1]
