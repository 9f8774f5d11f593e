"""A training batch of which no file can be read gets one clip from elsewhere, so that the step has something to do.

Leaving the step out would not do: on several ranks the others wait for this one's gradients, and a search step needs
clips. Which clip it is follows from (seed, epoch, index) of the batch, so a resumed run draws the same.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .bad_sample import BadSample
from .seed import derive_seed

ATTEMPTS = 32  # drawn before it is given up: by then nearly everything is bad


def add_redrawn(
    samples: list[Any], draw: Callable[[tuple[int, int]], Any], seed: int | None, epoch: int, index: int, size: int
) -> list[Any]:
    """``samples``, and if all are bad, what was drawn until one was good (the bad ones too, so that they count).

    Args:
        samples: of one batch.
        draw: gives the sample of (epoch, index).
        seed: of the dataset.
        epoch: in which the batch is drawn.
        index: of the batch's first sample.
        size: samples to draw from.
    """
    if not all(isinstance(sample, BadSample) for sample in samples):
        return samples
    order = np.random.default_rng(derive_seed(seed or 0, 'redraw', epoch, index)).permutation(size)
    for other in order[:ATTEMPTS]:
        samples.append(draw((epoch, int(other))))
        if not isinstance(samples[-1], BadSample):
            break
    return samples
