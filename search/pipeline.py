"""The whole job: train, ingest, export, sample queries with a contact sheet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ingest.schema import ModelRef
from ingest.store import VectorStore
from ingest.sync import SyncReport, sync
from search.export import ExportReport, export
from search.query import Result, Searcher
from search.results import save_results
from trainer.backbones import Pretrained
from trainer.dataset import Dataset
from trainer.fit import TrainOptions
from trainer.train import TrainReport, train
from trainer.working import Working

OWNER_QUERIES = tuple(
    f"geological_similarity/marble/{name}.jpg" for name in ("MGN0Z", "W90SQ", "2G6SC", "PSQ1K")
)
"""The sample queries that the product's owner asks of the geological similarity data set."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is called after each step, so that the user reads it while the next one runs."""

    training: Callable[[TrainReport], None]
    ingest: Callable[[SyncReport], None]
    export: Callable[[ExportReport], None]


def run(
    dataset: Dataset,
    pretrained: Pretrained,
    store: VectorStore,
    working: Working,
    *,
    options: TrainOptions,
    k: int,
    rebuild: bool,
    told: Told,
) -> list[Result]:
    """Do the whole job and return the answers to the sample queries.

    Args:
        dataset: trained on and ingested.
        pretrained: the backbone.
        store: the collection.
        working: everything is written below it.
        options: of the training.
        k: neighbours per image and hits per query.
        rebuild: replace a collection that another model made, instead of refusing it.
        told: called with each step's report.
    """
    store.info()  # an unusable store shall fail now, not after the training
    trained = train(dataset, pretrained, working, options)
    told.training(trained)
    info = store.info()
    model = ModelRef(trained.model.fingerprint, trained.model.spec.name)
    recreate = rebuild and info is not None and info.model != model
    told.ingest(sync(dataset, trained.model, store, working, recreate=recreate))
    told.export(export(store, working.index, working.embeddings, k))
    results = list(Searcher(store, working).search(sample_queries(dataset), k))
    save_results(results, working.samples, working)
    return results


def sample_queries(dataset: Dataset) -> list[str]:
    """Return the owner's four queries where the data set has them, else one image per class."""
    paths = {record.path for record in dataset.records}
    if paths.issuperset(OWNER_QUERIES):
        return list(OWNER_QUERIES)
    first = {record.label: record.path for record in reversed(dataset.records)}
    return [first[label] for label in sorted(first)]
