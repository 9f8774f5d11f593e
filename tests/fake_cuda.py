"""A GPU that need not be there: tensors on 'cuda' have device, dtype, shape and strides but no values.

Those of the host are real. What would be read back is made up, and each time that the host would wait is noted.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_leaves, tree_map

CUDA = torch.device('cuda', 0)
#: What torch's autograd is told instead: for a device of CUDA it asks the driver, which is not there, in backward.
STANDS_IN = torch.device('lazy')
aten = torch.ops.aten


class FakeCuda(FakeTensorMode):
    """Within :meth:`use` ``device='cuda'`` works; an operation on tensors of both sides is an error, as on a GPU.

    Args:
        backward: whether gradients can be taken; autocast then rounds nothing.

    Attributes:
        waits: (what, ``file:line``) of each time that the host waits: a number that is read, a tensor that is fetched,
            a copy to the GPU without ``non_blocking``, an index by a mask.
    """

    def __init__(self, backward: bool = True) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.waits: list[tuple[str, str]] = []
        self._told, self._inside = STANDS_IN if backward else CUDA, False

    @property
    def own_waits(self) -> list[tuple[str, str]]:
        """Those in this library, where MMEngine and MMAction2 have their own."""
        return [wait for wait in self.waits if '/mmnas_video/' in wait[1]]

    @contextmanager
    def use(self) -> Iterator[FakeCuda]:
        """The GPU for a block."""
        changes: dict[str, Any] = {
            'torch.cuda.get_rng_state': lambda *args: torch.get_rng_state(),
            'torch.cuda.set_rng_state': lambda *args: None,
            'torch.cuda.manual_seed': lambda *args: None,
            'torch.cuda.current_device': lambda: 0,
            'torch.cuda.current_stream': lambda *args: None,
            'torch.cuda.synchronize': lambda *args: self._note('synchronize'),
            'torch.cuda.Event': _Event,
            'torch.cuda.is_bf16_supported': lambda *args: True,
            'torch.cuda.amp.common.amp_definitely_not_available': lambda: False,
        }
        inner = (
            mock.patch.object(FakeTensor, 'is_cuda', property(lambda x: x.fake_device.type == 'cuda'), create=True),
            mock.patch.object(FakeTensor, 'tolist', lambda x: _read(x).tolist()),
        )
        patches = [*(mock.patch(name, value) for name, value in changes.items()), *inner]
        for patch in patches:
            patch.start()
        try:
            with self:
                yield self
        finally:
            for patch in patches:
                patch.stop()

    def move(self, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> nn.Module:
        """``model.to('cuda')``, and the new parameters into an optimiser that has not made a step."""
        made: dict[int, Tensor] = {}
        for module in model.modules():
            if hasattr(module, '_device'):  # of a data preprocessor
                module._device = CUDA
            for table in (module._parameters, module._buffers):
                for name, tensor in table.items():
                    if tensor is not None and id(tensor) not in made:
                        there = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device=CUDA)
                        is_weight = isinstance(tensor, nn.Parameter)
                        made[id(tensor)] = nn.Parameter(there, tensor.requires_grad) if is_weight else there
                    table[name] = None if tensor is None else made[id(tensor)]
        for group in optimizer.param_groups if optimizer else ():
            group['params'] = [made[id(parameter)] for parameter in group['params']]
        return model

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._inside:
            return super().__torch_dispatch__(func, types, args, kwargs)
        if func is torch.ops.prim.device.default and isinstance(args[0], FakeTensor):
            return self._told if args[0].device.type == 'cuda' else args[0].device
        args, kwargs = tree_map(_named, (args, kwargs or {}))
        leaves = tree_leaves((args, kwargs))
        if not any(isinstance(x, FakeTensor) or x is CUDA for x in leaves):
            return func(*args, **kwargs)
        generator = kwargs.get('generator')
        assert generator is None or generator.device.type == 'cuda', f'{func}: a generator of the host'
        if (answer := self._crossing(func, args, kwargs)) is not None:
            return answer
        self._inside = True
        try:
            made = super().__torch_dispatch__(func, types, args, kwargs)
        finally:
            self._inside = False
        if func is aten._to_copy.default and not isinstance(args[0], FakeTensor):
            made.sent = args[0]  # what is computed of it has no values any more
        return made

    def _crossing(self, func: Any, args: Any, kwargs: Any) -> Any:
        """What the host is told where it asks, noted; None where it does not ask."""
        if func is aten._local_scalar_dense.default:
            self._note('read')
            return _made_up(args[0], args[0].dtype).flatten()[0].item()
        if func in (aten._to_copy.default, aten.copy_.default):
            source = args[0] if func is aten._to_copy.default else args[1]
            target = kwargs.get('device', source.device) if func is aten._to_copy.default else args[0].device
            waits = not (kwargs.get('non_blocking') or any(args[2:]))
            if source.device.type == target.type:
                return None
            if target.type == 'cpu':
                assert waits, 'a copy to the host is read before it is there'
                self._note('fetch')
                values = _made_up(source, kwargs.get('dtype') or source.dtype)
                return args[0].copy_(values) if func is aten.copy_.default else values
            if waits and not isinstance(source, FakeTensor):
                self._note('send')
        if func in (aten.index.Tensor, aten.index_put_.default, aten.index_put.default):
            indices = [index for index in args[1] if index is not None]
            if any(index.dtype == torch.bool or index.device.type == 'cpu' for index in indices):
                self._note('index')
        return None

    def _note(self, what: str) -> None:
        frames = reversed(traceback.extract_stack())
        skipped = ('/torch/', '/unittest/', __file__)
        place = next(frame for frame in frames if not any(part in frame.filename for part in skipped))
        self.waits.append((what, f'{place.filename}:{place.lineno}'))


class _Event:
    def __init__(self, enable_timing: bool) -> None: ...

    def record(self, stream: Any) -> None: ...

    def elapsed_time(self, other: _Event) -> float:
        return 1.0


def _named(value: Any) -> Any:
    return CUDA if isinstance(value, torch.device) and value.type in ('cuda', STANDS_IN.type) else value


def _read(tensor: Tensor) -> Tensor:
    """Its values: what the host has sent there, if nothing else has been done with it."""
    values = tensor.detach().cpu()
    return getattr(tensor, 'sent', values)


def _made_up(like: Tensor, dtype: torch.dtype) -> Tensor:
    """Halves, True, and class 0: a loss that is finite, a weight that counts, an index that there is."""
    value = True if dtype == torch.bool else 0.5 if dtype.is_floating_point else 0
    return torch.full(tuple(like.shape), value, dtype=dtype)
