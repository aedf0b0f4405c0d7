"""A GPU that only pretends: tensors on its device are computed on the CPU, and every traffic with the host is recorded.

An operation on tensors of two devices raises DeviceMix, as a GPU would. What a GPU's owner waits for is in ``traffic``:
values that the host reads, copies to the device that are not asynchronous, operations whose output's size the host has
to know. The device's type is ``pretended``, since PyTorch knows no other that it could be given without a driver.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

TYPE = "pretended"
LIBRARY = str(Path(__file__).parents[1] / "jr2net")
aten = torch.ops.aten

DATA_DEPENDENT = {
    aten.nonzero.default,
    aten.masked_select.default,
    aten.repeat_interleave.Tensor,
    aten._unique2.default,
    aten.bincount.default,
    aten.equal.default,
}
"""Operations for which the host waits, since the size of the output (or the output) is known to the device alone."""


IN_BFLOAT16 = ("conv2d", "conv3d", "linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "scaled_dot_product_attention")
"""Operations that autocast computes in bfloat16, as on CUDA."""

IN_THE_WIDEST = ("grid_sampler", "index_put", "scatter_add")
"""Operations that autocast computes in the widest dtype of their operands, as on CUDA."""


class DeviceMix(RuntimeError):
    """An operation on tensors of two devices."""


class Event(NamedTuple):
    """kind: read, upload, asynchronous upload, or size; place: the line of the library that causes it."""

    kind: str
    place: str


class _Module(_DummyBackendModule):
    """``torch.pretended``, which PyTorch looks up."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    def synchronize(self, device: Any = None) -> None:
        pass


class _OnDevice(torch.Tensor):
    """A tensor of the device; ``held`` has its values."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> _OnDevice:
        result = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(TYPE, 0),
        )
        result.held = held
        return result

    def __repr__(self) -> str:  # type: ignore[override]
        return f"pretended {self.held!r}"

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.tolist:  # PyTorch knows it of plain tensors alone
            return args[0].cpu().tolist()
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func}: the device has been switched off")


class PretendedGpu(TorchDispatchMode):
    """The device while it is switched on; see ``pretended_gpu``."""

    def __init__(self) -> None:
        super().__init__()
        self.device = torch.device(TYPE, 0)
        self.traffic: list[Event] = []
        self._pinned: list[torch.Tensor] = []

    def count(self, kind: str) -> int:
        """The number of events of a kind so far."""
        return sum(event.kind == kind for event in self.traffic)

    def places(self, kind: str) -> Counter[str]:
        """The number of events of a kind by place."""
        return Counter(event.place for event in self.traffic if event.kind == kind)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func._can_decompose():  # in inference mode, composite operations arrive as they are
            with self:
                return func.decompose(*args, **kwargs)
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        there = [isinstance(tensor, _OnDevice) for tensor in tensors]
        target = kwargs.get("device")
        to_device = any(there) if target is None else torch.device(target).type == TYPE
        held_args, held_kwargs = tree_map(_held, args), tree_map(_held, kwargs)
        if target is not None:
            held_kwargs["device"] = torch.device("cpu")
        pinned = held_kwargs.pop("pin_memory", False)
        if func is aten.is_pinned.default:
            return any(tensor is kept for tensor in tensors for kept in self._pinned)
        if func is aten._pin_memory.default:
            if there[0]:
                raise RuntimeError("cannot pin a tensor of the device; only memory of the host can be pinned")
            self._pinned.append(tensors[0].clone())
            return self._pinned[-1]
        if func is aten._local_scalar_dense.default and there[0]:
            self._record("read")
        elif func is aten._to_copy.default and to_device != there[0]:
            self._record_copy(to_device, tensors[0], kwargs.get("non_blocking", False))
        elif func is aten.copy_.default:
            if there[0] != there[1]:
                self._record_copy(there[0], tensors[1], args[2] if len(args) > 2 else False)
            func(*held_args, **held_kwargs)
            return args[0]
        elif func is not aten._to_copy.default:
            self._check(func, tensors, there)
        if any(there) and (func in DATA_DEPENDENT or _indexed_by_mask(func, args)):
            self._record("size")
        output = func(*held_args, **held_kwargs)
        if pinned:
            self._pinned.append(output)
        if not to_device:
            return output
        # As everywhere, a view in inference mode of a tensor that was made outside of it is no inference tensor.
        inference = torch.is_inference_mode_enabled() and not (func.is_view and not tensors[0].is_inference())
        with torch.inference_mode(inference):
            wrapped = tree_map(lambda leaf: _OnDevice(leaf) if type(leaf) is torch.Tensor else leaf, output)
        return wrapped if target is not None else return_and_correct_aliasing(func, args, kwargs, wrapped)

    def _check(self, func: Any, tensors: list[torch.Tensor], there: list[bool]) -> None:
        if not any(there) or all(there):
            return
        others = [tensor for tensor, on in zip(tensors, there) if not on]
        if torch.Tag.pointwise in func.tags and all(tensor.dim() == 0 for tensor in others):
            return
        if func in (aten.index.Tensor, aten.index_put_.default, aten.index_put.default) and there[0]:
            self._record("upload")  # indices of the host are copied
            return
        shapes = [f"{tuple(tensor.shape)} on {TYPE if on else 'cpu'}" for tensor, on in zip(tensors, there)]
        raise DeviceMix(f"{func}: {', '.join(shapes)}")

    def _record_copy(self, to_device: bool, source: torch.Tensor, non_blocking: bool) -> None:
        pinned = any(source is kept for kept in self._pinned)
        self._record("read" if not to_device else "asynchronous upload" if non_blocking and pinned else "upload")

    def _record(self, kind: str) -> None:
        self.traffic.append(Event(kind, _place()))


@contextmanager
def pretended_gpu() -> Iterator[PretendedGpu]:
    """Switches the device on: ``tensor.to(gpu.device)``, ``network.to(gpu.device)`` and all that follows."""
    _register()
    torch._C._set_only_lift_cpu_tensors(True)  # `torch.tensor(…, device=…)` is then made on the host and copied
    try:
        # The device has no thread of its own.
        with torch.autograd.set_multithreading_enabled(False), PretendedGpu() as gpu:
            yield gpu
    finally:
        torch._C._set_only_lift_cpu_tensors(False)


@cache
def _register() -> list[torch.library.Library]:
    """Makes the type of device known to PyTorch, and to autocast; registrations end with the libraries returned."""
    _setup_privateuseone_for_python_backend(TYPE, _Module())
    everything, operations = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    everything.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for name in (*IN_BFLOAT16, *IN_THE_WIDEST):
        operations.impl(name, partial(_autocast, getattr(aten, name), name in IN_BFLOAT16), "AutocastPrivateUse1")
    return [everything, operations]


def _autocast(operation: Any, narrow: bool, *args: Any, **kwargs: Any) -> Any:
    old, new = (torch.float32, torch.bfloat16) if narrow else (torch.bfloat16, torch.float32)
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    needed = narrow or any(tensor.dtype == torch.float32 for tensor in tensors)

    def cast(leaf: Any) -> Any:
        return leaf.to(new) if needed and isinstance(leaf, torch.Tensor) and leaf.dtype == old else leaf

    with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)):
        return operation(*tree_map(cast, args), **tree_map(cast, kwargs))


def _held(leaf: Any) -> Any:
    return leaf.held if isinstance(leaf, _OnDevice) else leaf


def _indexed_by_mask(func: Any, args: Any) -> bool:
    if func not in (aten.index.Tensor, aten.index_put_.default):
        return False
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])


def _place() -> str:
    """The innermost line of the library on the stack."""
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith(LIBRARY):
            return f"{Path(frame.f_code.co_filename).relative_to(LIBRARY)}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "outside of the library"
