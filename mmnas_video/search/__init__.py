"""WHO chooses: search methods as hooks that know only the space."""

from .base import SearchHook
from .checkpoint import AtomicCheckpointHook
from .distribution import ArchDistribution
from .indicator import INDICATORS, Likelihood, VideoAccuracy
from .parsec import PARSECSearchHook
from .record import SearchRecord
from .uniform import UniformSearchHook

__all__ = [
    'INDICATORS', 'ArchDistribution', 'AtomicCheckpointHook', 'Likelihood', 'PARSECSearchHook', 'SearchHook',
    'SearchRecord', 'UniformSearchHook', 'VideoAccuracy'
]
