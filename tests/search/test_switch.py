"""Searches while a collection is made anew by another model: no answer is mixed, none fails."""

from __future__ import annotations

import io
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from qdrant_client import QdrantClient

from geosim.ingest.schema import ModelRef
from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.server import connect
from geosim.ingest.sync import sync
from geosim.search.consistent import TRIES, consistently
from geosim.search.explain import novelty_threshold
from geosim.search.graph.collection import read_collection
from geosim.search.index import Index
from geosim.search.label import label_pictures
from geosim.search.web.models import PictureParameters
from geosim.search.web.service import SearchService
from geosim.trainer.backbones.registry import choose
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.errors import StoreError
from geosim.trainer.heads.fit import TrainOptions
from geosim.trainer.model import Model, load_model
from geosim.trainer.train import train
from geosim.trainer.working import Working
from tests.memory import memory_store, real_server

pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")

Switch = Callable[[Model], None]


@pytest.fixture
def models(working: Working, sample: Path) -> list[Model]:
    """Two models, both in the working folder."""
    from geosim.trainer.kept import set_needed

    first = load_model(working.model)
    set_needed(working.model, "the tests", [first.fingerprint])
    options = TrainOptions(epochs=2, seed=1)
    second = train(open_dataset(sample), choose("colour-grid")[0], working, options).model
    return [load_model(working.model, first.fingerprint), second]


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    made = QdrantClient(":memory:")
    yield made
    made.close()


@pytest.fixture
def store(client: QdrantClient, sample: Path, working: Working, models: list[Model]) -> VectorStore:
    """A collection of the first model."""
    made = memory_store("rocks", client)
    sync(open_dataset(sample), models[0], made, working)
    return made


@pytest.fixture
def switch(client: QdrantClient, sample: Path, working: Working) -> Switch:
    """Make the collection anew by a model, as another process does."""

    def make_anew(model: Model) -> None:
        sync(open_dataset(sample), model, memory_store("rocks", client), working, recreate=True)

    return make_anew


@pytest.fixture
def photo(tmp_path: Path, sample: Path) -> Path:
    path = tmp_path / "photo.png"
    with Image.open(sample / "marble" / "marble-0003.jpg") as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    return path


def amid(store: VectorStore, name: str, action: Callable[[], object], patch: Any) -> None:
    """Let something happen once, just before a method of a store does its work."""
    original, left = getattr(store, name), [action]

    def wrapped(*arguments: Any, **options: Any) -> Any:
        while left:
            left.pop()()
        return original(*arguments, **options)

    patch.setattr(store, name, wrapped)


def test_a_switch_amid_an_answer_gives_that_of_the_new_model(
    store: VectorStore,
    switch: Switch,
    models: list[Model],
    working: Working,
    photo: Path,
    sample: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index, service = (
        Index(store, working),
        SearchService(store, working, pytest.fail, needs_key=False),
    )
    data, asked = photo.read_bytes(), PictureParameters()
    pictures = [str(photo), str(sample / "gneiss" / "gneiss-0001.jpg")]
    indexed = "rocks/gneiss/gneiss-0001.jpg"
    ask: dict[str, Callable[[], Any]] = {
        "search": lambda: index.search(photo, 5),
        "open file": lambda: index.search(io.BytesIO(data), 5),
        "recommend": lambda: index.recommend([photo], [indexed], 5),
        "page": lambda: service.by_picture(data, asked).model_dump(),
        "label": lambda: list(label_pictures(pictures, store, working)),
        "threshold": lambda: novelty_threshold(store, working),
        "vectors": lambda: np.round(read_collection(store).vectors, 4).tolist(),
    }

    def usual() -> dict[str, Any]:
        service.measure_usual_score()
        service._judgement._usual._idle.wait(60)
        return {name: question() for name, question in ask.items()}

    answers = [usual()]
    switch(models[1])
    answers.append(usual())
    for name in ask:
        assert answers[0][name] != answers[1][name], name
    where = {"threshold": "scan", "vectors": "scan"}
    for turn, (name, question) in enumerate(ask.items()):
        now = turn % 2
        with monkeypatch.context() as patch:
            shutil.rmtree(working.derived, ignore_errors=True)
            amid(store, where.get(name, "query"), partial(switch, models[now]), patch)
            if name == "page":
                service._judgement._usual._state = None
                answer = question()
                answer["explanation"]["usual"] = answers[now][name]["explanation"]["usual"]
                assert answer == answers[now][name]
            else:
                assert question() == answers[now][name], name


def test_a_request_that_meets_the_moment_of_the_switch_is_sent_again(
    store: VectorStore, working: Working, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Index(store, working)
    expected = index.search(photo)

    def fail() -> None:
        raise StoreError("found nothing (404 Not Found)")

    with monkeypatch.context() as patch:
        amid(store, "query", fail, patch)
        assert index.search(photo) == expected
    monkeypatch.setattr(store, "query", lambda *_: fail())
    with pytest.raises(StoreError, match="404"):
        index.search(photo)


def test_a_collection_that_never_rests_is_told(store: VectorStore) -> None:
    calls: list[ModelRef] = []
    made: dict[int, ModelRef] = {}

    def model() -> ModelRef:
        return made.setdefault(len(calls), ModelRef(f"{len(calls)}" * 64, "colour-grid"))

    store.model = model  # type: ignore[method-assign]
    with pytest.raises(StoreError, match=f"made anew {TRIES} times .*try again later"):
        consistently(store, calls.append)
    assert len(calls) == TRIES


def test_twenty_clients_search_a_server_meanwhile(
    models: list[Model], working: Working, sample: Path, photo: Path
) -> None:
    (url, key), name = real_server(), f"geosim-test-{uuid.uuid4().hex}"
    dataset, answers, wrong = open_dataset(sample), list[Any](), list[Any]()
    done, answered = threading.Event(), list[Any]()

    def search_until_done() -> None:
        with connect(url, key, name) as opened:
            index = Index(opened, working)
            while not done.is_set():
                hits = [(hit.path, hit.score) for hit in index.search(photo, 9)]
                answered.append(hits)
                if hits not in answers:
                    wrong.append(hits)

    def search() -> None:
        try:
            search_until_done()
        except Exception as error:
            wrong.append(error)

    with connect(url, key, name) as store:
        try:
            for model in models:
                sync(dataset, model, store, working, recreate=True)
                found = Index(store, working).search(photo, 9)
                answers.append([(hit.path, hit.score) for hit in found])
            store.drop()
            sync(dataset, models[0], store, working)
            threads = [threading.Thread(target=search) for _ in range(20)]
            for thread in threads:
                thread.start()
            for model in (models[1], models[0], models[1], models[1]):
                sync(dataset, model, store, working, recreate=True)
            done.set()
            for thread in threads:
                thread.join()
        finally:
            done.set()
            store.drop()
    assert wrong == []
    assert len(answered) > 100
    assert all(answer in answered for answer in answers)
