"""One of several ranks on GPUs that need not be there (:mod:`tests.fake_cuda`): the others say what this one says."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils._pytree import tree_leaves

NAME = 'nothing'


class FakeNCCL(dist.ProcessGroup):
    """Refuses tensors of the host, as NCCL does, and notes what it is given.

    Attributes:
        notes: (collective, dtype, shape) in their order; of objects the collective alone.
        others: this rank's values to those of each other one.
    """

    def __init__(self, rank: int, size: int) -> None:
        super().__init__(rank, size)
        self._place = rank, size
        self.notes: list[tuple[Any, ...]] = []
        self.others: Callable[[Tensor], Tensor] = torch.clone

    def rank(self) -> int:
        return self._place[0]

    def size(self) -> int:
        return self._place[1]

    def getBackendName(self) -> str:
        return NAME

    def allreduce(self, tensors: Sequence[Tensor], opts: Any = None) -> _Done:
        for tensor in tensors:
            if hasattr(tensor, 'sent'):  # numbers of the host, which are read again
                tensor.sent = tensor.sent + (self.size() - 1) * self.others(tensor.sent)
        return self._note('all_reduce', tensors)

    def broadcast(self, tensors: Sequence[Tensor], opts: Any = None) -> _Done:
        return self._note('broadcast', tensors)

    def allgather(self, outputs: Sequence[Sequence[Tensor]], tensors: Sequence[Tensor], opts: Any = None) -> _Done:
        return self._note('all_gather', [*tensors, *outputs[0]])

    def barrier(self, opts: Any = None) -> _Done:
        return self._note('barrier', ())

    def _note(self, what: str, tensors: Sequence[Tensor]) -> _Done:
        assert all(tensor.device.type == 'cuda' for tensor in tensors), f'{what}: a tensor of the host'
        self.notes.append((what, *((tensor.dtype, tuple(tensor.shape)) for tensor in tensors)))
        return _Done()

    def gather_objects(self, found: list[Any], own: Any, group: Any = None) -> None:
        """In the place of torch's ``all_gather_object``, whose bytes would have no values."""
        tensors = [part for part in tree_leaves(own) if isinstance(part, Tensor)]
        assert all(tensor.device.type == 'cpu' for tensor in tensors), 'objects: unpickled on the GPU of another rank'
        self.notes.append(('objects',))
        found[:] = [pickle.loads(pickle.dumps(own)) for _ in found]


class _Done(dist._Work):
    def wait(self, *args: Any) -> bool:
        return True


@contextmanager
def be_rank(rank: int, ranks: int) -> Iterator[FakeNCCL]:
    """Be one of several ranks for a block in :meth:`~tests.fake_cuda.FakeCuda.use`."""
    if not hasattr(dist.Backend, NAME.upper()):
        dist.Backend.register_backend(NAME, lambda store, rank, size, timeout: FakeNCCL(rank, size), devices=['cuda'])
    dist.init_process_group(NAME, store=dist.HashStore(), rank=rank, world_size=ranks)
    group = dist.group.WORLD
    named = mock.patch('torch.distributed.get_backend', lambda group=None: 'nccl')
    objects = mock.patch('torch.distributed.all_gather_object', group.gather_objects)
    try:
        with named, objects:
            yield group
    finally:
        dist.destroy_process_group()
