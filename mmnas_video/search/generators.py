"""The state of torch's global generators: forward passes that are compared share their dropout masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def generator_states(model: torch.nn.Module) -> list[Tensor]:
    """States of the generators that ``model`` draws from: the CPU's, and that of its GPU."""
    states = [torch.get_rng_state()]
    if next(model.parameters()).is_cuda:
        states.append(torch.cuda.get_rng_state())
    return states


def set_generator_states(states: Sequence[Tensor]) -> None:
    """Inverse of :func:`generator_states`."""
    torch.set_rng_state(states[0])
    if len(states) > 1:
        torch.cuda.set_rng_state(states[1])
