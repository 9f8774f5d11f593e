"""The networks that a page shows when their points are chosen: each drawn once, packed into the page."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from typing import Any

from mmnas_video.space import Arch, arch_to_json

from .diagrams import diagram
from .evaluated import Evaluated
from .figure_io import inline_svg, readable_width, svg_text
from .recorded import RecordedSearch

#: Most differences from the chosen network that are written out.
MAX_DIFFERENCES = 12


class Networks:
    """Gathers architectures while a page is written; :meth:`html` then draws them.

    A drawing takes 0.1 s and 3 to 6 KB of the page, packed; that is what ``limit`` bounds.

    Args:
        limit: most drawings. Those that were added as ``first`` have precedence; the others have no picture, but all
            else.
        progress: called with (drawings made, drawings to make).
    """

    def __init__(self, limit: int, progress: Callable[[int, int], None] | None = None) -> None:
        self.limit = limit
        self.progress = progress or (lambda done, total: None)
        self._keys: dict[tuple[str, Arch], str] = {}
        self._wanted: dict[str, tuple[RecordedSearch, Evaluated]] = {}
        self._first: set[str] = set()

    def add(self, record: RecordedSearch, network: Evaluated, first: bool = False) -> str | None:
        """The key by which a point names its network; None for one whose architecture is not known."""
        if network.arch is None:
            return None
        key = self._keys.setdefault((str(record.work_dir), network.arch), f'n{len(self._keys)}')
        self._wanted.setdefault(key, (record, network))
        if first:
            self._first.add(key)
        return key

    def html(self) -> str:
        """A JSON object of key -> base64 of the deflated JSON of a network, as a data block; empty without any."""
        if not self._wanted:
            return ''
        order = sorted(self._wanted, key=lambda key: key not in self._first)  # stable: else as they were added
        drawn = order[: self.limit]
        packed = {}
        for i, key in enumerate(order):
            packed[key] = _pack(_network(*self._wanted[key], draw=i < len(drawn)))
            if i < len(drawn):
                self.progress(i + 1, len(drawn))
        # Nothing in base64 and in our keys can end the element.
        return f'<script type="application/json" id="networks">{json.dumps(packed)}</script>\n'


def _pack(data: dict[str, Any]) -> str:
    return base64.b64encode(zlib.compress(json.dumps(data).encode(), 9)).decode()


def _network(record: RecordedSearch, network: Evaluated, draw: bool) -> dict[str, Any]:
    """What the page shows of a network: ``svg`` and its least ``width``, ``words``, ``differs``, ``json``."""
    arch = network.arch or Arch()
    found = diagram(arch, record.drawn_with) if draw else None
    figure, words = found or (None, '')
    return {
        'svg': inline_svg(svg_text(figure), 'seen', words) if figure else '',
        'width': [readable_width(figure), round(96 * figure.get_figwidth())] if figure else [0, 0],
        'words': words,
        'differs': _differs(record, arch),
        'values': [f'{name} {_short(value)}' for name, value in arch.items()],
        'json': arch_to_json(arch, record.space.identity if record.space else {}, _extra(record, network)),
    }


def _extra(record: RecordedSearch, network: Evaluated) -> dict[str, Any]:
    costs = {'macs': network.macs, 'params': network.params, 'latency_ms': network.latency_ms}
    cost: dict[str, Any] = {name: value for name, value in costs.items() if value is not None}
    if record.cost.get('shape'):
        cost['shape'] = record.cost['shape']
    return {'cost': cost}


def _differs(record: RecordedSearch, arch: Arch) -> str:
    if record.arch is None:
        return ''
    other = [name for name in arch if name in record.arch and arch[name] != record.arch[name]]
    chosen = 'chosen network' if record.final else 'most probable network'
    if not other:
        return f'This is the {chosen}.' if dict(arch) == dict(record.arch) else ''
    parts = [f'{name} {_short(arch[name])} (there {_short(record.arch[name])})' for name in other[:MAX_DIFFERENCES]]
    more = f' and {len(other) - MAX_DIFFERENCES} more' if len(other) > MAX_DIFFERENCES else ''
    common = sum(name in record.arch for name in arch)
    return f'Differs from the {chosen} in {len(other)} of {common} choices: {", ".join(parts)}{more}.'


def _short(value: Any) -> str:
    return f'{value:g}' if isinstance(value, float) else str(value)
