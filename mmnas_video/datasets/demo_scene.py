"""The *scene* and *image* sets: classes that one frame tells apart, and no motion does.

A class is a hue and a pattern (stripes, checks). The hue alone tells only pairs of classes, so a network has to see
spatial structure, in one frame. Over it a shape moves as in the motion set, alike in all
classes. The image set holds single pictures of the same classes, without the moving shape's past and future.
"""

import colorsys
from collections.abc import Callable

import numpy as np

from .demo_draw import Rng, compose, standing_out
from .demo_motion import CYCLE, PAIRS, sample_look

HUES = {'red': 0.0, 'green': 0.33, 'blue': 0.62, 'yellow': 0.15, 'cyan': 0.5, 'violet': 0.8}


def _rows(v: np.ndarray, u: np.ndarray) -> np.ndarray:
    return np.sin(v) + 0 * u


def _columns(v: np.ndarray, u: np.ndarray) -> np.ndarray:
    return np.sin(u) + 0 * v


def _checks(v: np.ndarray, u: np.ndarray) -> np.ndarray:
    return 1.5 * np.sin(v) * np.sin(u)


def _diagonals(v: np.ndarray, u: np.ndarray) -> np.ndarray:
    return np.sin(0.7 * (v + u))


PATTERNS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    'rows': _rows,
    'columns': _columns,
    'checks': _checks,
    'diagonals': _diagonals,
}
#: Patterns by twos: with a few classes there are more hues and fewer patterns, which are what takes time to learn.
CLASSES: tuple[str, ...] = tuple(
    f'{hue}_{pattern}'
    for hues in (list(HUES)[:4], list(HUES)[4:])
    for patterns in (list(PATTERNS)[:2], list(PATTERNS)[2:])
    for hue in hues
    for pattern in patterns
)


def render_background(rng: Rng, label: int, size: tuple[int, int]) -> np.ndarray:
    """Draw a picture of class ``CLASSES[label]``: float32, H × W × 3, 0 to 255; width, phase, tone random."""
    hue, pattern = CLASSES[label].split('_')
    colour = colorsys.hsv_to_rgb(
        (HUES[hue] + rng.uniform(-0.04, 0.04)) % 1, rng.uniform(0.35, 0.8), rng.uniform(0.5, 0.9)
    )
    width = rng.uniform(7.0, 11.0)  # pixels a period
    v = 2 * np.pi * (np.arange(size[0])[:, None] / width + rng.uniform())
    u = 2 * np.pi * (np.arange(size[1])[None, :] / width + rng.uniform())
    light = 1 + 0.5 * PATTERNS[pattern](v, u)
    return np.clip(255 * np.asarray(colour) * light[..., None], 0, 255).astype(np.float32)


def render_scene(rng: Rng, label: int, frames: int, size: tuple[int, int], noise: float) -> np.ndarray:
    """Draw a clip of class ``CLASSES[label]``: uint8, T × H × W × 3, RGB, from ``rng`` alone."""
    background = render_background(rng, label, size)
    pair = int(rng.integers(len(PAIRS)))
    phase = rng.uniform() + rng.choice([-1, 1]) / rng.uniform(*CYCLE) * np.arange(frames)
    mask = PAIRS[pair][2](phase, sample_look(rng, size, pair))
    return compose(background, mask, standing_out(rng, background), noise, rng)
