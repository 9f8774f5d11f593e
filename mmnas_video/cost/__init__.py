"""WHAT it costs: multiply-adds, parameters, budgets, and the counter that checks the closed forms."""

from .additive import AdditiveCost
from .budget import UNITS, Budget
from .chain import ChainCost
from .closed_form import ClosedForm
from .cost import Cost
from .counter import count
from .latency import Block, Latency, LatencyTable, TimedCost, load_latency, read_table
from .latency_fit import Sample, fit_rates, kendall_tau, prediction_agreement
from .latency_timer import Timed, TimedNetwork, fastest_runs
from .two_stream import TwoStreamCost
from .vit import ViTCost
from .whole import RestCost, output_readers, rest_cost, total_cost, total_range

__all__ = [
    'UNITS',
    'AdditiveCost',
    'Block',
    'Budget',
    'ChainCost',
    'ClosedForm',
    'Cost',
    'Latency',
    'LatencyTable',
    'RestCost',
    'Sample',
    'Timed',
    'TimedCost',
    'TimedNetwork',
    'TwoStreamCost',
    'ViTCost',
    'count',
    'fastest_runs',
    'fit_rates',
    'kendall_tau',
    'load_latency',
    'output_readers',
    'prediction_agreement',
    'read_table',
    'rest_cost',
    'total_cost',
    'total_range',
]
