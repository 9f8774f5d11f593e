"""WHO chooses: search methods as hooks that know only the space."""

from .base import SearchHook
from .calibration import Calibration
from .checkpoint import AtomicCheckpointHook
from .distribution import ArchDistribution
from .extraction import check_weights, extract_model, is_search_hook, load_supernet, read_checkpoint, save_extracted
from .indicator import Likelihood, VideoAccuracy
from .parsec import PARSECSearchHook
from .record import SearchRecord
from .uniform import UniformSearchHook

__all__ = [
    'ArchDistribution',
    'AtomicCheckpointHook',
    'Calibration',
    'Likelihood',
    'PARSECSearchHook',
    'SearchHook',
    'SearchRecord',
    'UniformSearchHook',
    'VideoAccuracy',
    'check_weights',
    'extract_model',
    'is_search_hook',
    'load_supernet',
    'read_checkpoint',
    'save_extracted',
]
