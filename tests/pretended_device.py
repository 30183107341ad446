"""A pretended accelerator: a machine without one can catch what would fail, or wait, on one.

Inside `pretended_device()` there are tensors that say they live on `DEVICE`, while the CPU holds and computes them. As
on a real accelerator, an operation that mixes devices raises, float64 is refused (as by MPS), and whatever makes the
CPU wait for the device is recorded with the line of camviz that asked for it. Nothing of PyTorch is replaced.

What it cannot tell: whether a device has a kernel for an operation, and how its rounding differs.
"""

from __future__ import annotations

import copy
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

import camviz

# Of a type that PyTorch names without a driver. The index keeps it apart from a real one, in camviz's caches too.
DEVICE = torch.device("mps", 1)
CPU = torch.device("cpu")

_PACKAGE = str(Path(camviz.__file__).parent) + "/"
_aten = torch.ops.aten

# Operations whose result, or its size, the CPU has to wait for.
_WAITING = {
    _aten._local_scalar_dense: "item",  # also int(), float(), bool() and a 0-dimensional tensor as an index
    _aten.nonzero: "nonzero",
    _aten.masked_select: "mask",
    _aten.equal: "equal",
    _aten.allclose: "equal",
    _aten._unique2: "unique",
    _aten.unique_dim: "unique",
    _aten.unique_consecutive: "unique",
    _aten.bincount: "bincount",
    _aten._linalg_eigh: "eigh",  # whether it converged
    _aten._linalg_svd: "svd",
}
_INDEXING = {_aten.index, _aten.index_put, _aten.index_put_, _aten._index_put_impl_}
# May take a CPU tensor without dimensions as a value, beside all that is done element by element.
_FILLING = {_aten.fill, _aten.fill_, _aten.masked_fill, _aten.masked_fill_}


@dataclass(frozen=True)
class Transfer:
    """A moment at which CPU and device meet.

    Attributes:
        kind: "copy", "item", "mask", ...
        place: file and line in camviz, such as "maps.py:29".
    """

    kind: str
    place: str


@dataclass(frozen=True)
class PretendedDevice:
    """What is known of a pretended device while it is there.

    Attributes:
        syncs: what made the CPU wait for results.
        uploads: copies from the CPU to the device.
    """

    syncs: list[Transfer] = field(default_factory=list)
    uploads: list[Transfer] = field(default_factory=list)

    def put(self, tensor: Tensor) -> Tensor:
        """The tensor on the device; this is not recorded."""
        return Pretended(tensor.detach().clone())

    def moved(self, module: nn.Module) -> nn.Module:
        """A copy of a module with its parameters and buffers on the device."""
        module = copy.deepcopy(module)
        for part in module.modules():
            for name, parameter in part.named_parameters(recurse=False):
                setattr(part, name, nn.Parameter(self.put(parameter), requires_grad=parameter.requires_grad))
            for name, buffer in part.named_buffers(recurse=False):
                setattr(part, name, self.put(buffer))
        return module

    def net(self, net: camviz.Net) -> camviz.Net:
        """A copy of a network on the device."""
        return replace(net, module=self.moved(net.module), device=DEVICE)

    def forget(self) -> None:
        """Begin to record anew."""
        self.syncs.clear()
        self.uploads.clear()

    def places(self) -> str:
        """The recorded syncs by kind and place, to be read."""
        counted = Counter(self.syncs).most_common()
        return "\n".join(f"{count} x {sync.kind} at {sync.place}" for sync, count in counted)


@contextmanager
def pretended_device() -> Iterator[PretendedDevice]:
    """Give this thread a pretended device until the block ends."""
    device = PretendedDevice()
    with _Operations(device), _Construction():
        yield device


class Pretended(Tensor):
    """A tensor that says it is on the device; `host` is the CPU tensor that holds its values."""

    host: Tensor
    # PyTorch's C++ sees a CPU tensor, so that autograd needs no driver; what Python sees is below.
    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: DEVICE)
    is_cpu = property(lambda self: False)
    is_mps = property(lambda self: True)

    @staticmethod
    def __new__(cls, host: Tensor) -> Pretended:
        if host.dtype in (torch.float64, torch.complex128):
            raise TypeError(f"{DEVICE} has no {host.dtype}, asked for at {_place()}")
        wrapper = torch.Tensor._make_wrapper_subclass(
            cls, host.shape, strides=host.stride(), storage_offset=host.storage_offset(), dtype=host.dtype
        )
        wrapper.host = host
        return wrapper

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError(f"{func} on a pretended tensor outside of its block")

    def to(self, *args, **kwargs) -> Tensor:
        if args and isinstance(args[0], Tensor):
            args = (args[0].device, args[0].dtype)
        device, dtype, _, memory_format = torch._C._nn._parse_to(*args, **kwargs)
        if device in (None, DEVICE) and dtype in (None, self.dtype) and memory_format is None:
            return self
        return _aten._to_copy.default(self, device=device, dtype=dtype, memory_format=memory_format)

    def cpu(self) -> Tensor:
        return self.to(CPU)

    def tolist(self) -> object:
        return self.cpu().tolist()

    def numpy(self, *, force: bool = False) -> object:
        if not force:
            raise TypeError(f"a tensor on {DEVICE} is no array: call .cpu() first, at {_place()}")
        return self.cpu().numpy()

    def __array__(self, *args, **kwargs) -> object:
        return self.numpy()

    def new_tensor(self, data: object, *, dtype: torch.dtype | None = None, device: torch.device = DEVICE) -> Tensor:
        return torch.tensor(data, dtype=dtype or self.dtype).to(device)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.ndim == 0 else repr(self)

    def __repr__(self) -> str:
        return f"Pretended({self.host!r})"


class _Construction(TorchFunctionMode):
    """What PyTorch would do in C++ without asking: tensors made on the device, or moved to where another one is."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor):
            kwargs = dict(kwargs)
            device = kwargs.pop("device", None)
            if isinstance(args[0], Pretended):
                return args[0].to(device or DEVICE, kwargs.get("dtype") or args[0].dtype)
            made = func(*args, **kwargs)
            return made if device is None else made.to(device)
        if func is Tensor.to and len(args) > 1 and isinstance(args[1], Pretended):
            return args[0].to(DEVICE, args[1].dtype)
        return func(*args, **kwargs)


class _Operations(TorchDispatchMode):
    """Runs each operation on the CPU, and watches where its tensors are."""

    def __init__(self, device: PretendedDevice) -> None:
        super().__init__()
        self._device = device

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
            with self:  # in inference mode, what is made of other operations comes undivided
                return func.decompose(*args, **kwargs)
        operation = func.overloadpacket
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        before = any(isinstance(tensor, Pretended) for tensor in tensors)
        after = before
        if "device" in kwargs:
            wanted = kwargs["device"]
            # Beside copies, only autograd's C++ asks for a device other than its tensor's: the one it believes in.
            if wanted is not None and (operation is _aten._to_copy or not before):
                after = wanted == DEVICE
            kwargs["device"] = CPU
        if not before and not after:
            return func(*args, **kwargs)
        self._watch(func, args, kwargs, tensors, after)
        result = func(*tree_map(_host, args), **tree_map(_host, kwargs))
        # In-place operations and those with an `out` return one of their arguments.
        given = {id(_host(tensor)): tensor for tensor in tensors}
        return tree_map(lambda leaf: _returned(leaf, given, after), result)

    def _watch(self, func, args, kwargs, tensors, after) -> None:
        """Raise if devices are mixed, and record the operation if the CPU and the device meet in it."""
        operation = func.overloadpacket
        if operation in (_aten._to_copy, _aten.copy_):
            here, there = (args[0], after) if operation is _aten._to_copy else (args[1], isinstance(args[0], Pretended))
            if isinstance(here, Pretended) != there:
                (self._device.uploads if there else self._device.syncs).append(Transfer("copy", _place()))
            return
        _check_devices(func, args, tensors)
        kind = _waits_for(operation, args, kwargs)
        if kind:
            self._device.syncs.append(Transfer(kind, _place()))


def _host(leaf: object) -> object:
    return leaf.host if isinstance(leaf, Pretended) else leaf


def _returned(leaf: object, given: dict[int, Tensor], after: bool) -> object:
    if not isinstance(leaf, Tensor):
        return leaf
    if id(leaf) not in given:
        return Pretended(leaf) if after else leaf
    if given[id(leaf)].shape != leaf.shape:
        raise NotImplementedError("in-place operations that change a tensor's shape are not pretended")
    return given[id(leaf)]


def _check_devices(func, args, tensors) -> None:
    """Raise as PyTorch does if an operation is given tensors of both devices."""
    operation = func.overloadpacket
    if operation in _INDEXING:  # indices may be on the CPU, and so may a single value that is put
        held, put = args[0], [value for value in args[2:3] if isinstance(value, Tensor) and value.ndim > 0]
        mixed = not isinstance(held, Pretended) or any(not isinstance(value, Pretended) for value in put)
    else:
        scalars = torch.Tag.pointwise in func.tags or operation in _FILLING
        there = {isinstance(tensor, Pretended) for tensor in tensors if not (scalars and _is_cpu_scalar(tensor))}
        mixed = len(there) > 1 or there == {False}
    if mixed:
        shapes = ", ".join(f"{tuple(tensor.shape)} on {tensor.device}" for tensor in tensors)
        raise RuntimeError(f"{func} expects all tensors on one device, got {shapes}, at {_place()}")


def _is_cpu_scalar(tensor: Tensor) -> bool:
    return tensor.ndim == 0 and not isinstance(tensor, Pretended)


def _waits_for(operation, args, kwargs) -> str | None:
    """What kind of sync an operation is, if it is one."""
    if operation in _INDEXING:
        masks = [
            index for index in args[1] if isinstance(index, Pretended) and index.dtype in (torch.bool, torch.uint8)
        ]
        # A single value from the CPU is put by filling, which needs no places.
        filling = operation is not _aten.index and len(masks) == len(args[1]) == 1 and _is_cpu_scalar(args[2])
        return "mask" if masks and not filling else None
    if operation is _aten.segment_reduce and not kwargs.get("unsafe"):
        return "segment lengths"
    if operation is _aten.repeat_interleave and kwargs.get("output_size") is None:
        return "repeats"
    return _WAITING.get(operation)


def _place() -> str:
    """The innermost line of camviz that is being run."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename.startswith(_PACKAGE):
            return f"{frame.f_code.co_filename.removeprefix(_PACKAGE)}:{frame.f_lineno}"
        frame = frame.f_back
    return "outside of camviz"
