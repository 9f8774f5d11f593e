"""What both demo video sets are drawn with: soft-edged shapes, smooth textures, colours that stand out.

Shapes here: T frames, H W pixels. A mask is float32 in [0, 1], T × H × W.
"""

from collections.abc import Callable

import cv2
import numpy as np

Rng = np.random.Generator


def offsets(size: tuple[int, int], centre_yx: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Signed distances (dy, dx) in pixels of every pixel from a centre per frame, on a torus: T × H × W each.

    On a torus what leaves at one edge comes in at the other, so no place in the picture is special.
    """
    height, width = size
    y = np.arange(height, dtype=np.float32)[None, :, None] - centre_yx[0].astype(np.float32)[:, None, None]
    x = np.arange(width, dtype=np.float32)[None, None, :] - centre_yx[1].astype(np.float32)[:, None, None]
    dy = (y + height / 2) % height - height / 2
    dx = (x + width / 2) % width - width / 2
    return np.broadcast_arrays(dy, dx)


def soft(distance: np.ndarray) -> np.ndarray:
    """Coverage of a pixel whose centre lies ``distance`` pixels outside an edge (an edge one pixel wide)."""
    return np.clip(0.5 - distance, 0.0, 1.0)


def disc(dy: np.ndarray, dx: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """A disc of ``radius`` pixels; like all shapes here, symmetric in both axes."""
    return soft(np.hypot(dy, dx) - radius)


def square(dy: np.ndarray, dx: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """A square with the area of about a disc of ``radius`` pixels."""
    return soft(np.maximum(np.abs(dy), np.abs(dx)) - 0.88 * radius)


def cross(dy: np.ndarray, dx: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """A plus sign that reaches ``radius`` pixels from its middle."""
    far, near = np.maximum(np.abs(dy), np.abs(dx)), np.minimum(np.abs(dy), np.abs(dx))
    return soft(np.maximum(far - radius, near - 0.33 * radius))


def ring(dy: np.ndarray, dx: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """A ring of ``radius`` pixels outside and about half of it inside."""
    return soft(np.abs(np.hypot(dy, dx) - 0.75 * radius) - 0.25 * radius)


def bar(dy: np.ndarray, dx: np.ndarray, radius: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """A bar of half length ``radius``, turned by ``angle`` (T) radians; the same again after half a turn."""
    sin, cos = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    return soft(np.maximum(np.abs(dx * cos + dy * sin) - radius, np.abs(dy * cos - dx * sin) - 0.3 * radius))


SHAPES: tuple[Callable[..., np.ndarray], ...] = (disc, square, cross, ring)


def texture(rng: Rng, size: tuple[int, int], brightness: tuple[float, float]) -> np.ndarray:
    """A smooth random coloured picture with a few faint still shapes in it: H × W × 3, about 0 to 255.

    ``brightness`` is the range of its mean in each colour, in grey levels.
    """
    grid = int(rng.integers(3, 7))
    coarse = rng.uniform(-35, 35, (grid, grid, 3)).astype(np.float32)
    picture = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC) + rng.uniform(*brightness, 3)
    for _ in range(int(rng.integers(1, 4))):
        dy, dx = offsets(size, (rng.uniform(0, size[0], 1), rng.uniform(0, size[1], 1)))
        mask = SHAPES[rng.integers(len(SHAPES))](dy, dx, rng.uniform(0.05, 0.14) * min(size))[0]
        picture += mask[..., None] * rng.uniform(-40, 40, 3)
    return picture.astype(np.float32)


def standing_out(rng: Rng, background: np.ndarray) -> np.ndarray:
    """A random colour (3) far brighter or far darker than the mean of ``background``."""
    mean = float(background.mean())
    target = mean + (100 if mean < 128 else -100)
    return np.clip(target + rng.uniform(-30, 30, 3), 0, 255).astype(np.float32)


def compose(background: np.ndarray, mask: np.ndarray, colour: np.ndarray, noise: float, rng: Rng) -> np.ndarray:
    """Paint ``colour`` (3) over ``background`` (H × W × 3) by ``mask`` (T × H × W): uint8, T × H × W × 3.

    ``noise`` is the standard deviation in grey levels, drawn anew for every pixel of every frame.
    """
    frames = background + mask[..., None].astype(np.float32) * (colour - background)
    if noise:
        frames = frames + noise * rng.standard_normal(frames.shape, dtype=np.float32)
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8)
