"""Vectors of one byte a dimension, as Qdrant's scalar quantization keeps them, against float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.store.ranking import TIE_MARGIN
from tests.benches import common, synthetic

ABOUT = (
    "All synthetic vectors are compared with those of 50 pictures that are not among them, by the "
    "cosine of the bytes. A search asks for 10 + 16 points; as many times more candidates are "
    "taken by the bytes, and compared by the vectors then."
)
IMAGES = 1_000_000
QUERIES = 50
K = 10
FIRST_QUERY = 1 << 40
"""A picture that is not among the others, of the first block beyond them."""

OVERSAMPLINGS = (1, 2, 4, 8, 16)


def measure(settings: common.Settings, _: Path) -> list[common.Row]:
    """Count the nearest ten that are among the candidates."""
    count = settings.limit(IMAGES)
    vectors = np.concatenate([block for _, block in synthetic.blocks(count)])
    (_, queries), *_ = synthetic.blocks(FIRST_QUERY + QUERIES, FIRST_QUERY)
    least, step = vectors.min(), (vectors.max() - vectors.min()) / 127

    def decoded(raw: NDArray[np.float32]) -> NDArray[np.float32]:
        return (np.clip(np.rint((raw - least) / step), 0, 127) * step + least).astype(np.float32)

    coarse, errors = decoded(vectors), list[float]()
    found: dict[str, list[float]] = {"no second comparison": []}
    found |= {f"{times} x the candidates": [] for times in OVERSAMPLINGS}
    for query, bytes_of in zip(queries, decoded(queries), strict=True):
        exact, by_bytes = vectors @ query, coarse @ bytes_of
        best, order = np.argsort(-exact)[:K], np.argsort(-by_bytes)
        errors.append(float(np.abs(exact[best] - by_bytes[best]).max()))
        numbers = (K, *(times * (K + TIE_MARGIN) for times in OVERSAMPLINGS))
        for name, candidates in zip(found, numbers, strict=True):
            found[name].append(float(np.isin(best, order[:candidates]).mean()))
    group = f"{count:,} vectors"
    rows = [common.Row(group, f"recall at {K}, {name}", "", one) for name, one in found.items()]
    means = [common.Row(row.group, row.name, row.unit, [np.mean(row.values)]) for row in rows]
    return [*means, common.Row(group, "largest error of a score of the ten", "", [max(errors)])]
