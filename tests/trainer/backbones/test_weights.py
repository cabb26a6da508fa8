"""The reader of PyTorch's legacy files against hand-made ones, damage and abuse."""

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geosim.trainer.backbones.weights import read_state_dict
from geosim.trainer.errors import WeightsError

HEAD = b"".join(
    pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
)


def write(path: Path, content: bytes) -> str:
    """Writes a file and returns its SHA-256, so that only the parser stands in its way."""
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def tensor(offset: int, shape: tuple[int, ...], strides: tuple[int, ...], count: int = 6) -> bytes:
    """The opcodes of a state dict {"w": tensor} on storage "0" of ``count`` float32."""

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"I%d\n" % value for value in values) + b"t"

    storage = b"(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI%d\nNtQ" % count
    arguments = storage + b"I%d\n" % offset + numbers(shape) + numbers(strides)
    hooks = b"I00\nccollections\nOrderedDict\n)R"
    return b"}Vw\nctorch._utils\n_rebuild_tensor_v2\n(" + arguments + hooks + b"tRs."


def storage(count: int = 6) -> bytes:
    """The list of storages and storage "0": 0, 1, 2, ..."""
    values = np.arange(count, dtype="<f4").tobytes()
    return pickle.dumps(["0"], 2) + count.to_bytes(8, "little") + values


def test_a_changed_byte_is_refused(tmp_path: Path) -> None:
    content = HEAD + tensor(0, (2, 3), (3, 1)) + storage()
    digest = write(tmp_path / "small.pth", content)
    other = write(tmp_path / "small.pth", content[:-1] + b"\1")
    with pytest.raises(WeightsError, match=f"have SHA-256 {other}, expected {digest}"):
        read_state_dict(tmp_path / "small.pth", sha256=digest)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot read weights"):
        read_state_dict(tmp_path / "absent.pth", sha256="0" * 64)


def test_strides_and_offset_are_followed(tmp_path: Path) -> None:
    # Values 0..5; from value 1 on, rows one apart and columns two apart.
    content = HEAD + tensor(1, (2, 2), (1, 2)) + storage()
    digest = write(tmp_path / "small.pth", content)
    read = read_state_dict(tmp_path / "small.pth", sha256=digest)
    np.testing.assert_array_equal(read["w"], [[1, 3], [2, 4]])
    assert read["w"].flags.owndata


class Evil:
    """Runs a shell command when it is unpickled by an open-minded reader."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("position", [0, 1, 2, 3])
def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, position: int) -> None:
    marker = tmp_path / "it_ran"
    values: list[Any] = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    values.insert(position, Evil(marker))
    path = tmp_path / "evil.pth"
    digest = write(path, b"".join(pickle.dumps(value, 2) for value in values))
    with pytest.raises(WeightsError, match=r"asks for .*system"):
        read_state_dict(path, sha256=digest)
    assert not marker.exists()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no pickle at all", id="text"),
        pytest.param(pickle.dumps(1) + pickle.dumps(2), id="another magic number"),
        pytest.param(HEAD, id="no state"),
        pytest.param(HEAD + b"cbuiltins\neval\n.", id="a builtin"),
        pytest.param(HEAD + b"ctorch\nFloatStorage\n)R.", id="a storage type called"),
        pytest.param(HEAD + b"(Vmodule\nNNNNNtQ.", id="another persistent id"),
        pytest.param(HEAD + tensor(0, (2, 3), (3, 1)), id="no values"),
        pytest.param(HEAD + tensor(0, (2, 3), (3, 1)) + storage()[:-1], id="a byte short"),
        pytest.param(HEAD + tensor(0, (2, 3), (3, 1)) + storage() + b"\0", id="a byte long"),
        pytest.param(HEAD + tensor(0, (2, 3), (3, 1), 5) + storage(), id="another count"),
        pytest.param(HEAD + tensor(1, (2, 3), (3, 1)) + storage(), id="beyond the end"),
        pytest.param(HEAD + tensor(-1, (2, 3), (3, 1)) + storage(), id="before the start"),
        pytest.param(HEAD + tensor(5, (2, 3), (-3, 1)) + storage(), id="a negative stride"),
        pytest.param(HEAD + tensor(0, (2, 3), (1,)) + storage(), id="a stride short"),
    ],
)
def test_a_damaged_file_is_one_error(tmp_path: Path, content: bytes) -> None:
    digest = write(tmp_path / "damaged.pth", content)
    with pytest.raises(WeightsError, match="no legacy state dict"):
        read_state_dict(tmp_path / "damaged.pth", sha256=digest)
