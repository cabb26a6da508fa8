import hashlib
import shutil
import warnings
from pathlib import Path
from traceback import walk_tb
from typing import Any

import numpy as np
import pytest
from PIL import Image

from geosim.ingest.schema import point_id
from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.sync import sync
from geosim.search.queries import QueryLike
from geosim.search.resolver import expand
from geosim.search.searcher import Searcher
from geosim.search.types import Result, SearchOptions
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.data.images import prepare
from geosim.trainer.data.passed_over import PassedOver
from geosim.trainer.errors import ModelError, ModelMismatchError, QueryError, StoreError
from geosim.trainer.model import load_model
from geosim.trainer.working import Working

STORED = "rocks/marble/marble-0002.jpg"


def one(searcher: Searcher, example: QueryLike, k: int | None = None, **wanted: Any) -> Result:
    (result,) = searcher.search([example], SearchOptions(k, **wanted))
    return result


def cosines(store: EdgeStore, path: str) -> dict[str, float]:
    """Brute force: cosine of one stored vector with every other."""
    points = {p.payload.path: p.vector for batch in store.scan(vectors=True) for p in batch}
    own = points.pop(path).astype(np.float64)
    return {
        other: float(own @ vector) / float(np.linalg.norm(own) * np.linalg.norm(vector))
        for other, vector in points.items()
    }


def test_an_indexed_file_is_answered_from_its_stored_vector_and_never_lists_itself(
    searcher: Searcher, store: EdgeStore, sample: Path, indexed: Working
) -> None:
    shutil.rmtree(indexed.features)  # nothing may be embedded
    result = one(searcher, sample / "marble" / "marble-0002.jpg")
    assert result.indexed is not None
    assert result.indexed.path == STORED
    truth = cosines(store, STORED)
    assert STORED not in [hit.path for hit in result.hits]
    best = sorted(truth, key=lambda path: (-round(truth[path], 6), path))[:10]
    assert [hit.score for hit in result.hits] == pytest.approx([truth[path] for path in best])
    assert [hit.rank for hit in result.hits] == list(range(1, 11))
    assert all(hit.id == point_id(hit.path) for hit in result.hits)
    assert not indexed.features.exists()


def test_a_stored_path_that_is_not_on_disk_works_too(searcher: Searcher, sample: Path) -> None:
    by_path = one(searcher, STORED)
    by_file = one(searcher, sample / "marble" / "marble-0002.jpg")
    assert by_path.hits == by_file.hits
    assert one(searcher, f"./{STORED}").hits == by_file.hits


def test_a_copy_stored_elsewhere_finds_its_original_first_and_marks_it(
    searcher: Searcher, sample: Path, tmp_path: Path, indexed: Working
) -> None:
    shutil.rmtree(indexed.features)
    copy = tmp_path / "photo.jpg"
    shutil.copy(sample / "marble" / "marble-0002.jpg", copy)
    result = one(searcher, copy, 3)
    assert result.indexed is None
    assert (result.hits[0].path, result.hits[0].identical) == (STORED, True)
    assert result.hits[0].score == pytest.approx(1.0)
    assert not any(hit.identical for hit in result.hits[1:])


def test_a_twin_inside_the_collection_comes_first_even_for_k_1(
    rocks: Path, working: Working
) -> None:
    # Many exact ties: ten copies that differ in bytes, not in pixels, sort before the twin by path.
    source = rocks / "marble" / "marble-0002.jpg"
    for number in range(10):
        (rocks / "basalt" / f"aa-{number}.jpg").write_bytes(source.read_bytes() + b"\0" * number)
    (rocks / "basalt" / "aa-0.jpg").unlink()
    shutil.copy(source, rocks / "schist" / "zz.jpg")
    with EdgeStore(working.qdrant, "geosim") as store:
        sync(open_dataset(rocks), load_model(working.model), store, working)
        searcher = Searcher(store, working)
        (hit,) = one(searcher, source, 1).hits
        assert (hit.path, hit.identical) == ("rocks/schist/zz.jpg", True)
        second = one(searcher, source, 3).hits[1:]
        assert [hit.path for hit in second] == ["rocks/basalt/aa-1.jpg", "rocks/basalt/aa-2.jpg"]


def test_a_new_file_is_embedded_and_finds_what_looks_like_it(
    searcher: Searcher, sample: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new.png"
    with Image.open(sample / "marble" / "marble-0002.jpg") as image:
        image.resize((70, 70), Image.Resampling.BICUBIC).save(new)
    result = one(searcher, new, 5)
    assert result.indexed is None
    assert result.hits[0].path == STORED
    assert not result.hits[0].identical
    assert 0.99 < result.hits[0].score <= 1.0


def test_a_file_changed_since_the_ingest_is_embedded_anew(
    store: EdgeStore, indexed: Working, rocks: Path
) -> None:
    changed = rocks / "marble" / "marble-0002.jpg"
    shutil.copy(rocks / "schist" / "schist-0001.jpg", changed)
    result = one(Searcher(store, indexed), changed, 3)
    assert result.indexed is None
    assert result.hits[0].path == "rocks/schist/schist-0001.jpg"
    assert result.hits[0].identical


def test_training_ingest_and_search_see_the_same_vector(sample: Path, tmp_path: Path) -> None:
    """One preprocessing: the real CNN, cold each time, on the same picture."""
    from geosim.trainer.backbones.registry import choose
    from geosim.trainer.feature_cache import FeatureCache
    from geosim.trainer.heads.fit import TrainOptions
    from geosim.trainer.train import train

    path = "rocks/granite/granite-0005.jpg"
    data = (sample / "granite" / "granite-0005.jpg").read_bytes()
    working = Working(tmp_path / "working")
    chosen, _ = choose("efficientnet-lite0")
    model = train(open_dataset(sample), chosen, working, TrainOptions(epochs=2)).model
    extractor = model.extractor(working.features)
    record = next(r for r in open_dataset(sample).records if r.path == path)
    digest = hashlib.sha256(data).hexdigest()
    cache = FeatureCache(working.features, chosen.spec, chosen.fingerprint)
    trained = model.head(cache.get([digest])[digest].vector[None])[0]
    cache.close()

    shutil.rmtree(working.features)
    with EdgeStore(working.qdrant, "geosim") as store:
        sync(open_dataset(sample), model, store, working)
        (point,) = store.fetch([point_id(path)])
        shutil.rmtree(working.features)
        pixels = prepare(data, extractor.spec.input_size).pixels[None]
        searched = model.head(extractor.backbone(pixels))[0]
        copy = tmp_path / "other-bytes.jpg"
        copy.write_bytes(data + b"\0")  # same pixels, unknown content
        hit = one(Searcher(store, working), copy, 1).hits[0]
    assert record.label == "granite"
    np.testing.assert_allclose(point.vector, trained, atol=1e-5)
    np.testing.assert_allclose(searched, trained, atol=1e-5)
    assert (hit.path, hit.identical) == (path, False)
    assert hit.score == pytest.approx(1.0, abs=1e-6)


def test_k_larger_than_the_collection_gives_what_there_is(searcher: Searcher) -> None:
    assert len(one(searcher, STORED, 500).hits) == 95


def test_a_class_filter_keeps_other_classes_out(searcher: Searcher) -> None:
    hits = one(searcher, STORED, 50, label="granite").hits
    assert len(hits) == 12
    assert {hit.label for hit in hits} == {"granite"}


def test_an_unknown_class_names_the_known_ones(searcher: Searcher) -> None:
    with pytest.raises(QueryError, match=r"'lava'.*basalt.*schist"):
        one(searcher, STORED, label="lava")


def test_one_bad_query_does_not_cost_the_others_their_answer(
    searcher: Searcher, sample: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    empty = tmp_path / "empty.jpg"
    empty.touch()
    good = tmp_path / "good.jpg"
    good.write_bytes((sample / "oolite" / "oolite-0001.jpg").read_bytes() + b"\0")
    queries = [str(good), str(text), "no/such/path.jpg", STORED, str(empty), str(good)]
    results = list(searcher.search(queries, SearchOptions(2)))
    assert [result.query for result in results] == queries
    assert [len(result.hits) for result in results] == [2, 0, 0, 2, 0, 2]
    assert results[0].hits == results[5].hits
    assert "not a JPEG" in str(results[1].error)
    assert "rocks/" in str(results[2].error), "an example shows what a stored path looks like"
    assert "empty" in str(results[4].error)


def test_more_queries_than_a_batch_are_answered_in_order(
    searcher: Searcher, store: EdgeStore
) -> None:
    paths = [p.payload.path for batch in store.scan(vectors=False) for p in batch] * 4
    results = list(searcher.search(paths, SearchOptions(1)))
    assert [result.query for result in results] == paths
    assert all(len(result.hits) == 1 for result in results)


def test_without_a_model_indexed_images_are_still_answered(
    store: EdgeStore, indexed: Working, tmp_path: Path
) -> None:
    shutil.rmtree(indexed.model)
    searcher = Searcher(store, indexed)
    assert len(one(searcher, STORED, 3).hits) == 3
    new = tmp_path / "new.png"
    Image.new("RGB", (40, 40), "red").save(new)
    errors = []
    for _ in range(2):
        with pytest.raises(ModelError, match="geosim train") as caught:
            one(searcher, new)
        errors.append(caught.value)
    # A stored exception would keep the frames, and so the picture, of every query.
    assert errors[0] is not errors[1]
    lengths = [len(list(walk_tb(error.__traceback__))) for error in errors]
    assert lengths[0] == lengths[1]


def test_a_collection_is_searched_with_the_model_that_made_it(
    store: EdgeStore, indexed: Working, sample: Path, tmp_path: Path
) -> None:
    from geosim.trainer.backbones.registry import choose
    from geosim.trainer.heads.fit import TrainOptions
    from geosim.trainer.train import train

    old = load_model(indexed.model).fingerprint[:12]
    photo = tmp_path / "new.png"
    with Image.open(sample / "marble" / "marble-0003.jpg") as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(photo)
    before = one(Searcher(store, indexed), photo, 9)
    chosen, _ = choose("colour-grid")
    for epochs in (1, 2):  # the second time the first one is removed, which nothing needs
        new = train(open_dataset(sample), chosen, indexed, TrainOptions(epochs=epochs)).model
        assert one(Searcher(store, indexed), photo, 9) == before
    assert len(list(indexed.model.glob("head-*"))) == 2
    (indexed.model / f"model-{old}.json").unlink()
    with pytest.raises(
        ModelMismatchError, match=f"{old}.*{new.fingerprint[:12]}.*geosim model pull TARGET {old}"
    ):
        Searcher(store, indexed)


def test_a_missing_collection_names_the_remedy(indexed: Working) -> None:
    with EdgeStore(indexed.qdrant, "other") as store, pytest.raises(StoreError, match="ingest"):
        Searcher(store, indexed)


def test_a_zero_embedding_is_an_error_not_a_hit(
    searcher: Searcher, indexed: Working, tmp_path: Path
) -> None:
    head = load_model(indexed.model).head
    model = searcher._store.model()
    assert model is not None
    resolver = searcher._resolvers.of(model)
    resolver._model = type(resolver.require_model())(  # a head whose units are all off
        indexed.model,
        load_model(indexed.model).spec,
        type(head)(head.kernel * 0, head.bias * 0 - 1),
        load_model(indexed.model).card,
    )
    new = tmp_path / "new.png"
    Image.new("RGB", (40, 40), "red").save(new)
    assert "zero vector" in str(one(searcher, new).error)


def test_folders_are_expanded_to_their_images(rocks: Path, tmp_path: Path) -> None:
    (rocks / "marble" / "notes.txt").touch()
    (rocks / "marble" / ".hidden.jpg").touch()
    found = list(expand(["a.jpg", str(rocks / "marble")]))
    assert found[0] == "a.jpg"
    assert found[1:] == [str(rocks / "marble" / f"marble-{i:04d}.jpg") for i in range(12)]
    (rocks / "marble" / "raw.CR2").touch()
    told: list[PassedOver] = []
    assert list(expand([str(rocks / "marble")], report=told.append)) == found[1:]
    assert [str(one) for one in told] == [
        "1 .cr2 in marble passed over: not read; convert them to TIFF or JPEG"
    ]
    (tmp_path / "none").mkdir()
    with pytest.raises(QueryError, match="without images"):
        list(expand([str(tmp_path / "none")]))


def test_a_folder_is_searched_for_what_an_ingest_of_it_sees(rocks: Path) -> None:
    hidden = ["marble/.raw/a.jpg", "@eaDir/marble/a.jpg", "lost+found/x/a.jpg", "gneiss/old/a.jpg"]
    for name in hidden:
        (rocks / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(rocks / "marble" / "marble-0000.jpg", rocks / name)
    (rocks / "alias").symlink_to(rocks / "marble")
    (rocks / "marble" / "up").symlink_to(rocks)
    found = [Path(path) for path in expand([str(rocks)], ["old"])]
    records = open_dataset(rocks, ["old"]).records
    assert [file.relative_to(rocks.parent).as_posix() for file in found] == [
        r.path for r in records
    ]
    assert len(found) == 96


def test_an_indexed_image_never_lists_itself_by_whatever_path(
    searcher: Searcher, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = one(searcher, sample / "marble" / "marble-0002.jpg")
    monkeypatch.chdir(sample / "schist")
    for path in ("../marble/marble-0002.jpg", "../schist/../marble/./marble-0002.jpg"):
        result = one(searcher, path)
        assert result.indexed == plain.indexed
        assert result.hits == plain.hits


def test_names_that_are_none_fail_alone(searcher: Searcher) -> None:
    results = list(
        searcher.search(["\udcff.jpg", "a" * 300 + ".jpg", "nul\0.jpg", STORED], SearchOptions(2))
    )
    assert [bool(result.error) for result in results] == [True, True, True, False]
    results[0].query.encode()


def test_a_radius_gives_everything_inside_it(searcher: Searcher, store: EdgeStore) -> None:
    truth = cosines(store, STORED)
    least = sorted(round(score, 6) for score in truth.values())[-20]
    inside = {path for path, score in truth.items() if round(score, 6) >= least}
    hits = one(searcher, STORED, min_score=least).hits
    assert {hit.path for hit in hits} == inside
    assert len(hits) >= 20
    assert one(searcher, STORED, 3, min_score=least).hits == hits[:3]


def test_one_per_class_gives_the_best_of_each(searcher: Searcher, store: EdgeStore) -> None:
    hits = one(searcher, STORED, one_per="class").hits
    assert len({hit.label for hit in hits}) == len(hits) == 8
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    truth = cosines(store, STORED)
    for hit in hits:
        best = max(score for path, score in truth.items() if f"/{hit.label}/" in path)
        assert hit.score == pytest.approx(best, abs=1e-6)
    assert len(one(searcher, STORED, 3, one_per="class").hits) == 3
    assert one(searcher, STORED, one_per="class", label="schist").hits[0].label == "schist"


def test_one_per_data_set_gives_the_best_of_each(rocks: Path, indexed: Working) -> None:
    other = rocks.rename(rocks.with_name("quarry"))
    with EdgeStore(indexed.qdrant, "geosim") as store:
        sync(open_dataset(other), load_model(indexed.model), store, indexed)
        hits = one(Searcher(store, indexed), STORED, one_per="dataset", label="granite").hits
    assert {hit.path.partition("/")[0] for hit in hits} == {"rocks", "quarry"}
    assert {hit.label for hit in hits} == {"granite"}


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [({"k": 0}, "at least 1"), ({"min_score": 1.5}, "cosine")],
)
def test_what_cannot_be_wanted_is_refused(wanted: dict[str, Any], reason: str) -> None:
    with pytest.raises(QueryError, match=reason):
        SearchOptions(**wanted)


def test_several_examples_are_asked_by_their_mean(searcher: Searcher, store: EdgeStore) -> None:
    """What Qdrant's own recommendation by average vector gives, score by score."""
    from qdrant_client import QdrantClient, models

    points = [point for batch in store.scan(vectors=True) for point in batch]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = QdrantClient(":memory:")
        vectors = models.VectorParams(size=32, distance=models.Distance.COSINE)
        client.create_collection("rocks", vectors_config=vectors)
        client.upsert(
            "rocks",
            [models.PointStruct(id=p.payload.id, vector=p.vector.tolist()) for p in points],
        )
        paths = [f"rocks/{name}-0001.jpg" for name in ("schist/schist", "gneiss/gneiss")]
        for negative in ([], ["rocks/marble/marble-0003.jpg", "rocks/basalt/basalt-0003.jpg"]):
            query = models.RecommendQuery(
                recommend=models.RecommendInput(
                    positive=[point_id(path) for path in paths],
                    negative=[point_id(path) for path in negative],
                    strategy=models.RecommendStrategy.AVERAGE_VECTOR,
                )
            )
            expected = client.query_points("rocks", query=query, limit=10).points
            hits = searcher.recommend(paths, negative, SearchOptions(10)).hits
            assert [hit.id for hit in hits] == [point.id for point in expected]
            scores = [point.score for point in expected]
            assert [hit.score for hit in hits] == pytest.approx(scores, abs=1e-5)
        client.close()


def test_examples_and_their_copies_are_not_among_their_hits(
    searcher: Searcher, sample: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.jpg"
    shutil.copy(sample / "schist" / "schist-0001.jpg", copy)
    result = searcher.recommend(
        [STORED, copy], [sample / "basalt" / "basalt-0002.jpg"], SearchOptions(200)
    )
    found = {hit.path for hit in result.hits}
    assert len(found) == 96 - 3
    assert not found & {STORED, "rocks/schist/schist-0001.jpg", "rocks/basalt/basalt-0002.jpg"}
    assert result.query == f"{STORED} + {copy} - {sample / 'basalt' / 'basalt-0002.jpg'}"


def test_examples_that_cannot_be_asked_are_named(searcher: Searcher) -> None:
    with pytest.raises(QueryError, match=r"nowhere\.jpg: neither a file"):
        searcher.recommend([STORED, "nowhere.jpg"])
    with pytest.raises(QueryError, match="at least one"):
        searcher.recommend([], [STORED])
    vector = np.ones(32, np.float32)
    other = np.eye(32, dtype=np.float32)[0]
    with pytest.raises(QueryError, match="cancel"):  # twice their mean, which is zero, less zero
        searcher.recommend([vector, -vector], [other, -other])


def test_pictures_in_memory_are_looked_for_and_leave_no_trace(
    searcher: Searcher, sample: Path, indexed: Working
) -> None:
    path = sample / "marble" / "marble-0002.jpg"
    shutil.rmtree(indexed.features)
    given = one(searcher, path.read_bytes(), 3)
    assert (given.hits[0].path, given.hits[0].identical, given.indexed) == (STORED, True, None)
    with Image.open(path) as image:
        pixels = np.asarray(image)
        for example in (image, pixels):
            hits = one(searcher, example, 3).hits
            assert (hits[0].path, hits[0].identical) == (STORED, False)
            assert hits[0].score == pytest.approx(1, abs=1e-6)
            assert [hit.path for hit in hits[1:]] == [hit.path for hit in given.hits[1:]]
    assert not indexed.features.exists()
    assert "not a JPEG" in str(one(searcher, b"no picture").error)


def test_an_embedding_is_looked_for_as_it_is(searcher: Searcher, store: EdgeStore) -> None:
    (point,) = store.fetch([point_id(STORED)])
    hits = one(searcher, point.vector * 3, 4).hits
    assert hits[0].path == STORED
    assert [hit.path for hit in hits[1:]] == [hit.path for hit in one(searcher, STORED, 3).hits]
    for bad in (np.zeros(32), np.full(32, np.nan), np.ones(31), np.zeros((2, 2, 2, 2), np.uint8)):
        with pytest.raises(QueryError):
            one(searcher, bad)


def test_what_is_resolved_once_can_be_asked_often(searcher: Searcher, sample: Path) -> None:
    path, other = sample / "marble" / "marble-0002.jpg", "rocks/schist/schist-0001.jpg"
    resolved, negative = searcher.resolve(path), searcher.resolve(other)
    for wanted in (SearchOptions(3), SearchOptions(label="schist"), SearchOptions(one_per="class")):
        (expected,) = searcher.search([path], wanted)
        assert searcher.search_resolved(resolved, wanted) == expected
        expected = searcher.recommend([path], [other], wanted)
        assert searcher.recommend([resolved], [negative], wanted) == expected
    with pytest.raises(QueryError, match=r"^not a JPEG"):
        searcher.resolve(b"no picture")
