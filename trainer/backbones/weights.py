"""Reads weights in PyTorch's legacy file format without PyTorch.

Owns the format and its dangers: a pickle can run code, so only the names that a state dict needs
are admitted, and only a file whose SHA-256 is known is read at all. Does not know which network the
weights belong to.

The format: pickles for magic number, protocol and system information, the pickled state dict whose
tensors name their storages by id, the pickled list of ids, then per storage an 8-byte little-endian
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

# PyTorch's constants for its legacy format (torch/serialization.py).
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001

_REMEDY = "install or download the file again"


class _Storage(NamedTuple):
    """A run of values further down in the file."""

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
    """Reads a weights file without PyTorch and without running what a pickle may ask for.

    Args:
        path: The file.
        sha256: The only content that is accepted, as a hexadecimal digest.

    Returns:
        Arrays by key, in the file's order: float32 in PyTorch's order of axes, and int64 scalars
        under ``*.num_batches_tracked``.

    Raises:
        WeightsError: The file cannot be read, has another content, or is no state dict.
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
    # A pickle can fail in any way its opcodes can be misused: all of them mean the same here.
    except Exception as error:
        raise WeightsError(
            f"weights {path} are no legacy state dict ({error}); {_REMEDY}"
        ) from error


def _parse(stream: BinaryIO) -> dict[str, np.ndarray]:
    """Reads one legacy file from its first byte to its last."""
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
    """Copies one tensor out of its storage, strides and all."""
    last = tensor.offset + sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True)
    )
    numbers = (tensor.offset, *tensor.shape, *tensor.strides)
    if min(numbers) < 0 or last >= len(values):
        raise ValueError(f"a tensor reaches to value {last} of {len(values)}")
    strides = tuple(stride * values.itemsize for stride in tensor.strides)
    view = np.lib.stride_tricks.as_strided(
        values[tensor.offset :], tensor.shape, strides, writeable=False
    )
    return view.copy()


def _rebuild_tensor(
    storage: _Storage,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    _requires_grad: bool,
    _hooks: object,
) -> _Tensor:
    """Stands in for ``torch._utils._rebuild_tensor_v2``: notes the view, reads nothing."""
    return _Tensor(storage, offset, shape, strides)


class _Unpickler(pickle.Unpickler):
    """Admits the four names that a state dict uses, and no other."""

    _ADMITTED: Mapping[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        ("torch", "FloatStorage"): "<f4",
        ("torch", "LongStorage"): "<i8",
    }

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Returns the stand-in for an admitted name and refuses every other."""
        try:
            return self._ADMITTED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}") from None

    def persistent_load(self, pid: Any) -> _Storage:
        """Returns the storage that a persistent id stands for."""
        kind, dtype, key, _location, count, view = pid
        if kind != "storage" or view is not None:
            raise pickle.UnpicklingError(f"it asks for {pid!r}")
        return _Storage(key, dtype, count)
