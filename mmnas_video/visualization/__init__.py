"""What a search looks like: its network drawn, its curves, its report.

All of it reads files alone. Reading and drawing need no torch; the report does, and the hooks are there where MMEngine
is. What draws is loaded when it is first asked for: the plotting library takes a third of a second, and most processes
draw nothing.
"""

from importlib import import_module
from typing import Any

from mmnas_video import compat

from .recorded import read_search

#: What draws, by the module it is in.
DRAWING = {
    'cell_graph': ('describe_cell',),
    'diagrams': ('diagram',),
    'report': ('write_report',),
    'two_streams': ('describe_streams', 'read_streams', 'streams_figure'),
    'vit_diagram': ('vit_figure',),
    'vit_glyphs': ('read_vit',),
}
_PLACES = {name: module for module, names in DRAWING.items() for name in names}

__all__ = ['read_search', *_PLACES]

if compat.host_present():
    from .log_window_hook import LogWindowHook
    from .progress_hook import ProgressHook
    from .report_hook import ReportHook

    __all__ += ['LogWindowHook', 'ProgressHook', 'ReportHook']


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_PLACES[name]}'), name)
