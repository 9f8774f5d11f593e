"""How much a network has noted down: tables that are kept by architecture would grow for as long as a search runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


def table_entries(model: nn.Module) -> int:
    """Entries in all dicts, lists, tuples and sets that a network's modules, and the plain objects of this library that
    they hold, keep at any depth.

    A search runs one network with hundreds of thousands of architectures. After a while this number stands still, or
    something is kept for each of them.
    """
    seen: set[int] = set()
    total, left = 0, [model]
    while left:
        value: Any = left.pop()
        if id(value) in seen or isinstance(value, (str, bytes, int, float, Tensor, type(None))):
            continue
        seen.add(id(value))
        if isinstance(value, Mapping):
            parts = [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple, set, frozenset)):
            parts = list(value)
        elif type(value).__module__.startswith('mmnas_video.') or isinstance(value, nn.Module):
            left.append(vars(value) if hasattr(value, '__dict__') else None)
            continue
        else:
            continue
        total += len(parts)
        left += parts
    return total
