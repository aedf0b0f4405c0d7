"""Landmark files with one face: iBUG's ``.pts``, NumPy's ``.npy``, and Torch 7's ``.t7`` of LS3D-W.

Pixels are those of Matlab and Lua, whose first pixel has its centre at 1 (``MATLAB_CENTRE``). Nothing is unpickled, and
of Torch's format tensors of numbers are read alone.
"""

from __future__ import annotations

import io
import struct

import numpy as np

from jr2net.data.readers.mat import MATLAB_CENTRE
from jr2net.data.readers.problems import DatasetError, check_points, refuse_web_page

POINT_FILES = (".pts", ".t7", ".npy")

_TORCH_OBJECT = 4
_TORCH_TYPES = {"Float": "<f4", "Double": "<f8", "Int": "<i4", "Long": "<i8", "Short": "<i2", "Byte": "<u1"}


def parse_points(content: bytes, name: str) -> np.ndarray:
    """Landmarks (68, 2) or (5, 2) float32, pixels with edges at integers; the ending of ``name`` gives the format.

    A third coordinate is left out. Raises DatasetError naming the file: damaged, another number, swapped columns.
    """
    refuse_web_page(content, name)
    parse = _parse_npy if name.endswith(".npy") else _parse_t7 if name.endswith(".t7") else _parse_pts
    try:
        points = parse(content)
    except (ValueError, TypeError, IndexError, KeyError, EOFError, struct.error) as error:
        kind = name.rpartition(".")[2]
        raise DatasetError(
            f"damaged .{kind}", f"{name}: not a readable .{kind} file ({error}): damaged or truncated; copy it again"
        ) from None
    if points.ndim == 3 and points.shape[0] == 1:
        points = points[0]
    if points.ndim != 2 or points.shape[1] not in (2, 3):
        raise DatasetError(
            "number of landmarks", f"{name}: an array of shape {points.shape}; expected 68 × 2 landmarks (x, y)"
        )
    return check_points(points[:, :2].astype(np.float64) - MATLAB_CENTRE, name)


def _parse_pts(content: bytes) -> np.ndarray:
    """``version: 1``, ``n_points: 68`` and, in braces, one ``x y`` a line."""
    text = content.decode("utf-8", "replace")
    head, opening, rest = text.partition("{")
    body, closing, _ = rest.partition("}")
    if not opening or not closing:
        raise ValueError("no points in braces")
    rows = [[float(value) for value in line.split()] for line in body.splitlines() if line.strip()]
    fields = (line.partition(":") for line in head.splitlines())
    said = {key.strip().lower(): value.strip() for key, _, value in fields}.get("n_points")
    if said is not None and int(said) != len(rows):
        raise ValueError(f"n_points is {said}, but {len(rows)} lines follow")
    return np.array(rows, np.float64)


def _parse_npy(content: bytes) -> np.ndarray:
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"holds {array.dtype}, not numbers")
    return array


def _parse_t7(content: bytes) -> np.ndarray:
    """One tensor in Torch 7's binary format: its sizes, strides and offset, and then its storage."""
    stream = io.BytesIO(content)
    kind = _torch_class(stream, "Tensor")
    dimensions = _read(stream, "<i")
    if not 1 <= dimensions <= 3:
        raise ValueError(f"a tensor of {dimensions} dimensions")
    sizes = [_read(stream, "<q") for _ in range(dimensions)]
    strides = [_read(stream, "<q") for _ in range(dimensions)]
    first = _read(stream, "<q") - 1  # Lua counts from 1
    if _torch_class(stream, "Storage") != kind:
        raise ValueError("a tensor with the storage of another type")
    count, dtype = _read(stream, "<q"), np.dtype(_TORCH_TYPES[kind])
    values = np.frombuffer(stream.read(), dtype, count)
    last = first + sum((size - 1) * stride for size, stride in zip(sizes, strides))
    if min(*sizes, *strides, first + 1) < 0 or last >= count:
        raise ValueError(f"a tensor of {sizes} in a storage of {count} numbers")
    index = first + sum(
        np.arange(n).reshape(-1, *[1] * (dimensions - 1 - d)) * s for d, (n, s) in enumerate(zip(sizes, strides))
    )
    return values[index]


def _torch_class(stream: io.BytesIO, ending: str) -> str:
    """The numbers' type of the object that follows in the stream, as Torch calls it (``Float``, …)."""
    if _read(stream, "<i") != _TORCH_OBJECT:
        raise ValueError("not a tensor in Torch's binary format")
    _read(stream, "<i")  # number of the object
    text = [stream.read(_read(stream, "<i")).decode("latin-1")]
    if text[0].startswith("V "):  # files since version 1 begin with it
        text.append(stream.read(_read(stream, "<i")).decode("latin-1"))
    if not (text[-1].startswith("torch.") and text[-1].endswith(ending)):
        raise ValueError(f"a {text[-1][:40]!r} where a {ending.lower()} is expected")
    return text[-1].removeprefix("torch.").removesuffix(ending)


def _read(stream: io.BytesIO, form: str) -> int:
    return struct.unpack(form, stream.read(struct.calcsize(form)))[0]
