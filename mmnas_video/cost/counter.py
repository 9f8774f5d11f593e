"""The reference counter: what torch itself counts in a forward pass.

Slow and exact; the closed forms are tested against it, and parts that are no search's business (heads, other people's
modules) are counted by it once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from .cost import Cost


def meta_twin(module: nn.Module, replaced: Mapping[nn.Module, nn.Module] | None = None) -> nn.Module:
    """A copy on the meta device, in eval mode, of which nothing is ever in memory.

    Args:
        module: any module.
        replaced: modules within it, and what stands in their places.
    """
    memo: dict[int, Any] = {id(part): other for part, other in (replaced or {}).items()}
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device='meta'), parameter.requires_grad)
    for buffer in module.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device='meta')
    return copy.deepcopy(module, memo).to('meta').eval()


def count(
    module: nn.Module,
    *inputs: Any,
    forward: Callable[..., Any] | None = None,
    replaced: Mapping[nn.Module, nn.Module] | None = None,
) -> tuple[Cost, Any]:
    """Count a forward pass on the meta device, where attention products are counted too (on a CPU they are not).

    Args:
        module: any module; a copy of it is counted, in eval mode.
        inputs: tensors (only their shapes matter) or other arguments of the forward pass.
        forward: what to call with the copy and the inputs; the module itself by default.
        replaced: see :func:`meta_twin`.

    Returns:
        MACs of the whole batch (torch's FLOPs halved) and all parameters, and the output on the meta device.
    """
    twin = meta_twin(module, replaced)
    inputs = tuple(x.to('meta') if isinstance(x, torch.Tensor) else x for x in inputs)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        output = forward(twin, *inputs) if forward else twin(*inputs)
    return Cost(counter.get_total_flops() // 2, sum(p.numel() for p in twin.parameters())), output
