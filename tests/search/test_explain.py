"""Votes and their order, how sure they are, and what is called unlike a collection."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from geosim.ingest.schema import ModelRef, Payload
from geosim.ingest.store.edge import EdgeStore
from geosim.search.explain import (
    MIN_IMAGES,
    Explanation,
    Vote,
    explain,
    explain_results,
    novelty_threshold,
    vote_certainty,
    vote_doubt,
    with_voters,
)
from geosim.search.render.table import as_json, render, table
from geosim.search.searcher import Searcher
from geosim.search.types import Hit, Result, SearchOptions
from geosim.trainer.evaluation.calibration import Certainty
from geosim.trainer.evaluation.metrics import knn_votes
from geosim.trainer.working import Working

STORED = "rocks/marble/marble-0002.jpg"


def hits(*found: tuple[str, float], identical: bool = False) -> list[Hit]:
    return [
        Hit(rank, score, f"rocks/{label}/{rank}.jpg", label, str(rank), identical and rank == 1)
        for rank, (label, score) in enumerate(found, start=1)
    ]


def explained(
    searcher: Searcher, wanted: SearchOptions, store: EdgeStore, working: Working
) -> list[Explanation | None]:
    found = searcher.search([STORED], wanted)
    return [explanation for _, explanation in explain_results(found, wanted, store, working)]


def filled(
    folder: Path,
    vectors: NDArray[np.float32],
    hashes: list[str] | None = None,
    labels: list[str] | None = None,
) -> EdgeStore:
    store = EdgeStore(folder, "geosim")
    store.create(ModelRef("a" * 64, "colour-grid"))
    names = hashes or [f"{row:064x}" for row in range(len(vectors))]
    payloads = [
        Payload(f"rocks/{label}/{row:05d}.jpg", label, name, 28, 28, "rocks")
        for row, (name, label) in enumerate(zip(names, labels or ["c"] * len(names), strict=True))
    ]
    store.upsert(payloads, vectors)
    return store


def directions(count: int, seed: int = 0) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(count, 32))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_votes_weigh_their_scores() -> None:
    found = explain(hits(("a", 0.9), ("b", 0.5), ("b", 0.3), ("c", -0.2)), None)
    assert found.votes == (
        Vote("a", 1, pytest.approx(0.9 / 1.7)),
        Vote("b", 2, pytest.approx(0.8 / 1.7)),
        Vote("c", 1, 0.0),
    )
    assert found.predicted == "a"
    assert found.confidence == pytest.approx(0.9 / 1.8)
    assert found.best_score == 0.9
    assert not found.is_novel
    assert found.threshold is None


def test_no_vote_is_sure_and_more_hits_are_surer() -> None:
    confidences = [explain(hits(*[("a", 1.0)] * k), None).confidence for k in (1, 10, 50)]
    assert confidences == sorted(confidences)
    assert confidences[0] < confidences[-1] < 1
    assert confidences[1] == pytest.approx(10 / 10.1)


def test_it_predicts_what_the_evaluation_does() -> None:
    generator = np.random.default_rng(5)
    scores = np.sort(generator.choice([-0.5, 0.25, 0.5, 0.75], size=(300, 6)))[:, ::-1]
    labels = generator.integers(0, 4, size=(300, 6))
    expected = knn_votes(labels.astype(np.int64), scores)
    for row in range(300):
        pairs = [("abcd"[n], float(s)) for n, s in zip(labels[row], scores[row], strict=True)]
        if scores[row, 0] > 0:  # else the evaluation may elect a class without any hit
            assert explain(hits(*pairs), None).predicted == "abcd"[expected[row]]


def test_hits_without_a_class_do_not_vote() -> None:
    found = explain(hits(("", 0.95), ("a", 0.9), ("b", 0.5), ("", 0.4), ("b", 0.3)), 0.99)
    voters = explain(hits(("a", 0.9), ("b", 0.5), ("b", 0.3)), 0.99)
    assert (found.votes, found.predicted) == (voters.votes, "")
    assert (found.unlabelled, found.best_score, found.is_novel) == (2, 0.95, True)
    none = explain(hits(("", 0.95)), 0.5)
    assert (none.votes, none.predicted, none.confidence, none.unlabelled) == ((), "", None, 1)


def test_without_hits_nothing_is_said() -> None:
    assert explain([], 0.9) == Explanation((), "", None, False, 0.0, 0.9)


def test_hits_that_are_nothing_like_the_query_predict_nothing() -> None:
    found = explain(hits(("a", 0.0), ("b", -0.4)), None)
    assert (found.predicted, found.confidence, found.prediction) == ("", None, (None, None))


def test_unlike_is_what_scores_below_the_usual_and_has_no_copy_here() -> None:
    assert explain(hits(("a", 0.89)), 0.9).is_novel
    assert not explain(hits(("a", 0.9)), 0.9).is_novel
    assert not explain(hits(("a", 0.89)), None).is_novel, "an indexed query is at home"
    assert not explain(hits(("a", 0.89), identical=True), 0.9).is_novel


def test_the_usual_score_is_a_low_quantile_of_the_best_scores(tmp_path: Path) -> None:
    vectors = directions(300)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1)
    with filled(tmp_path, vectors) as store:
        threshold = novelty_threshold(store, Working(tmp_path))
    assert threshold is not None
    assert threshold == pytest.approx(np.quantile(cosines.max(axis=1), 0.01), abs=1e-6)


def test_byte_copies_inside_a_collection_do_not_make_everything_else_unlike(tmp_path: Path) -> None:
    once = directions(60)
    names = [f"{row:064x}" for row in range(60)]
    with filled(tmp_path / "once", once, names) as store:
        single = novelty_threshold(store, Working(tmp_path / "once"))
    with filled(tmp_path / "twice", np.concatenate([once, once]), names * 2) as store:
        double = novelty_threshold(store, Working(tmp_path / "twice"))
    assert single is not None
    assert double is not None
    assert double == pytest.approx(single, abs=0.05)  # not 1


@pytest.mark.parametrize("count", [1, MIN_IMAGES - 1])
def test_a_small_collection_says_nothing(tmp_path: Path, count: int) -> None:
    with filled(tmp_path, directions(count)) as store:
        assert novelty_threshold(store, Working(tmp_path)) is None


def test_a_collection_of_one_image_copied_says_nothing(tmp_path: Path) -> None:
    with filled(tmp_path, np.tile(directions(1), (30, 1)), ["f" * 64] * 30) as store:
        assert novelty_threshold(store, Working(tmp_path)) is None


def test_the_measure_is_kept_until_the_collection_changes(
    store: EdgeStore, indexed: Working
) -> None:
    threshold = novelty_threshold(store, indexed)
    assert threshold is not None
    (kept,) = indexed.derived.iterdir()
    content = json.loads(kept.read_bytes())
    assert content["points"] == 96

    kept.write_text(json.dumps({**content, "value": 0.25}))
    assert novelty_threshold(store, indexed) == 0.25, "read, not measured"
    for damaged in (b"", b"[]", b'{"value"', json.dumps({**content, "value": None}).encode()):
        kept.write_bytes(damaged)
        assert novelty_threshold(store, indexed) == threshold
        assert json.loads(kept.read_bytes()) == content

    kept.write_text(json.dumps({**content, "value": 0.25}))
    store.delete([next(iter(store.scan(vectors=False)))[0].payload.id])
    changed = novelty_threshold(store, indexed)
    assert changed is not None
    assert changed > 0.25


def test_a_folder_that_cannot_be_written_does_not_keep_it_from_being_measured(
    store: EdgeStore, indexed: Working
) -> None:
    indexed.derived.write_bytes(b"a file where the folder should be")
    assert novelty_threshold(store, indexed) is not None


def test_a_new_rock_is_like_something_here_and_noise_is_not(
    searcher: Searcher, store: EdgeStore, indexed: Working, sample: Path, tmp_path: Path
) -> None:
    with Image.open(sample / "marble" / "marble-0002.jpg") as image:
        image.resize((70, 70), Image.Resampling.BICUBIC).save(tmp_path / "new.png")
    plain = Image.new("RGB", (64, 64), (255, 0, 255))
    plain.save(tmp_path / "magenta.png")
    names = [str(tmp_path / "new.png"), str(tmp_path / "magenta.png"), STORED]
    pairs = explain_results(searcher.search(names), SearchOptions(), store, indexed)
    new, magenta, stored = (explanation for _, explanation in pairs)
    assert new is not None
    assert new.predicted == new.votes[0].label
    assert not new.is_novel
    assert new.best_score > 0.99
    assert magenta is not None
    assert magenta.is_novel
    assert magenta.threshold == new.threshold
    assert stored is not None
    assert (stored.is_novel, stored.threshold) == (False, None)


def test_filtered_hits_have_nothing_to_vote_on(
    searcher: Searcher, store: EdgeStore, indexed: Working
) -> None:
    for wanted in (SearchOptions(label="schist"), SearchOptions(one_per="class")):
        assert explained(searcher, wanted, store, indexed) == [None]
    none = SearchOptions(min_score=1.0)
    assert explained(searcher, none, store, indexed) == [None]
    assert not indexed.derived.exists(), "only a new picture needs the measure"


def result(*found: tuple[str, float]) -> Result:
    return Result("new.jpg", tuple(hits(*found)))


def lines(one: Result, why: Explanation) -> list[str]:
    return table(one, why).splitlines()[2 + len(one.hits) :]


def test_the_table_tells_votes_and_prediction_or_that_nothing_is_like_it() -> None:
    one = result(*[("gneiss", 0.9)] * 8, *[("sch\x1bist", 0.5)] * 2)
    shown = lines(one, explain(one.hits, 0.8))
    assert shown == ["votes: gneiss 8, sch\\x1bist 2", "predicted: gneiss, 86% sure"]
    shown = lines(one, explain(one.hits, 0.95123))
    assert shown[0].startswith("votes: ")
    assert shown[1:] == [
        "unlike anything here: best score 0.9000; 99% of the indexed images have one of 0.9512 "
        "or more"
    ]


def test_an_indexed_query_has_votes_and_no_prediction(searcher: Searcher) -> None:
    (one,) = searcher.search([STORED], SearchOptions(3))
    why = explain(one.hits, None)
    (shown,) = lines(one, why)
    assert shown.startswith("votes: ")
    assert list(as_json(one, why)["explanation"]) == ["votes", "without_class"]


def test_json_carries_the_explanation() -> None:
    one = result(("a", 0.5), ("b", 0.25))
    why = explain(one.hits, 0.75)
    for form in ("json", "jsonl"):
        answer: Any = json.loads("".join(render([(one, why)], form)))
        answer = answer[0] if form == "json" else answer
        assert answer["explanation"] == {
            "votes": [
                {"class": "a", "votes": 1, "share": 0.6667},
                {"class": "b", "votes": 1, "share": 0.3333},
            ],
            "without_class": 0,
            "predicted": "",
            "confidence": None,
            "unlike": True,
            "best": 0.5,
            "usual": 0.75,
            "doubt": None,
        }
        assert "explanation" not in "".join(render([(one, None)], form))


def test_a_fitted_certainty_is_told_and_changes_no_winner() -> None:
    one = result(*[("gneiss", 0.9)] * 8, *[("schist", 0.5)] * 2)
    unsure = explain(one.hits, None, Certainty(-1.0, 0.5, 0.0))
    assert unsure.predicted == "gneiss"
    assert unsure.votes == explain(one.hits, None).votes
    expected = 1 / (1 + math.exp(1 - 0.5 * math.log(7.2 / 1.1)))
    assert unsure.confidence == pytest.approx(expected)


def test_without_ground_no_certainty_is_claimed() -> None:
    one = result(("gneiss", 0.53))
    why = explain(one.hits, None, None)
    assert why.predicted == "gneiss"
    assert why.confidence is None
    assert lines(one, why)[1] == (
        "predicted: gneiss; the model was trained on too few images to tell how sure"
    )
    answer: Any = json.loads("".join(render([(one, why)], "jsonl")))
    assert answer["explanation"]["confidence"] is None


@pytest.mark.parametrize(
    ("labels", "copies", "doubt"),
    [
        (["granite"], 1, "there is only one class here"),
        (["granite"] * 40, 1, "there is only one class here"),
        (["granite", "gneiss"] * 9, 1, "there are only 18 different images here, and it takes 20"),
        (["granite", "gneiss"] * 20, 4, "there are only 10 different images here, and it takes 20"),
        (["granite"] * 40 + ["gneiss"] * 4, 1, "all images here but 4 are of one class"),
        (["granite"] * 15 + ["gneiss"] * 5, 1, ""),
        ([f"class {row % 7}" for row in range(28)], 1, ""),
    ],
)
def test_one_class_or_a_handful_of_images_is_no_ground(
    tmp_path: Path, labels: list[str], copies: int, doubt: str
) -> None:
    hashes = [f"{row // copies:064x}" for row in range(len(labels))]
    with filled(tmp_path, directions(len(labels)), hashes, labels) as store:
        assert vote_doubt(store) == doubt
        assert vote_certainty(store, Working(tmp_path)) == (None if doubt else Certainty())
        if "different" in doubt:
            assert novelty_threshold(store, Working(tmp_path)) is None, "of 20 different ones"


def test_what_speaks_against_a_prediction_is_told_instead_of_one() -> None:
    one = result(("granite", 0.53))
    why = explain(one.hits, None, Certainty(), "there is only one class here")
    assert (why.predicted, why.confidence, why.prediction) == ("", None, (None, None))
    assert lines(one, why) == [
        "votes: granite 1",
        "no class is predicted: there is only one class here",
    ]
    answer: Any = json.loads("".join(render([(one, why)], "jsonl")))
    assert answer["explanation"]["doubt"] == "there is only one class here"
    (row,) = list(csv.DictReader(io.StringIO("".join(render([(one, why)], "csv"))[1:])))
    assert (row["predicted"], row["certainty"]) == ("", "")


def test_the_ten_nearest_vote_however_few_hits_are_wanted(
    store: EdgeStore, searcher: Searcher, indexed: Working, sample: Path, tmp_path: Path
) -> None:
    with Image.open(sample / "marble" / "marble-0002.jpg") as image:
        image.resize((70, 70), Image.Resampling.BICUBIC).save(tmp_path / "new.png")

    def answer(options: SearchOptions) -> tuple[Result, Explanation]:
        found = searcher.search([str(tmp_path / "new.png")], with_voters(options))
        ((one, why),) = explain_results(found, options, store, indexed)
        assert why is not None
        return one, why

    ten, by_ten = answer(SearchOptions())
    one, by_one = answer(SearchOptions(1))
    assert one.hits == ten.hits[:1]
    assert by_one == by_ten
    above, by_score = answer(SearchOptions(min_score=ten.hits[1].score))
    assert len(above.hits) == 2
    assert by_score.predicted == ""
    assert by_score.doubt == "only 2 of the 10 nearest have the wanted score"


def test_the_certainty_is_that_of_the_model_that_made_the_collection(
    store: EdgeStore, indexed: Working
) -> None:
    card_path = indexed.model / "model.json"
    card = json.loads(card_path.read_bytes())
    assert vote_certainty(store, indexed) is None, "96 images were too few to fit it"
    del card["vote"]
    card_path.write_text(json.dumps(card))
    assert vote_certainty(store, indexed) == Certainty(), "a model of an earlier version"
    fitted = {"offset": -1.0, "slope": 0.5, "closeness": 0.25, "most": 0.99}
    card_path.write_text(json.dumps({**card, "vote": {**fitted, "held_out": 300, "right": 200}}))
    assert vote_certainty(store, indexed) == Certainty(**fitted)
    card_path.write_text(json.dumps({**card, "vote": None, "fingerprint": "f" * 64}))
    assert vote_certainty(store, indexed) == Certainty(), "of another model"
    card_path.unlink()
    assert vote_certainty(store, indexed) == Certainty()
