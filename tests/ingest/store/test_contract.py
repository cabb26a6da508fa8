"""The contract of every engine: embedded, qdrant-client in memory, and a real server."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from geosim.ingest.schema import Change, Filter, ModelRef, Origin, Payload, VectorQuery, point_id
from geosim.ingest.store.base import SCAN_BATCH, VectorStore
from geosim.trainer.data.places import Place
from geosim.trainer.errors import StoreError

MODEL = ModelRef("0123456789abcdef" * 4, "efficientnet-lite0")
LABELS = ("andesite", "gneiss", "marble")

# The in-memory mode of qdrant-client says that it always searches exactly.
pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")


def payloads(count: int, *, dataset: str = "rocks", start: int = 0) -> list[Payload]:
    return [
        Payload(
            path=f"{dataset}/{LABELS[i % 3]}/{i:05d}.jpg",
            label=LABELS[i % 3],
            sha256=f"{i:064x}",
            width=28,
            height=30,
            dataset=dataset,
        )
        for i in range(start, start + count)
    ]


def vectors(count: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 32)).astype(np.float32)


@pytest.fixture
def filled(store: VectorStore) -> VectorStore:
    store.create(MODEL)
    store.upsert(payloads(60), vectors(60))
    return store


def best_by_numpy(query: np.ndarray, rows: np.ndarray, paths: list[str], k: int) -> list[str]:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    scores = unit @ (query / np.linalg.norm(query))
    return [paths[i] for i in np.argsort(-scores, kind="stable")[:k]]


def test_a_collection_is_created_described_and_dropped(store: VectorStore) -> None:
    assert store.info() is None
    store.drop()
    store.create(MODEL)
    info = store.info()
    assert info is not None
    assert (info.model, info.points) == (MODEL, 0)
    assert "Qdrant" in store.engine()
    with pytest.raises(StoreError, match="exists already"):
        store.create(MODEL)
    store.drop()
    assert store.info() is None
    store.create(MODEL)
    assert store.count() == 0


def test_a_dropped_collection_keeps_no_points(filled: VectorStore) -> None:
    filled.drop()
    filled.create(MODEL)
    assert filled.count() == 0
    filled.upsert(payloads(3), vectors(3))
    assert filled.count() == 3


def test_a_collection_that_was_written_has_a_revision(store: VectorStore) -> None:
    store.create(MODEL)
    store.upsert(payloads(3), vectors(3))
    info = store.info()
    assert info is not None
    assert info.revision
    assert store.fetch([payloads(1)[0].id])
    assert store.info() == info, "reading changes nothing"


def test_points_are_scanned_by_id(store: VectorStore) -> None:
    store.create(MODEL)
    count = SCAN_BATCH + 100
    store.upsert(payloads(count), vectors(count))
    store.delete([one.id for one in payloads(300)])
    store.upsert(payloads(200), vectors(200))
    ids = [point.payload.id for batch in store.scan(vectors=False) for point in batch]
    assert ids == sorted(ids)
    assert len(ids) == count - 100
    some = Filter(label="gneiss")
    ids = [point.payload.id for batch in store.scan(some, vectors=False) for point in batch]
    assert ids == sorted(ids)


def test_every_call_on_a_missing_collection_is_refused(store: VectorStore) -> None:
    payload = payloads(1)
    for call in (
        lambda: store.upsert(payload, vectors(1)),
        lambda: store.delete([payload[0].id]),
        lambda: store.update([Change((payload[0].id,), {"class": "a"})]),
        lambda: store.index_facts({"depth": "float"}),
        store.count,
        lambda: store.values("class"),
        lambda: store.fetch([payload[0].id]),
        lambda: list(store.scan(vectors=False)),
        lambda: store.query([VectorQuery(vectors(1)[0])], 1),
    ):
        with pytest.raises(StoreError):
            call()


def test_an_upsert_replaces_points_of_the_same_path(filled: VectorStore) -> None:
    again = payloads(5)
    filled.upsert(again, vectors(5, seed=9))
    assert filled.count() == 60
    point = filled.fetch([again[4].id])[0]
    expected = vectors(5, seed=9)[4]
    assert point.payload == again[4]
    assert point.vector is not None
    np.testing.assert_allclose(point.vector, expected / np.linalg.norm(expected), atol=1e-6)


def test_a_point_without_a_class(filled: VectorStore) -> None:
    bare = replace(payloads(1)[0], path="rocks/a.jpg", label="")
    filled.upsert([bare], vectors(1))
    (point,) = filled.fetch([bare.id])
    assert point.payload == bare
    assert "class" not in point.payload.to_dict()
    assert filled.unlabelled() == 1
    assert filled.values("class") == dict.fromkeys(LABELS, 20)
    assert [filled.count(Filter(label=label)) for label in (*LABELS, "")] == [20, 20, 20, 0]
    labelled = replace(bare, label="gneiss")
    filled.upsert([labelled], vectors(1))
    assert (filled.unlabelled(), filled.count(Filter(label="gneiss"))) == (0, 21)
    filled.upsert([bare], vectors(1))
    assert (filled.unlabelled(), filled.count(Filter(label="gneiss"))) == (1, 20)


def test_an_upsert_larger_than_one_request_is_complete(store: VectorStore) -> None:
    store.create(MODEL)
    store.upsert(payloads(2500), vectors(2500))
    assert store.count() == 2500


def test_empty_calls_do_nothing(filled: VectorStore) -> None:
    filled.upsert([], np.empty((0, 32), dtype=np.float32))
    filled.delete([])
    assert filled.count() == 60
    assert filled.fetch([]) == []
    assert filled.query([], 3) == []


def test_fetch_keeps_the_order_and_leaves_unknown_ids_out(filled: VectorStore) -> None:
    paths = [payload.path for payload in payloads(60)]
    wanted = [paths[7], "rocks/none.jpg", paths[2], paths[41]]
    points = filled.fetch([point_id(path) for path in wanted])
    assert [point.payload.path for point in points] == [paths[7], paths[2], paths[41]]
    for point in points:
        assert point.vector is not None
        assert point.vector.dtype == np.float32
        assert np.linalg.norm(point.vector) == pytest.approx(1, abs=1e-6)
    bare = filled.fetch([point_id(paths[7])], vectors=False)
    assert bare[0].vector is None


def test_scan_sees_every_point_once(store: VectorStore) -> None:
    count = 2 * SCAN_BATCH + 10
    stored = payloads(count)
    store.create(MODEL)
    store.upsert(stored, vectors(count))
    batches = list(store.scan(vectors=True))
    assert len(batches) == 3
    assert max(len(batch) for batch in batches) <= SCAN_BATCH
    paths = [point.payload.path for batch in batches for point in batch]
    assert sorted(paths) == [payload.path for payload in sorted(stored, key=lambda p: p.path)]
    assert all(point.vector is not None for batch in batches for point in batch)
    some = store.scan(Filter(label="marble", exclude=frozenset({stored[2].id})), vectors=False)
    marbles = [point for batch in some for point in batch]
    assert {point.payload.path for point in marbles} == {
        payload.path for payload in stored[3:] if payload.label == "marble"
    }
    assert len(marbles) == store.count(Filter(label="marble")) - 1
    assert all(point.vector is None for point in marbles)


def test_scan_of_an_empty_collection_yields_nothing(store: VectorStore) -> None:
    store.create(MODEL)
    assert list(store.scan(vectors=True)) == []


def test_query_equals_numpy(filled: VectorStore) -> None:
    rows, paths = vectors(60), [payload.path for payload in payloads(60)]
    wanted = vectors(70, seed=1) * 5
    answers = filled.query([VectorQuery(vector) for vector in wanted], 10)
    assert len(answers) == 70
    for vector, matches in zip(wanted, answers, strict=True):
        assert [m.payload.path for m in matches] == best_by_numpy(vector, rows, paths, 10)
    own = filled.query([VectorQuery(rows[3])], 1)[0][0]
    assert own.payload.path == paths[3]
    assert own.score == pytest.approx(1, abs=1e-6)
    assert own.score <= 1


@pytest.mark.parametrize("field", ["label", "dataset", "sha256", "exclude", "copies", "all"])
def test_query_and_count_obey_filters(filled: VectorStore, field: str) -> None:
    other = payloads(20, dataset="more", start=100)
    filled.upsert(other, vectors(20, seed=2))
    stored = payloads(60) + other
    first_two = frozenset(payload.id for payload in stored[:2])
    where, keep = {
        "label": (Filter(label="gneiss"), lambda p: p.label == "gneiss"),
        "dataset": (Filter(dataset="more"), lambda p: p.dataset == "more"),
        "sha256": (Filter(sha256=stored[5].sha256), lambda p: p.sha256 == stored[5].sha256),
        "exclude": (Filter(exclude=first_two), lambda p: p.id not in first_two),
        "copies": (
            Filter(exclude_sha256=frozenset({stored[5].sha256, stored[7].sha256})),
            lambda p: p.sha256 not in (stored[5].sha256, stored[7].sha256),
        ),
        "all": (
            Filter(label="gneiss", dataset="rocks", exclude=first_two),
            lambda p: p.label == "gneiss" and p.dataset == "rocks" and p.id not in first_two,
        ),
    }[field]
    expected = {payload.path for payload in stored if keep(payload)}
    assert filled.count(where) == len(expected)
    matches = filled.query([VectorQuery(vectors(1, seed=3)[0], where)], 100)[0]
    assert {match.payload.path for match in matches} == expected
    assert len(matches) == len(expected)


def test_queries_of_one_call_keep_their_own_filters(filled: VectorStore) -> None:
    vector = vectors(1, seed=3)[0]
    answers = filled.query([VectorQuery(vector, Filter(label=label)) for label in LABELS], 4)
    assert [{match.payload.label for match in matches} for matches in answers] == [
        {label} for label in LABELS
    ]


def test_equal_scores_are_ordered_by_path_however_many_there_are(store: VectorStore) -> None:
    store.create(MODEL)
    twins = payloads(90)
    order = np.random.default_rng(4).permutation(90)
    same = np.tile(vectors(1), (90, 1))
    store.upsert([twins[i] for i in order], same)
    matches = store.query([VectorQuery(same[0])], 5)[0]
    assert [match.payload.path for match in matches] == sorted(p.path for p in twins)[:5]


def test_more_neighbours_than_points_gives_all_points(filled: VectorStore) -> None:
    assert len(filled.query([VectorQuery(vectors(1)[0])], 1000)[0]) == 60


def test_vectors_without_a_direction_are_refused(filled: VectorStore) -> None:
    for value in (0.0, np.nan, np.inf):
        bad = vectors(2)
        bad[1] = value
        with pytest.raises(ValueError, match="norm"):
            filled.upsert(payloads(2, start=500), bad)
        with pytest.raises(ValueError, match="norm"):
            filled.query([VectorQuery(bad[1])], 1)
    assert filled.count() == 60


def test_vectors_of_another_shape_are_refused(filled: VectorStore) -> None:
    for bad in (vectors(3), vectors(2)[:, :31], vectors(2).astype(np.float64)):
        with pytest.raises(ValueError, match="expected vectors of shape"):
            filled.upsert(payloads(2), bad)
    for bad in (vectors(1), vectors(1)[0, :31], vectors(1)[0].astype(np.float64)):
        with pytest.raises(ValueError, match="expected a query vector"):
            filled.query([VectorQuery(bad)], 1)
    with pytest.raises(ValueError, match="k of 1"):
        filled.query([VectorQuery(vectors(1)[0])], 0)


def test_labels_are_counted_and_sorted(filled: VectorStore) -> None:
    filled.upsert(payloads(1, dataset="more"), vectors(1))
    assert list(filled.values("class").items()) == [
        ("andesite", 21),
        ("gneiss", 20),
        ("marble", 20),
    ]


def test_values_of_any_keyword_field_are_counted(filled: VectorStore) -> None:
    filled.upsert(payloads(2, dataset="more"), vectors(2))
    assert filled.values("dataset") == {"more": 2, "rocks": 60}


def test_min_score_leaves_out_points_below_it(filled: VectorStore) -> None:
    vector = vectors(1, seed=9)[0]
    (everyone,) = filled.query([VectorQuery(vector)], 60)
    least = round(everyone[6].score, 6)
    (near,) = filled.query([VectorQuery(vector, min_score=least)], 60)
    assert [match.payload.path for match in near] == [one.payload.path for one in everyone[:7]]
    (few,) = filled.query([VectorQuery(vector, min_score=least)], 3)
    assert few == near[:3]
    assert filled.query([VectorQuery(vector, min_score=1.0)], 60) == [[]]
    both = filled.query(
        [VectorQuery(vector, Filter(label="gneiss"), least), VectorQuery(vector)], 60
    )
    assert [match.payload.label for match in both[0]] == [
        match.payload.label for match in near if match.payload.label == "gneiss"
    ]
    assert len(both[1]) == 60


def test_many_queries_for_many_points_are_sent_in_parts(filled: VectorStore) -> None:
    queries = [VectorQuery(vector) for vector in vectors(70, seed=3)]
    many = filled.query(queries, 20_000)
    assert [len(found) for found in many] == [60] * 70
    assert [found[0] for found in many] == [found[0] for found in filled.query(queries, 1)]


def test_delete_ignores_unknown_ids(filled: VectorStore) -> None:
    gone = payloads(2)
    filled.delete([gone[0].id, point_id("rocks/none.jpg"), gone[1].id])
    assert filled.count() == 58
    assert filled.fetch([payload.id for payload in gone]) == []
    filled.upsert(gone, vectors(2))
    assert filled.count() == 60


def test_origins_are_kept_per_data_set_and_go_with_the_collection(filled: VectorStore) -> None:
    first = Origin("0123", "lab-1", Place("/data/rocks", None, 2))
    second = Origin("4567", "lab-\u00fc", Place("/data/\udcff.zip", "set/", 0))
    assert filled.origins() == {}
    filled.set_origin("rocks", first)
    filled.set_origin("more: {rocks}", second)
    assert filled.origins() == {"rocks": first, "more: {rocks}": second}
    info = filled.info()
    assert info is not None
    assert (info.model, info.points) == (MODEL, 60)
    filled.set_origin("rocks", replace(first, host="lab-3"))
    filled.set_origin("more: {rocks}", None)
    filled.set_origin("unknown", None)
    assert filled.origins() == {"rocks": replace(first, host="lab-3")}
    filled.drop()
    assert filled.origins() == {}
    filled.create(MODEL)
    assert filled.origins() == {}


def test_values_without_points_are_not_listed(filled: VectorStore) -> None:
    filled.upsert(payloads(2, dataset="more"), vectors(2))
    filled.delete([one.id for one in payloads(2, dataset="more")])
    assert filled.values("dataset") == {"rocks": 60}


def test_close_may_be_called_twice(store: VectorStore) -> None:
    store.create(MODEL)
    store.drop()
    store.close()
    store.close()


def test_ties_are_decided_on_rounded_scores(store: VectorStore) -> None:
    # Cosines that differ in the eighth decimal, the worse one first by path.
    close = np.zeros((3, 32), np.float32)
    close[:, 0] = 1
    close[0, 1], close[1, 1], close[2, 1] = 0.50000006, 0.5, 5
    store.create(MODEL)
    store.upsert(payloads(3), close)
    query = np.zeros(32, np.float32)
    query[0] = 1
    for k in (1, 2):
        (found,) = store.query([VectorQuery(query)], k)
        shown = [(round(match.score, 6), match.payload.path) for match in found]
        assert shown == sorted(shown, key=lambda row: (-row[0], row[1]))
        assert found[0].payload.path == min(one.path for one in payloads(2))


FACTS = {
    "depth": 2900.5,
    "hole": "A-7",
    "depth (m)": 12,
    "Tiefe \u00fc [a.b]": "x",
    "taken": "2024-05-31T10:00:00",
    "oriented": "yes",
    "location": {"lat": 51.5, "lon": -0.1},
}
KINDS = {
    "depth": "float",
    "hole": "keyword",
    "depth (m)": "float",
    "Tiefe \u00fc [a.b]": "keyword",
    "taken": "datetime",
    "oriented": "keyword",
    "location": "geo",
}


def test_a_point_keeps_its_facts(filled: VectorStore) -> None:
    one = replace(payloads(1)[0], facts=FACTS)
    filled.upsert([one], vectors(1))
    (point,) = filled.fetch([one.id])
    assert point.payload == one
    found = filled.query([VectorQuery(vectors(1)[0])], 1)[0][0]
    assert found.payload.facts == FACTS
    (bare,) = filled.fetch([payloads(2)[1].id])
    assert bare.payload.facts == {}
    assert "facts" not in bare.payload.to_dict()


def test_an_update_changes_payloads_and_leaves_vectors(filled: VectorStore) -> None:
    first, second, third = payloads(3)
    before = filled.fetch([first.id, second.id])
    filled.update([])
    everything = Change((first.id, second.id), {"class": "schist"}, FACTS)
    for _ in range(2):  # it can be run again
        filled.update([everything])
        points = filled.fetch([first.id, second.id, third.id])
        told = [(one.payload.label, one.payload.facts) for one in points]
        assert told == [("schist", FACTS), ("schist", FACTS), (third.label, {})]
    for point, old in zip(points, before, strict=False):
        np.testing.assert_array_equal(point.vector, old.vector)
    assert filled.count(Filter(label="schist")) == 2
    gone = ("class", "facts.depth", 'facts."Tiefe \u00fc [a.b]"')
    filled.update(
        [Change((first.id,), {}, {"hole": "B-1"}, gone), Change((second.id,), gone=["facts"])]
    )
    one, other = filled.fetch([first.id, second.id])
    left = {
        name: value for name, value in FACTS.items() if name not in ("depth", "Tiefe \u00fc [a.b]")
    }
    assert (one.payload.label, one.payload.facts) == ("", left | {"hole": "B-1"})
    assert other.payload == replace(second, label="schist")


def test_values_are_counted_exactly_after_every_kind_of_write(filled: VectorStore) -> None:
    filled.index_facts({"hole": "keyword"})
    every, holes = payloads(60), {row: f"A-{row % 7}" for row in range(60)}
    by_hole = {hole: [row for row in holes if holes[row] == hole] for hole in holes.values()}
    filled.update(
        [Change(tuple(every[r].id for r in rows), {}, {"hole": h}) for h, rows in by_hole.items()]
    )

    def check() -> None:
        counts = sorted(Counter(holes.values()).items())
        assert [*filled.values("facts.hole").items()] == counts
        most = sorted(counts, key=lambda one: (-one[1], one[0]))
        assert filled.facet("facts.hole", 60) == most
        assert filled.facet("facts.hole", 60, Filter(dataset="rocks")) == most

    check()
    filled.delete([every[row].id for row in range(0, 60, 4)])
    holes = {row: hole for row, hole in holes.items() if row % 4}
    check()
    filled.update([Change((every[1].id, every[2].id), {}, {"hole": "B"})])
    filled.update([Change((every[3].id,), gone=("facts.hole",))])
    filled.upsert([every[5], replace(every[6], facts={"hole": "B"})], vectors(2))
    holes |= {1: "B", 2: "B", 6: "B"}
    del holes[3], holes[5]
    check()
    filled.release()
    check()


def test_an_update_larger_than_one_request_is_complete(store: VectorStore) -> None:
    store.create(MODEL)
    every = payloads(2500)
    store.upsert(every, vectors(2500))
    store.update([Change((one.id,), {}, {"number": row}) for row, one in enumerate(every)])
    store.update([Change(tuple(one.id for one in every[1:]), {}, {"hole": "A-7"})])
    found = {p.payload.path: p.payload.facts for batch in store.scan(vectors=False) for p in batch}
    hole = {"hole": "A-7"}
    assert found == {one.path: {"number": n} | (hole if n else {}) for n, one in enumerate(every)}


def test_facts_have_an_index_of_their_kind(
    filled: VectorStore, request: pytest.FixtureRequest
) -> None:
    filled.index_facts(KINDS)
    one = replace(payloads(1)[0], facts=FACTS)
    filled.upsert([one], vectors(1))
    if "memory" in request.node.callspec.id:
        assert filled.fact_indexes() == {}, "it has no indexes"
        return
    assert filled.fact_indexes() == KINDS
    filled.index_facts({"depth": "keyword"})
    assert filled.fact_indexes() == KINDS | {"depth": "keyword"}
    assert filled.values('facts."Tiefe \u00fc [a.b]"') == {"x": 1}
    assert filled.values("facts.oriented") == {"yes": 1}
