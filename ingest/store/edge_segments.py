"""The segments of a shard, and when the engine rearranges them.

Points are written to one segment whose ids and payload indexes the engine makes anew in memory at
each opening, 1 µs for each. `settle` has it move many of them to segments that it reads from their
files as it needs them, and that its threads search at the same time. Those that are changed or
deleted later are only marked there, and moved back.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import qdrant_edge as edge

from geosim.ingest.store.edge_copy import OPEN_ROOM, bytes_of_holes
from geosim.ingest.store.edge_terms import CONFIG, KINDS, SETTLE_FROM
from geosim.trainer.disk import require_room
from geosim.trainer.files import allocated_bytes

LIST = "geosim-segments.json"
"""File in the shard with the names of its segments: the engine passes over those that it lost."""


def indexes(info: edge.ShardInfo) -> dict[str, str]:
    """Return the kind of each payload index of a shard by the path of its field."""
    stored = info.payload_schema
    return {path: str(one.data_type).rpartition(".")[2].lower() for path, one in stored.items()}


def settle(shard: edge.EdgeShard, path: Path) -> None:
    """Move the points of a shard in ``path``, if they are many, or where many were deleted.

    Without room on the disk they stay where they are, which is as good and takes longer.
    """
    info = shard.info()
    if info.points_count < SETTLE_FROM:
        return
    with suppress(OSError):
        require_room(path, OPEN_ROOM + allocated_bytes(path) + bytes_of_holes(path, path.parent))
        (path / LIST).unlink(missing_ok=True)  # a killed process may leave old or new segments
        for field, kind in indexes(info).items():
            if info.payload_schema[field].params is None:  # of an earlier version: read whole
                shard.update(edge.UpdateOperation.create_field_index(field, KINDS[kind]))
        shard.optimize()
        shard.flush()
        names = sorted(one.name for one in (path / "segments").iterdir() if one.is_dir())
        (path / LIST).write_text(json.dumps(names), encoding="utf-8")


def load(path: Path) -> edge.EdgeShard:
    """Open a shard; raise FileNotFoundError if a segment is missing, as far as anything tells."""
    if _has_all(path):  # Qdrant Edge makes a new segment in place of a lost one
        shard = edge.EdgeShard.load(str(path), CONFIG)
        if shard.info().payload_schema:
            return shard
        shard.close()
    raise FileNotFoundError(f"a folder or version.info in {path / 'segments'} is missing")


def _has_all(path: Path) -> bool:
    """Return whether all segments that `settle` noted are there."""
    with suppress(FileNotFoundError, ValueError):  # a killed process wrote half of the list
        names = json.loads((path / LIST).read_bytes())
        return all((path / "segments" / name / "version.info").is_file() for name in names)
    return True
