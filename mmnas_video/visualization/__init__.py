"""What a search looks like: its network drawn, its curves, its report.

All of it reads files alone and needs no torch, but for :class:`ReportHook`, which is there where MMEngine is.
"""

from mmnas_video import compat

from .arch_diagram import arch_figure
from .cell_graph import cell_figure, describe_cell
from .choice_grid import choices_figure
from .diagrams import diagram
from .entropy_map import entropy_map_figure
from .evaluated import PANELS, Evaluated, Panel, pareto_front
from .pareto import pareto_figure
from .recorded import RecordedSearch, read_search
from .report import write_report
from .search_curves import certainty_figure, collapse_figure, macs_figure, score_figure
from .two_streams import describe_streams, read_streams, streams_figure
from .vit_diagram import describe_vit, read_vit, vit_figure

__all__ = [
    'PANELS',
    'Evaluated',
    'Panel',
    'RecordedSearch',
    'arch_figure',
    'cell_figure',
    'certainty_figure',
    'choices_figure',
    'collapse_figure',
    'describe_cell',
    'describe_streams',
    'describe_vit',
    'diagram',
    'entropy_map_figure',
    'macs_figure',
    'pareto_figure',
    'pareto_front',
    'read_search',
    'read_streams',
    'read_vit',
    'score_figure',
    'streams_figure',
    'vit_figure',
    'write_report',
]

if compat.host_present():
    from .progress_hook import ProgressHook
    from .report_hook import ReportHook

    __all__ += ['ProgressHook', 'ReportHook']
