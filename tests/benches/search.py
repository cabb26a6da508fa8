"""A search as a user runs it: a whole process."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path

from tests.benches import common, inputs

ABOUT = (
    "`geosim search PICTURE`, the whole process, ten hits. A new picture is an indexed one with a "
    "little noise, another one each run. Through TensorFlow, the same network is run by Keras and "
    "the same collection is queried."
)


def measure(settings: common.Settings, scratch: Path) -> list[common.Row]:
    """Time searches for new pictures and for an indexed one."""
    working = inputs.copied(
        inputs.working_folder(settings), scratch / "working", "model", "qdrant", "features"
    )
    data = inputs.dataset(settings)
    count, record = len(data.records), data.records[0]
    known, numbers = data.source.read(record), itertools.count()
    ours = (*common.GEOSIM, "search", "--working", working, "--format", "jsonl")

    def new(command: tuple[object, ...], *last: object) -> float:
        picture = scratch / f"{next(numbers)}.jpg"
        picture.write_bytes(inputs.similar_picture(known, int(picture.stem)))
        return common.timed(common.python, *command, picture, *last)

    turns = {
        common.OURS: partial(new, ours),
        "through TensorFlow": partial(new, ("-m", "tests.benches.tensorflow_search"), working),
    }
    seconds = common.interleaved("new picture", turns, settings.runs)
    indexed = {common.OURS: partial(common.timed, common.python, *ours, record.path)}
    again = common.interleaved("indexed picture", indexed, settings.runs)
    return [
        *common.compared(f"a new picture among {count:,}", seconds),
        *common.compared(f"an indexed picture among {count:,}", again),
    ]
