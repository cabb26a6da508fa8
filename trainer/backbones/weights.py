"""Reader of weights in PyTorch's legacy file format, without PyTorch.

A pickle can run code, so only a file with a known SHA-256 and only the names of a state dict are
read. The format: pickles of the magic number, the protocol, system information and the state dict,
whose tensors refer to storages by id; the pickled list of ids; per storage an 8-byte little-endian
count and the raw values.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from geosim.trainer.errors import WeightsError

# Constants of torch/serialization.py.
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001

_REMEDY = "install or download the file again"


class _Storage(NamedTuple):
    """An array of values at the end of the file."""

    key: str
    dtype: str
    length: int


class _Tensor(NamedTuple):
    """A view on a storage; offset and strides count values, not bytes."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_state_dict(path: Path, *, sha256: str) -> dict[str, np.ndarray]:
    """Read a state dict without running code of the pickle.

    Return arrays by key, in the file's order: float32 in PyTorch's order of axes, and int64 scalars
    under ``*.num_batches_tracked``.

    Raises:
        WeightsError: the file cannot be read, has another SHA-256, or is not a state dict.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read weights {path}: {error.strerror}; {_REMEDY}") from error
    received = hashlib.sha256(content).hexdigest()
    if received != sha256:
        raise WeightsError(f"weights {path} have SHA-256 {received}, expected {sha256}; {_REMEDY}")
    try:
        return _parse(io.BytesIO(content))
    except Exception as error:  # a damaged pickle raises many kinds
        raise WeightsError(
            f"weights {path} are no legacy state dict ({error}); {_REMEDY}"
        ) from error


def _parse(stream: BinaryIO) -> dict[str, np.ndarray]:
    """Read one complete file."""
    head = (_Unpickler(stream).load(), _Unpickler(stream).load())
    if head != (_MAGIC, _PROTOCOL):
        raise ValueError(f"magic number and protocol are {head}")
    if not _Unpickler(stream).load()["little_endian"]:
        raise ValueError("the values are big-endian")
    tensors: Mapping[str, _Tensor] = _Unpickler(stream).load()
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    values = {}
    for key in _Unpickler(stream).load():
        storage = storages[key]
        count = int.from_bytes(stream.read(8), "little")
        if count != storage.length:
            raise ValueError(f"storage {key} has {count} values, expected {storage.length}")
        dtype = np.dtype(storage.dtype)
        values[key] = np.frombuffer(stream.read(count * dtype.itemsize), dtype, count)
    if stream.read(1):
        raise ValueError("bytes are left over at the end")
    return {name: _view(tensor, values[tensor.storage.key]) for name, tensor in tensors.items()}


def _view(tensor: _Tensor, values: np.ndarray) -> np.ndarray:
    """Copy one tensor out of its storage."""
    last = tensor.offset + sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True)
    )
    numbers = (tensor.offset, *tensor.shape, *tensor.strides)
    if min(numbers) < 0 or last >= len(values):
        raise ValueError(f"a tensor reaches to value {last} of {len(values)}")
    strides = tuple(stride * values.itemsize for stride in tensor.strides)
    return np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.shape, strides).copy()


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> _Tensor:
    """Replace ``torch._utils._rebuild_tensor_v2``; the values come later in the file."""
    return _Tensor(storage, offset, shape, strides)


class _Unpickler(pickle.Unpickler):
    """Unpickler that allows only the four names that a state dict uses."""

    _ALLOWED: Mapping[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        ("torch", "FloatStorage"): "<f4",
        ("torch", "LongStorage"): "<i8",
    }

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Return the replacement of an allowed name."""
        try:
            return self._ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}") from None

    def persistent_load(self, pid: Any) -> _Storage:
        """Return the storage of a persistent id."""
        kind, dtype, key, _location, count, view = pid
        if kind != "storage" or view is not None:
            raise pickle.UnpicklingError(f"it asks for {pid!r}")
        return _Storage(key, dtype, count)
