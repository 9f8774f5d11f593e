"""Every repair that today's torch, transformers and setuptools force on the OpenMMLab stack, with its reason.

MMAction2 1.2.0 is of 2023. :data:`REPAIRS` lists what stands between it and a current torch: how each fault
shows itself, how to find out whether it is present here, and what mends it. :func:`apply` mends what code can
mend and only where the fault is present; for the rest it raises one :class:`~mmnas_video.errors.StackError`
that says what to install. ``python -m mmnas_video`` prints the table.

At import this module needs the standard library only: it must be able to say that torch is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from mmnas_video.errors import StackError

from . import checkpoints, host_models, installed, packages, processes, standard_library
from .checkpoints import safe_load, saved_method
from .packages import host_present, is_importable, version_of
from .processes import cpu_model_wrapper_cfg, init_cpu_process_group

__all__ = [
    'REPAIRS',
    'Finding',
    'Repair',
    'apply',
    'cpu_model_wrapper_cfg',
    'findings',
    'host_present',
    'init_cpu_process_group',
    'is_importable',
    'packages',
    'processes',
    'safe_load',
    'saved_method',
    'version_of',
]

State = Literal['absent', 'mended', 'present', 'stops']


@dataclass(frozen=True)
class Repair:
    """One fault of the stack.

    ``probe`` returns what it found, or None where the fault is absent. ``mend`` is None where code cannot
    mend it; then ``stops`` says whether it keeps the package from working.
    """

    name: str
    fault: str
    remedy: str
    probe: Callable[[], str | None]
    mend: Callable[[], None] | None = None
    stops: bool = False


@dataclass(frozen=True)
class Finding:
    """A :class:`Repair` looked at in this environment; ``found`` is empty where the fault is absent."""

    repair: Repair
    state: State
    found: str = ''


REPAIRS: tuple[Repair, ...] = (
    Repair(
        'torch',
        'everything but mmnas_video.space computes with it; before 2.6 no checkpoint is read without running its code',
        'pip install a pair of torch and torchvision (requirements/constraints.txt has a tested one)',
        installed.probe_torch,
        stops=True,
    ),
    Repair(
        'mmengine',
        'its Runner is what trains and searches',
        "pip install 'mmengine>=0.10.4,<1'",
        installed.probe_package('mmengine', 'mmengine'),
        stops=True,
    ),
    Repair(
        'mmaction2',
        'it is the host: its recognizers, transforms and registries are used as they are',
        "pip install 'mmaction2>=1.2,<1.3'",
        installed.probe_mmaction2,
        stops=True,
    ),
    Repair(
        'mmcv',
        'mmaction2 1.2.0 asserts mmcv < 2.2.0; the distributions mmcv and mmcv-lite write to one folder',
        'keep one of the two: a full mmcv >= 2.0, < 2.2 that already works here, or else, after '
        '`pip uninstall -y mmcv mmcv-lite`, `pip install mmcv-lite==2.1.0`, which compiles nothing',
        installed.probe_mmcv,
        stops=True,
    ),
    Repair(
        'mmcv-ops',
        "a full mmcv's operators, built for another torch, do not load; MMEngine's optimisers import them",
        'build mmcv for this torch, or, as nothing here needs the operators, `pip uninstall -y mmcv` and '
        '`pip install mmcv-lite==2.1.0`',
        installed.probe_mmcv_ops,
        stops=True,
    ),
    Repair(
        'torchvision',
        "mmaction2's transforms and mmpretrain import it, and only the release made for this torch loads",
        'pip install that release of torchvision (requirements/constraints.txt has a tested pair)',
        installed.probe_torchvision,
        stops=True,
    ),
    Repair(
        'mmpretrain',
        "mmaction2's MobileOne backbone and image models need mmpretrain",
        "pip install 'mmpretrain>=1.2,<1.3' if you use them",
        installed.probe_package('mmpretrain', 'mmpretrain'),
    ),
    Repair(
        'pkg_resources',
        "mmengine imports pkg_resources, gone from setuptools >= 81, for configs based on 'mmaction::…'",
        "pip install 'setuptools<81'",
        installed.probe_pkg_resources,
    ),
    Repair(
        'distutils',
        "MMEngine's Runner imports distutils, gone from Python 3.12, when it reports the environment",
        "setuptools is imported, which puts its own in the place; where it lies in site-packages, Python's start does",
        standard_library.probe_distutils,
        standard_library.mend_distutils,
    ),
    Repair(
        'drn',
        "mmaction2 1.2.0's wheel lacks mmaction/models/localizers/drn, so mmaction.models cannot be imported",
        'placeholder modules whose DRN raises a clear error when built',
        host_models.probe_drn,
        host_models.mend_drn,
    ),
    Repair(
        'multimodal',
        'multimodal models of mmaction2 and mmpretrain import names that transformers has since removed',
        'WITH_MULTIMODAL = False in both packages: only their multimodal models are left out',
        host_models.probe_multimodal,
        host_models.mend_multimodal,
    ),
    Repair(
        'safe-load',
        'torch >= 2.6 loads with weights_only=True, which refuses every MMEngine checkpoint on resume',
        "the classes in it are declared safe, with a getattr that knows a few of MMEngine's methods only",
        checkpoints.probe_safe_load,
        checkpoints.mend_safe_load,
    ),
    Repair(
        'load',
        "MMEngine's load_from runs the code in a file at an address, and in any file where torch's default is changed",
        'each of its loads is made with weights_only=True',
        checkpoints.probe_load,
        checkpoints.mend_load,
    ),
    Repair(
        'lookup',
        "a look-up that starts in a child registry does not trigger the lazy imports of MMAction2's own",
        "the modules that fill MMAction2's registries are imported with this package",
        host_models.probe_lookup,
        host_models.mend_lookup,
    ),
    Repair(
        'cpu-launch',
        "MMEngine's launcher='pytorch', its DDP wrapper and torch's SyncBatchNorm ask for a GPU",
        'for several processes call mmnas_video.compat.init_cpu_process_group() before the Runner is built, '
        'and set model_wrapper_cfg = mmnas_video.compat.cpu_model_wrapper_cfg()',
        processes.probe_cpu_launch,
    ),
    Repair(
        'sync-bn',
        "torch's SyncBatchNorm asks for a GPU, and takes the place of layers that are told a window of channels",
        "sync_bn = 'torch' in a config uses layers of mmnas_video.entangle there",
        processes.probe_sync_bn,
        processes.mend_sync_bn,
    ),
)

_mended: dict[str, str] = {}  # name of the repair → what was found before it was mended


def findings() -> list[Finding]:
    """Look at every repair on this machine, without mending anything."""
    result = []
    for repair in REPAIRS:
        if repair.name in _mended:
            result.append(Finding(repair, 'mended', _mended[repair.name]))
        elif (found := repair.probe()) is None:
            result.append(Finding(repair, 'absent'))
        else:
            result.append(Finding(repair, 'stops' if repair.stops else 'present', found))
    return result


def apply() -> None:
    """Mend what is broken, before anything of mmaction is imported. A second call does nothing.

    Raises:
        StackError: something that only an installation can mend stands in the way; nothing was changed then.
    """
    missing = [
        f'{r.name}: found {found}. {r.fault}. To mend it: {r.remedy}.'
        for r in REPAIRS
        if r.stops and (found := r.probe())
    ]
    if missing:
        raise StackError('MMNAS-Video cannot run in this environment.\n  ' + '\n  '.join(missing))
    for repair in REPAIRS:
        if repair.mend and repair.name not in _mended and (found := repair.probe()):
            repair.mend()
            _mended[repair.name] = found
