"""Data: samples and orders that are functions of the seed, bad files, held-out parts, the demo data.

``type='SeededDataset'``, ``'SeededSampler'``, ``'EndlessSampler'``, ``'skip_bad_collate'``,
``'ReproducibleHook'`` and ``'BadSampleHook'`` in a config name what stands here; and for several datasets at once
``'JointDataset'``, ``'JointBatchSampler'``, ``'TaskByTaskBatchSampler'``, ``'JointHook'``, ``'JointAccMetric'``,
``'ImageAsClip'`` and ``'ClipRandomErasing'``. ``'TorchcodecInit'`` and ``'TorchcodecDecode'`` read videos faster, and
``'FileWatchHook'`` names the file on which a worker died or hangs.
"""

from .bad_sample import MAX_SHARE, BadSample, BadSampleCounter, skip_bad_collate
from .bad_sample_hook import BadSampleHook, bad_share
from .checks import check_disjoint, check_not_empty
from .clip_transforms import ClipRandomErasing, ImageAsClip
from .demo import DemoOptions, make_demo
from .demo_join import join_demo
from .file_watch_hook import FileWatchHook
from .files_in_work import FilesInWork
from .held_out import HeldOut
from .joint_checks import check_classes, check_videos_apart
from .joint_dataset import JointDataset
from .joint_hook import JointHook
from .joint_metric import JointAccMetric
from .joint_sampler import JointBatchSampler, TaskByTaskBatchSampler
from .labels import LabelHook, check_labels, only_written
from .reproducible_hook import ReproducibleHook, check_drawn_anew, own_generator
from .seed import derive_seed, reseed_process, seeded
from .seeded_dataset import SeededDataset
from .seeded_sampler import EndlessSampler, SeededSampler
from .segment_sample import SegmentSampleFrames
from .step_iterator import StepIterator
from .task_schedule import TaskSchedule
from .torchcodec_transforms import TorchcodecDecode, TorchcodecInit
from .video_ids import read_list, shared_ids, video_id
from .workers import close_runner_workers, close_workers, outlive_sigterm_from_the_start

__all__ = [
    'MAX_SHARE',
    'BadSample',
    'BadSampleCounter',
    'BadSampleHook',
    'ClipRandomErasing',
    'DemoOptions',
    'EndlessSampler',
    'FileWatchHook',
    'FilesInWork',
    'HeldOut',
    'ImageAsClip',
    'JointAccMetric',
    'JointBatchSampler',
    'JointDataset',
    'JointHook',
    'LabelHook',
    'ReproducibleHook',
    'SeededDataset',
    'SeededSampler',
    'SegmentSampleFrames',
    'StepIterator',
    'TaskByTaskBatchSampler',
    'TaskSchedule',
    'TorchcodecDecode',
    'TorchcodecInit',
    'bad_share',
    'check_classes',
    'check_disjoint',
    'check_drawn_anew',
    'check_labels',
    'check_not_empty',
    'check_videos_apart',
    'close_runner_workers',
    'close_workers',
    'derive_seed',
    'join_demo',
    'make_demo',
    'only_written',
    'outlive_sigterm_from_the_start',
    'own_generator',
    'read_list',
    'reseed_process',
    'seeded',
    'shared_ids',
    'skip_bad_collate',
    'video_id',
]
