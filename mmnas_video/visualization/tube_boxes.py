"""A tube of a vision transformer as a box in the clip that it cuts into tokens.

The clip is seen obliquely: its first frame in front, time running back to the upper right. A panel shows one tube, for
offsets are mostly 0 and the boxes of several would lie in one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch, Polygon, Rectangle
from matplotlib.path import Path

from .style import BLUE, INK, MUTED, SERIES, draw_words
from .vit_glyphs import Extent, TubeGlyph, by

#: Inches: longer side of a frame, what the last frame lies to the right of and above the first, a tick, room left of,
#: above and below the clip, height of a line of text.
FACE, DEPTH, TICK, LEFT, ABOVE, BELOW, LINE = 1.2, (0.58, 0.4), 0.06, 0.34, 0.1, 0.2, 0.165
#: Inches of a panel.
PANEL = LEFT + FACE + DEPTH[0] + 0.22
PANEL_HEIGHT = ABOVE + DEPTH[1] + FACE + BELOW + 5 * LINE
#: More places in a frame are not drawn one by one: that is a surface, and the marks tell their number.
MOST_PLACES = 1600
#: A face as corners (t, y, x) of the unit box: those that are seen from the front, above and the right.
_FACES: dict[str, tuple[Extent, ...]] = {
    'front': ((0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0)),
    'top': ((0, 0, 0), (0, 0, 1), (1, 0, 1), (1, 0, 0)),
    'side': ((0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)),
}
#: How much lighter (above 0) or darker a face is than the tube's colour.
_SHADES = {'front': 0.0, 'top': 0.35, 'side': -0.25}


class ClipView:
    """Where frames and pixels of a clip lie in the figure.

    Args:
        size: (T, H, W) of the clip.
        x, y: inches of the upper left corner of the first frame.
    """

    def __init__(self, size: Extent, x: float, y: float) -> None:
        self.size, self.x, self.y = size, x, y
        self.pixel = FACE / max(size[1:])
        # One frame of an image is no longer than one of a short clip, so that it reads as a sheet.
        self.frame = tuple(d / max(size[0], 16 if size[0] == 1 else 1) for d in DEPTH)

    def at(self, t: float, y: float, x: float) -> tuple[float, float]:
        """Inches of a place in the clip."""
        return (
            self.x + x * self.pixel + t * self.frame[0],
            self.y - y * self.pixel + t * self.frame[1],
        )

    def face(self, name: str, start: Sequence[float], extent: Sequence[float]) -> list[tuple[float, float]]:
        """The corners of a face of the box that begins at ``start`` (t, y, x) and has this extent."""
        return [self.at(*(s + e * c for s, e, c in zip(start, extent, corner, strict=True))) for corner in _FACES[name]]


def tube_colour(number: int) -> str:
    """Colour of a tube, counted from 1."""
    return (BLUE, *SERIES[1:])[(number - 1) % len(SERIES)]


def draw_tube(axes: Axes, tube: TubeGlyph, x: float, top: float, name: str, title: str, sized: bool = True) -> None:
    """A panel: the clip, the tube's first kernel in it, where it goes from there, and the figures below.

    Gids, each with ``name`` after a colon: ``clip:<face>`` and ``kernel:<face>`` (front, top, side), ``offset``,
    ``places`` (in the first frames), ``next:<axis>`` (one stride on) and ``marks:<axis>`` (centres of all tokens).

    Args:
        x, top: inches of the panel's upper left corner.
        name: of the panel in gids.
        title: above the figures.
        sized: whether the clip's size, and with it the number of tokens, is known.
    """
    view = ClipView(tube.size, x + LEFT, top - ABOVE - DEPTH[1])
    _draw_clip(axes, view, name)
    if tube.tokens:
        _draw_places(axes, view, tube, name)
        _draw_next(axes, view, tube, name)
        _draw_offset(axes, view, tube, name)
        _draw_kernel(axes, view, tube, name)
        _draw_marks(axes, view, tube, name)
    t, h, w = tube.size
    labels = dict(fontsize=6.5, color=MUTED)
    if sized:
        axes.text(*_moved(view.at(0, h, w / 2), 0, -0.14), f'{w} pixels', ha='center', va='center', **labels)
        axes.text(*_moved(view.at(0, h / 2, 0), -0.16, 0), f'{h}', ha='center', va='center', rotation=90, **labels)
        frames = f'{t} frame{"s" * (t > 1)}'
        axes.text(*_moved(view.at(t / 2, h, w), 0.1, -0.1), frames, va='center', **labels)
    _draw_figures(axes, tube, x + LEFT, top - PANEL_HEIGHT + 4.5 * LINE, title, sized)


def _moved(place: tuple[float, float], x: float, y: float) -> tuple[float, float]:
    return place[0] + x, place[1] + y


def _draw_clip(axes: Axes, view: ClipView, name: str) -> None:
    t, h, w = view.size
    origin = (0, 0, 0)
    for face in _FACES:
        sheet = Polygon(view.face(face, origin, view.size), facecolor='none', edgecolor=MUTED, linewidth=0.8, zorder=5)
        sheet.set_gid(f'clip:{face}:{name}')
        axes.add_patch(sheet)
    # What lies behind: the three edges that meet in the last frame's lower left corner.
    corner = (t, h, 0)
    for end in ((0, h, 0), (t, 0, 0), (t, h, w)):
        xs, ys = zip(view.at(*corner), view.at(*end), strict=True)
        axes.plot(xs, ys, color=MUTED, linewidth=0.6, linestyle=(0, (2, 2)), zorder=0)


def _draw_kernel(axes: Axes, view: ClipView, tube: TubeGlyph, name: str) -> None:
    for face, shade in _SHADES.items():
        side = Polygon(
            view.face(face, tube.start, tube.at.kernel),
            facecolor=_shaded(tube_colour(tube.number), shade),
            edgecolor=_shaded(tube_colour(tube.number), -0.55),
            linewidth=0.5,
            joinstyle='round',
            zorder=4,
        )
        side.set_gid(f'kernel:{face}:{name}')
        axes.add_patch(side)


def _shaded(colour: str, shade: float) -> tuple[float, float, float]:
    target = 1.0 if shade > 0 else 0.0
    r, g, b = (c + (target - c) * abs(shade) for c in to_rgb(colour))
    return r, g, b


def _draw_places(axes: Axes, view: ClipView, tube: TubeGlyph, name: str) -> None:
    """The front of the kernel at each of its places in its first frames: how much of a frame it sees."""
    (_, rows, columns), (t, y, x), (_, down, right) = tube.counts, tube.start, tube.at.stride
    if rows * columns > MOST_PLACES:
        return
    places = [(t, y + i * down, x + j * right) for i in range(rows) for j in range(columns)]
    paths = [_outline(view.face('front', place, tube.at.kernel)) for place in places]
    faint = (*to_rgb(tube_colour(tube.number)), 0.2)
    sheet = PathPatch(Path.make_compound_path(*paths), facecolor=faint, edgecolor=faint, linewidth=0.4, zorder=2)
    sheet.set_gid(f'places:{name}')
    axes.add_patch(sheet)


def _outline(corners: Sequence[tuple[float, float]]) -> Path:
    return Path([*corners, corners[0]], closed=True)


def _draw_next(axes: Axes, view: ClipView, tube: TubeGlyph, name: str) -> None:
    """The kernel one stride on along each axis, where there is one: whether tokens overlap or leave gaps."""
    for i in (0, 1, 2):  # from the back to the front
        if tube.counts[i] < 2:
            continue
        start = list(tube.start)
        start[i] += tube.at.stride[i]
        faces = [view.face(face, start, tube.at.kernel) for face in _FACES]
        path = Path.make_compound_path(*map(_outline, faces))
        colour = tube_colour(tube.number)
        box = PathPatch(path, facecolor=(*to_rgb(colour), 0.16), edgecolor=colour, linewidth=0.7, zorder=3)
        box.set_gid(f'next:{"tyx"[i]}:{name}')
        axes.add_patch(box)


def _draw_offset(axes: Axes, view: ClipView, tube: TubeGlyph, name: str) -> None:
    if any(tube.start):
        xs, ys = zip(view.at(0, 0, 0), view.at(*tube.start), strict=True)
        line = Line2D(xs, ys, color=INK, linewidth=0.9, marker='.', markersize=3.5, zorder=6)
        line.set_gid(f'offset:{name}')
        axes.add_line(line)


def _draw_marks(axes: Axes, view: ClipView, tube: TubeGlyph, name: str) -> None:
    """A tick at the centre of every token along each axis, outside the clip."""
    _, h, w = view.size
    sides = {'t': ((0, h, w), (TICK, -TICK / 2)), 'y': ((0, 0, 0), (-TICK, 0.0)), 'x': ((0, h, 0), (0.0, -TICK))}
    for i, (axis, (edge, out)) in enumerate(sides.items()):
        xs: list[float] = []
        ys: list[float] = []
        for n in range(tube.counts[i]):
            place = list(edge)
            place[i] = tube.start[i] + n * tube.at.stride[i] + tube.at.kernel[i] / 2
            begin = view.at(*place)
            end = _moved(begin, *out)
            xs += [begin[0], end[0], nan]
            ys += [begin[1], end[1], nan]
        ticks = Line2D(xs, ys, color=tube_colour(tube.number), linewidth=1.0, zorder=6)
        ticks.set_gid(f'marks:{axis}:{name}')
        axes.add_line(ticks)


def _draw_figures(axes: Axes, tube: TubeGlyph, x: float, y: float, title: str, sized: bool) -> None:
    box = Rectangle((x, y - 0.055), 0.11, 0.11, facecolor=tube_colour(tube.number), edgecolor=INK, linewidth=0.5)
    axes.add_patch(box)
    draw_words(axes, x + 0.17, y, title, 8, fontweight='bold')
    offset = by(tube.at.offset)
    if tube.start != tube.at.offset:
        offset += f' → {by(tube.start)}'  # it does not fit behind its offset
    tokens = f'{by(tube.counts)} = {tube.tokens} tokens' if tube.tokens else 'does not fit: no token'
    lines = [f'kernel {by(tube.at.kernel)}', f'stride {by(tube.at.stride)}', f'offset {offset}']
    for i, line in enumerate([*lines, *([tokens] if sized else [])], 1):
        draw_words(axes, x, y - i * LINE, line, 7.5)
