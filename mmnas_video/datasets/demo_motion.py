"""The *motion* set: classes that only the order of the frames tells apart.

A pair of classes is one cyclic film, run forwards and run backwards. Phase φ is the place in the cycle, in
turns:

    φ(t) = φ₀ ± t / P        φ₀ uniform in [0, 1), P frames a cycle, + for the first class, − for the second

Because φ₀ is uniform, φ(t) is uniform at every t in both classes, so a single frame tells nothing, whichever
it is. And the backward clip {φ₀ − t/P} holds, as a set, the frames of a forward clip with φ₀' = φ₀ − (T −
1)/P, which is uniform too: no mean, no shuffle and no other function that forgets the order tells the classes
of a pair apart. Everything else (shape, colour, size, place, P, background, still distractors) is drawn from
the same distribution for both.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .demo_draw import SHAPES, Rng, bar, compose, cross, disc, offsets, standing_out, texture

CYCLE = (7.0, 10.0)  # frames a cycle: a clip of 8 frames sees about one
# Always darker than what moves: with movers of either sign a network takes twice as long to learn what it is to learn.
BRIGHTNESS = (50.0, 110.0)


@dataclass(frozen=True)
class Look:
    """What a clip looks like, apart from its phase: the same distribution for both classes of a pair."""

    size: tuple[int, int]  # H, W in pixels
    centre: tuple[float, float]  # y, x in pixels
    radius: float  # pixels
    shape: int  # index into SHAPES

    def place(self, phase: np.ndarray, dy: float = 0.0, dx: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Offsets (T × H × W each) from the centre, moved by phase × (dy, dx) pixels."""
        return offsets(self.size, (self.centre[0] + phase * dy, self.centre[1] + phase * dx))

    def draw(self, place: tuple[np.ndarray, np.ndarray], scale: np.ndarray | float = 1.0) -> np.ndarray:
        """The mask (T × H × W) of this look's own shape."""
        return SHAPES[self.shape](*place, self.radius * scale)


def _across(phase: np.ndarray, look: Look) -> np.ndarray:
    return look.draw(look.place(phase, dx=look.size[1]))


def _along(phase: np.ndarray, look: Look) -> np.ndarray:
    return look.draw(look.place(phase, dy=look.size[0]))


def _size(phase: np.ndarray, look: Look) -> np.ndarray:
    return look.draw(look.place(0 * phase), (0.4 + 1.6 * (phase % 1))[:, None, None])


def _turn(phase: np.ndarray, look: Look) -> np.ndarray:
    # Half a turn is a whole cycle of a bar.
    return bar(*look.place(0 * phase), 1.7 * look.radius, np.pi * phase)


def _order(phase: np.ndarray, look: Look) -> np.ndarray:
    """A disc, a cross, nothing. Without the pause A-B and B-A would be the same cycle."""
    place, third = look.place(0 * phase), (3 * (phase % 1)).astype(int)[:, None, None]
    radius = 1.3 * look.radius
    return np.where(third == 0, disc(*place, radius), np.where(third == 1, cross(*place, radius), 0))


# (first class, second class, film): the second class is the film run backwards. A new pair is a new row.
PAIRS: tuple[tuple[str, str, Callable[[np.ndarray, Look], np.ndarray]], ...] = (
    ('right', 'left', _across),
    ('grow', 'shrink', _size),
    ('clockwise', 'counterclockwise', _turn),
    ('disc_then_cross', 'cross_then_disc', _order),
    ('down', 'up', _along),
)
CLASSES: tuple[str, ...] = tuple(name for first, second, _ in PAIRS for name in (first, second))


def sample_look(rng: Rng, size: tuple[int, int], pair: int) -> Look:
    """Draw a look. What travels may start anywhere; what does not is near the middle, so that it is whole."""
    travels = PAIRS[pair][2] in (_across, _along)
    spread = 0.5 if travels else 0.12
    centre = [extent * (0.5 + rng.uniform(-spread, spread)) for extent in size]
    return Look(size, (centre[0], centre[1]), rng.uniform(0.13, 0.2) * min(size), int(rng.integers(len(SHAPES))))


def render_motion(rng: Rng, label: int, frames: int, size: tuple[int, int], noise: float) -> np.ndarray:
    """Draw a clip of class ``CLASSES[label]``: uint8, T × H × W × 3, RGB, from ``rng`` alone."""
    pair, backwards = divmod(label, 2)
    look = sample_look(rng, size, pair)
    step = (-1 if backwards else 1) / rng.uniform(*CYCLE)
    phase = rng.uniform() + step * np.arange(frames)
    background = texture(rng, size, BRIGHTNESS)
    return compose(background, PAIRS[pair][2](phase, look), standing_out(rng, background), noise, rng)
