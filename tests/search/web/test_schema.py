"""The OpenAPI document is true: generated requests are answered as it says."""

from __future__ import annotations

import base64
from collections import Counter
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import pytest
import schemathesis
import schemathesis.hooks
from hypothesis import strategies
from schemathesis.engine import events, from_schema
from schemathesis.openapi import from_url

from geosim.trainer.working import Working
from tests.processes import serving
from tests.search.web.drawn import drawn

SEED = 14

KEY = "0123456789abcdef"
BEARER = {"Authorization": f"Bearer {KEY}"}


def schema_of(url: str, cases: int) -> Any:
    """Return the document of a page, for requests of which the same ones come at every run."""
    generation = {"max-examples": cases, "deterministic": True, "database": "none"}
    config = {
        "seed": SEED,
        "headers": BEARER,
        "continue-on-failure": True,
        "suppress-health-check": ["too_slow"],  # a busy machine
        "generation": generation,
        "phases": {
            "coverage": {"enabled": cases > 100},  # the edges of every value: over a thousand
            "stateful": {"generation": {"max-examples": max(cases // 10, 3)}},
        },
    }
    with httpx.Client(base_url=url, headers=BEARER, timeout=120) as client:
        plan = drawn(client)
        area = f"{plan['drawing']},0,0,65535,0,65535,65535"
        classes = [one["name"] for one in client.get("/api/collection").json()["classes"]]
    fixed = {"area": area, "tag": plan["tag"], "where": f"not class = '{classes[0]}'"}
    fixed |= {"crop": "25%,12.5%,50%,75%", "box": "3,5,20,10"}
    ids = strategies.sampled_from([UUID(one) for one in plan["ids"]]).map(str)
    schemathesis.openapi.format("uuid", ids | strategies.uuids().map(str))
    schema = from_url(f"{url}/openapi.json", config=schemathesis.Config.from_dict(config))

    schemathesis.hooks.unregister_all()

    @schemathesis.hook
    def before_call(_: Any, case: Any, __: Any) -> None:
        """Give valid requests what a document cannot describe: a class, a field, a part."""
        if case.meta is None or not case.meta.generation.mode.is_positive:
            return
        body = case.body if isinstance(case.body, dict) else {}
        examples = (*body.get("positive", ()), *body.get("negative", ()))
        for part in (case.query, body, *examples):
            if isinstance(part, dict):
                for name in {*part} & {*fixed}:
                    part[name] = part[name] and fixed[name]
                for name in {*part} & {"one_per", "not_same", "show", "together_by", "class"}:
                    known = classes if name == "class" else ["class", "dataset", "width"]
                    part[name] = part[name] and known[len(part[name]) % len(known)]
                if part.get("together_by"):  # what specimens are not ranked with
                    for name in ("one_per", "not_same", "crop", "negative"):
                        part.pop(name, None)
                if "embedding" in part:
                    part["embedding"] = finite(part["embedding"])

    return schema


def finite(embedding: str) -> str:
    """Replace what is no number, and zeros."""
    vector = np.frombuffer(base64.urlsafe_b64decode(embedding + "="), dtype="<f4")
    if np.isfinite(vector).all() and vector.any():
        return embedding
    packed = np.nan_to_num(vector, nan=1, posinf=2, neginf=3).clip(1e-3, 9).astype("<f4").tobytes()
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("cases", "requests"),
    [
        pytest.param(10, 150, id="few"),
        pytest.param(270, 5000, id="many", marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
    ],
)
def test_requests_are_answered_as_described(indexed: Working, cases: int, requests: int) -> None:
    sent: Counter[str] = Counter()
    faults: dict[str, str] = {}
    with serving(indexed.root, GEOSIM_SERVE_API_KEY=KEY) as (url, _):
        schema = schema_of(url, cases)
        for event in from_schema(schema).execute():
            if isinstance(event, events.NonFatalError):
                raise event.value
            assert not isinstance(event, events.FatalError), event
            if not isinstance(event, events.ScenarioFinished):
                continue
            sent[event.recorder.label] += len(event.recorder.interactions)
            for check in [one for many in event.recorder.checks.values() for one in many]:
                if check.failure_info is not None:
                    failure = check.failure_info.failure
                    title = f"{event.recorder.label}: {failure.title}: {failure.message}"
                    faults.setdefault(title, check.failure_info.code_sample)
        described = {one.ok().label for one in schema.get_all_operations()}
    assert not faults, "\n".join(f"{title}\n{code[:1500]}" for title, code in faults.items())
    assert described < set(sent)
    assert sent.total() >= requests, sent
