"""WHAT it costs: multiply-adds, parameters, budgets, and the counter that checks the closed forms."""

from .budget import UNITS, Budget
from .chain import ChainCost
from .cost import Cost
from .counter import count
from .whole import rest_cost, total_cost

__all__ = ['UNITS', 'Budget', 'ChainCost', 'Cost', 'count', 'rest_cost', 'total_cost']
