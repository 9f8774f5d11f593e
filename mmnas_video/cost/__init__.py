"""WHAT it costs: multiply-adds, parameters, budgets, and the counter that checks the closed forms."""

from .additive import AdditiveCost
from .budget import UNITS, Budget
from .chain import ChainCost
from .cost import Cost
from .counter import count
from .two_stream import TwoStreamCost
from .vit import ViTCost
from .whole import RestCost, output_readers, rest_cost, total_cost, total_range

__all__ = [
    'UNITS',
    'AdditiveCost',
    'Budget',
    'ChainCost',
    'Cost',
    'RestCost',
    'TwoStreamCost',
    'ViTCost',
    'count',
    'output_readers',
    'rest_cost',
    'total_cost',
    'total_range',
]
