"""Two doors to one operator: PyTorch's registry for what looks on, a plain call for what only computes.

``torch.compile``, export, fake tensors and the like have to see operators that are registered with ``torch.library``.
The way through the registry costs the host several times that of an ``autograd.Function``
(``tools/benchmarks/host_time.py``), so where nobody looks on, the same piece is called without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

_PLAIN = (Tensor, nn.Parameter)


def observed(x: Tensor) -> bool:
    """Whether ``x`` has to go through a registered operator: inside a compiler, an exporter or a tracer, under a
    dispatch mode (fake tensors, counters, selective checkpointing), inside ``torch.func``, or as a tensor subclass."""
    return (
        torch.compiler.is_compiling()
        or type(x) not in _PLAIN
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._functorch.peek_interpreter_stack() is not None
        or torch._C._get_tracing_state() is not None
    )


def two_doors(
    registered: Any,
    piece: Callable[..., Any],
    keep: Callable[..., None] | None = None,
    backward: Callable[..., tuple[Tensor | None, ...]] | None = None,
) -> Callable[..., Any]:
    """What calls an operator by the door that is right for its first argument, a tensor.

    Args:
        registered: the operator, made of ``piece`` by ``torch.library.custom_op``.
        keep, backward: its gradient, which is registered here, as ``register_autograd`` takes them; None for an
            operator without: where one would be recorded, the registry's own says so when it is asked for.
    """
    if keep is None or backward is None:

        def direct(*inputs: Any) -> Any:
            return (registered if torch.is_grad_enabled() and _any_needs_grad(inputs) else piece)(*inputs)

    else:
        registered.register_autograd(backward, setup_context=keep)
        function = _function(piece, keep, backward)

        def direct(*inputs: Any) -> Any:
            return function.apply(*inputs) if torch.is_grad_enabled() else piece(*inputs)

    def call(x: Tensor, *rest: Any) -> Any:
        return (registered if observed(x) else direct)(x, *rest)

    return call


def _function(piece: Callable[..., Any], keep: Callable[..., None], backward: Callable[..., Any]) -> Any:
    def forward(ctx: Any, *inputs: Any) -> Any:
        keep(ctx, inputs, None)
        return piece(*inputs)

    # No method setup_context(): with one, PyTorch binds the arguments by name, which costs more than all the rest.
    methods = {'forward': staticmethod(forward), 'backward': staticmethod(backward)}
    return type(piece.__name__, (torch.autograd.Function,), methods)


def _any_needs_grad(inputs: tuple[Any, ...]) -> bool:
    return any(isinstance(value, Tensor) and value.requires_grad for value in inputs)
