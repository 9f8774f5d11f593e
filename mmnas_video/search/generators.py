"""States of random generators: of Python's for a checkpoint, of torch's for forward passes that share dropout masks."""

from __future__ import annotations

import random
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor


def random_state(rng: random.Random | ModuleType) -> list[Any]:
    """State of one of Python's generators (the module ``random`` is the global one), in what a checkpoint may hold."""
    version, internal, gauss = rng.getstate()
    return [version, list(internal), gauss]


def set_random_state(rng: random.Random | ModuleType, state: Sequence[Any]) -> None:
    """Inverse of :func:`random_state`."""
    version, internal, gauss = state
    rng.setstate((version, tuple(internal), gauss))


def generator_states(model: torch.nn.Module) -> list[Tensor]:
    """States of torch's generators that ``model`` draws from: the CPU's, and that of its GPU."""
    states = [torch.get_rng_state()]
    if next(model.parameters()).is_cuda:
        states.append(torch.cuda.get_rng_state())
    return states


def set_generator_states(states: Sequence[Tensor]) -> None:
    """Inverse of :func:`generator_states`."""
    torch.set_rng_state(states[0])
    if len(states) > 1:
        torch.cuda.set_rng_state(states[1])
