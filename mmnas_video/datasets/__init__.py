"""Data: samples and orders that are functions of the seed, bad files, held-out parts, the demo data.

``type='SeededDataset'``, ``'SeededSampler'``, ``'EndlessSampler'``, ``'skip_bad_collate'``,
``'ReproducibleHook'`` and ``'BadSampleHook'`` in a config name what stands here.
"""

from .bad_sample import BadSample, BadSampleCounter, skip_bad_collate
from .bad_sample_hook import BadSampleHook
from .checks import check_disjoint, check_not_empty
from .demo import DemoOptions, make_demo
from .held_out import HeldOut
from .reproducible_hook import ReproducibleHook, own_generator
from .seed import derive_seed, seeded
from .seeded_dataset import SeededDataset
from .seeded_sampler import EndlessSampler, SeededSampler
from .workers import close_runner_workers, close_workers

__all__ = [
    'BadSample',
    'BadSampleCounter',
    'BadSampleHook',
    'DemoOptions',
    'EndlessSampler',
    'HeldOut',
    'ReproducibleHook',
    'SeededDataset',
    'SeededSampler',
    'check_disjoint',
    'check_not_empty',
    'close_runner_workers',
    'close_workers',
    'derive_seed',
    'make_demo',
    'own_generator',
    'seeded',
    'skip_bad_collate',
]
