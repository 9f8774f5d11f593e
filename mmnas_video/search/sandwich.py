"""The sandwich rule: the largest network, the smallest and some random ones in every step.

Source: Yu and Huang, "Universally Slimmable Networks and Improved Training Techniques", ICCV 2019, Sec. 3.1.
"""

from __future__ import annotations

import random

from torch import nn

from mmnas_video.entangle import Searchable
from mmnas_video.space import Arch


class Sandwich:
    """Draws the architectures of a step.

    The largest has the last value of every choice that has a size, the smallest the first; what has no size is drawn at
    random, for the two together.

    Args:
        model: the searchable module.
    """

    def __init__(self, model: Searchable) -> None:
        self.space, self.sized = model.space, sized_choices(model)

    def draw(self, rng: random.Random, num_archs: int) -> list[Arch]:
        """The largest, the smallest and ``num_archs`` random architectures."""
        drawn = self.space.sample(rng)
        ends = (self.space.largest, self.space.smallest)
        sized = [drawn.replace({name: end[name] for name in self.sized}) for end in ends]
        return [*sized, *(self.space.sample(rng) for _ in range(num_archs))]


def sized_choices(model: Searchable) -> tuple[str, ...]:
    """Names of the choices whose last value takes more parameters than their first, beside the last of all others.

    Strides and offsets of tubes are not among them: many tokens are neither a large network nor a small one, and all
    strides at their smallest would be a network that no one can train.
    """
    assert isinstance(model, nn.Module)
    parameters = {name: p.to('meta') for name, p in model.named_parameters()}

    def count(arch: Arch) -> int:  # its cost would need the shape of a clip
        parts = (part for part in model.slices(arch) if part.name in parameters)
        return sum(part(parameters[part.name]).numel() for part in parts)

    space = model.space
    most = count(space.largest)
    return tuple(c.name for c in space if count(space.largest.replace({c.name: c.values[0]})) < most)
