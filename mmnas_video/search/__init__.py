"""WHO chooses: search methods as hooks that know only the space."""

from .base import SearchHook
from .calibration import Calibration
from .checkpoint import AtomicCheckpointHook, find_checkpoint
from .config_checks import check_warm_up
from .conflict import ConflictAwareSearchHook
from .darts import DARTSSearchHook
from .distribution import ArchDistribution
from .entangled import EntanglementSearchHook
from .evolution import EvolutionSearchHook, use_checkpoint
from .extraction import (
    STARTS,
    check_weights,
    extract_model,
    fit_readers,
    load_supernet,
    model_part,
    read_checkpoint,
    save_extracted,
)
from .fine_tune_hook import FineTuneHook
from .finished import (
    FINISHED,
    STAGES,
    Finished,
    end_entropy,
    find_finished,
    read_finished,
    stage_table,
    write_finished,
)
from .hook_configs import build_hook, is_named, is_search_hook, search_hook_index, search_hook_of
from .indicator import Likelihood, VideoAccuracy
from .inherit_hook import InheritHook
from .parsec import PARSECSearchHook
from .record import SearchRecord
from .stages import Pins, Stage, opened, read_stages, stage_config, start_values
from .task_streams import TaskStreams, is_joint
from .uniform import UniformSearchHook
from .work import Work

__all__ = [
    'FINISHED',
    'STAGES',
    'STARTS',
    'ArchDistribution',
    'AtomicCheckpointHook',
    'Calibration',
    'ConflictAwareSearchHook',
    'DARTSSearchHook',
    'EntanglementSearchHook',
    'EvolutionSearchHook',
    'FineTuneHook',
    'Finished',
    'InheritHook',
    'Likelihood',
    'PARSECSearchHook',
    'Pins',
    'SearchHook',
    'SearchRecord',
    'Stage',
    'TaskStreams',
    'UniformSearchHook',
    'VideoAccuracy',
    'Work',
    'build_hook',
    'check_warm_up',
    'check_weights',
    'end_entropy',
    'extract_model',
    'find_checkpoint',
    'find_finished',
    'fit_readers',
    'is_joint',
    'is_named',
    'is_search_hook',
    'load_supernet',
    'model_part',
    'opened',
    'read_checkpoint',
    'read_finished',
    'read_stages',
    'save_extracted',
    'search_hook_index',
    'search_hook_of',
    'stage_config',
    'stage_table',
    'start_values',
    'use_checkpoint',
    'write_finished',
]
