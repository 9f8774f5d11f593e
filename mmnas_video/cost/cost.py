"""Cost: multiply-adds and parameters, as numbers that add up."""

from __future__ import annotations

from typing import NamedTuple


class Cost(NamedTuple):
    """What a layer or a network costs.

    Attributes:
        macs: multiply-adds of convolutions, linear layers and attention products for one sample. What the papers call
            FLOPs. Norms, activations, pooling and additions are not counted.
        params: all parameters, norms and biases included.
    """

    macs: int = 0
    params: int = 0

    def __add__(self, other: object) -> Cost:
        if not isinstance(other, Cost):
            return NotImplemented
        return Cost(self.macs + other.macs, self.params + other.params)

    def __radd__(self, other: object) -> Cost:
        return self if other == 0 else NotImplemented
