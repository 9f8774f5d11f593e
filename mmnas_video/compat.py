"""Every repair that today's torch, transformers and setuptools force on the OpenMMLab stack, with its reason.

MMAction2 1.2.0 is of 2023. :data:`REPAIRS` lists what stands between it and a current torch: how each fault
shows itself, how to find out whether it is present here, and what mends it. :func:`apply` mends what code can
mend and only where the fault is present; for the rest it raises one :class:`~mmnas_video.errors.StackError`
that says what to install. ``python -m mmnas_video`` prints the table.

At import this module needs the standard library only: it must be able to say that torch is missing.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import pickle
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from mmnas_video.errors import ConfigError, StackError

MMCV_BELOW = (2, 2)  # mmaction2 1.2.0 asserts mmcv < 2.2.0 in its __init__
TORCHVISION_OF = {'2.11': '0.26', '2.10': '0.25', '2.9': '0.24', '2.8': '0.23', '2.7': '0.22', '2.6': '0.21'}

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


def is_importable(name: str) -> bool:
    """Whether a top-level package can be found, without importing it."""
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # a module put into sys.modules by hand, without a spec
        return True


def host_present() -> bool:
    """Whether there is an MMEngine on torch to register with; ``mmnas_video.space`` needs neither."""
    return is_importable('torch') and is_importable('mmengine')


def version_of(*distributions: str) -> str | None:
    """The version of the first of these distributions that is installed."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _numbers(version: str) -> tuple[int, ...]:
    """``'2.11.0+cpu'`` → ``(2, 11)``: enough to compare releases of the packages named here."""
    return tuple(int(number) for number in re.findall(r'\d+', version)[:2])


def _folder_of(package: str) -> Path | None:
    """Where a top-level package lies, found without importing it."""
    spec = importlib.util.find_spec(package)
    locations = list(spec.submodule_search_locations or ()) if spec else []
    return Path(locations[0]) if locations else None


# --- what must be installed ---------------------------------------------------------------------------------


def _probe_package(module: str, distribution: str) -> Callable[[], str | None]:
    return lambda: None if is_importable(module) else f'{distribution} is not installed'


def _probe_mmcv() -> str | None:
    if not is_importable('mmcv'):
        return 'no mmcv is installed'
    full, lite = version_of('mmcv'), version_of('mmcv-lite')
    if full and lite:
        return f"mmcv {full} and mmcv-lite {lite} are both installed and overwrite each other's files"
    version = full or lite
    if version and _numbers(version) >= MMCV_BELOW:
        return f'mmcv {version}'
    return None


def _probe_mmcv_ops() -> str | None:
    """A full mmcv whose compiled operators were built for another torch.

    MMEngine imports them whenever it builds an optimiser, as soon as it sees the compiled file.
    """
    folder = _folder_of('mmcv')
    if folder is None or _probe_mmcv() is not None or not list(folder.glob('_ext.*')):
        return None
    try:
        importlib.import_module('mmcv._ext')
    except ImportError as error:
        return f'mmcv {version_of("mmcv")}: {error}'
    return None


def _wanted_torchvision() -> str:
    torch_version = version_of('torch') or ''
    wanted = TORCHVISION_OF.get('.'.join(torch_version.split('.')[:2]))
    return f'torchvision=={wanted}.*' if wanted else f'the torchvision made for torch {torch_version}'


def _probe_torchvision() -> str | None:
    if not is_importable('torch'):
        return None  # one message at a time: that of torch
    if not is_importable('torchvision'):
        return f'no torchvision beside torch {version_of("torch")}; {_wanted_torchvision()} belongs to it'
    try:
        importlib.import_module('torchvision')
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        # A mismatched pair fails here with "operator torchvision::nms does not exist".
        have = f'torchvision {version_of("torchvision")} beside torch {version_of("torch")}'
        return f'{have}: {error}; {_wanted_torchvision()} belongs to it'
    return None


def _probe_pkg_resources() -> str | None:
    if is_importable('pkg_resources'):
        return None
    return f'setuptools {version_of("setuptools") or "is not installed"}'


# --- mmaction2's wheel lacks a folder -----------------------------------------------------------------------

_DRN = 'mmaction.models.localizers.drn'


def _probe_drn() -> str | None:
    folder = _folder_of('mmaction')
    if folder is None or (folder / 'models/localizers/drn/drn.py').is_file():
        return None
    return f'mmaction2 {version_of("mmaction2")} without models/localizers/drn'


def _mend_drn() -> None:
    """Put modules with a ``DRN`` that says why it cannot be built where the wheel has none."""
    from mmaction.registry import MODELS

    class DRN:
        """Stands for the localizer that MMAction2's wheel left out."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            raise StackError(
                f"model type 'DRN': found a MMAction2 {version_of('mmaction2')} without its folder "
                'mmaction/models/localizers/drn, expected the whole. Install MMAction2 from its repository.'
            )

    if 'DRN' not in MODELS.module_dict:  # so that type='DRN' says this, not "DRN is not in the registry"
        MODELS.register_module(name='DRN', module=DRN)
    for name in (_DRN, f'{_DRN}.drn'):
        module = ModuleType(name, "Placeholder of mmnas_video.compat: MMAction2's wheel lacks this folder.")
        module.DRN = DRN  # type: ignore[attr-defined]
        sys.modules[name] = module
    sys.modules[_DRN].__path__ = []  # type: ignore[attr-defined]  # a package, as the import of .drn.drn wants


# --- multimodal models against a newer transformers ---------------------------------------------------------


def _transformers_imports(folder: Path) -> set[tuple[str, str]]:
    """(module, name) for every unconditional ``from transformers… import …`` in the files under ``folder``.

    Those inside a function or a ``try`` cannot break the import of the file and are left out.
    """
    wanted = set()
    for file in sorted(folder.rglob('*.py')):
        for node in ast.parse(file.read_text(encoding='utf-8')).body:
            if isinstance(node, ast.ImportFrom) and (node.module or '').split('.')[0] == 'transformers':
                wanted |= {(node.module or '', alias.name) for alias in node.names}
    return wanted


def _lost_transformers_name(package: str) -> str | None:
    """The first name that ``package``'s multimodal models ask of transformers and that is not there."""
    folder = _folder_of(package)
    version = version_of('transformers')
    if folder is None or version is None or _numbers(version) < (4, 28):
        return None  # both packages leave their multimodal models out below 4.28
    for module, name in sorted(_transformers_imports(folder / 'models')):
        try:
            if hasattr(importlib.import_module(module), name):
                continue
            reason = 'the name is gone'
        except Exception as error:  # its lazy modules raise whatever the backend that they look for raises
            reason = f'{type(error).__name__}: {error}'.partition('\n')[0]
        return f'{package} asks transformers {version} for {module}.{name} ({reason})'
    return None


def _probe_multimodal() -> str | None:
    return _lost_transformers_name('mmaction') or _lost_transformers_name('mmpretrain')


def _mend_multimodal() -> None:
    """Tell both packages that there is no transformers for them.

    mmpretrain reads the switch while its ``__init__`` runs, so the module that holds it is loaded first.
    """
    for package in ('mmaction', 'mmpretrain'):
        name, folder = f'{package}.utils.dependency', _folder_of(package)
        if folder is None:
            continue
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, folder / 'utils/dependency.py')
            assert spec is not None and spec.loader is not None
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        sys.modules[name].WITH_MULTIMODAL = False  # type: ignore[attr-defined]


# --- resuming under torch's safe unpickling -----------------------------------------------------------------


def _probe_safe_load() -> str | None:
    if not host_present() or _numbers(version_of('torch') or '0') < (2, 6):
        return None  # weights_only became the default in 2.6
    import torch
    from mmengine.logging import HistoryBuffer

    if HistoryBuffer in torch.serialization.get_safe_globals():
        return None
    return f"torch {torch.__version__} refuses MMEngine's HistoryBuffer and numpy's arrays"


def history_statistic(owner: Any, name: Any) -> Any:
    """The only answer that an unpickled ``getattr`` may have: one of HistoryBuffer's four statistics.

    A pickled HistoryBuffer refers to its own methods by ``getattr(HistoryBuffer, 'mean')``. With the real
    ``getattr`` a crafted file walks from any allowed function to whatever code it likes, so that one is never
    registered.
    """
    from mmengine.logging import HistoryBuffer

    if owner is HistoryBuffer and name in ('min', 'max', 'mean', 'current'):
        return HistoryBuffer.__dict__[name]
    raise pickle.UnpicklingError(
        f"checkpoint: found getattr({owner!r}, {name!r}), expected one of HistoryBuffer's statistics"
    )


def _mend_safe_load() -> None:
    """Name the harmless classes that a MMEngine checkpoint holds; ``weights_only`` stays on."""
    import numpy as np
    import torch
    from mmengine.logging import HistoryBuffer

    core = 'numpy._core' if hasattr(np, '_core') else 'numpy.core'  # renamed in numpy 2
    multiarray = importlib.import_module(f'{core}.multiarray')
    allowed: list[Any] = [HistoryBuffer, np.ndarray, np.dtype]
    # Files from either side of the rename are read on either side.
    for path in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        allowed += [(getattr(multiarray, name), f'{path}.{name}') for name in ('_reconstruct', 'scalar')]
    dtypes = getattr(np, 'dtypes', None)  # numpy >= 1.25
    if dtypes:
        allowed += [value for name, value in sorted(vars(dtypes).items()) if name.endswith('DType')]
    # A global is looked up by the name in the file; torch.save's protocol 2 writes Python 2's names.
    allowed += [(history_statistic, f'{module}.getattr') for module in ('builtins', '__builtin__')]
    torch.serialization.add_safe_globals(allowed)


# --- loading that would run a file's code -------------------------------------------------------------------


#: Words of the line in which torch, or our own getattr, says what a file has asked for.
TOLD = ('GLOBAL', 'nsupported', 'unrecognized', 'found getattr', 'TorchScript')


def safe_load(file: Any, **options: Any) -> Any:
    """``torch.load`` with ``weights_only=True``; a file that would run code, or is broken, is one error.

    Args:
        file: path or binary file.
        options: further arguments of ``torch.load``.

    Raises:
        ConfigError: names the file and the reason. Nothing in it has been run.
    """
    import torch

    try:
        return torch.load(file, **{**options, 'weights_only': True})
    except Exception as error:  # whatever a broken or hostile file makes torch raise
        raise _unsafe(file, error) from None


def _unsafe(file: Any, error: Exception) -> ConfigError:
    # torch says what it met in one of many lines; the first advises to read the file unsafely.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    told = [line for line in lines if any(word in line for word in TOLD)]
    name = repr(str(file)) if isinstance(file, (str, os.PathLike)) else 'given as bytes'
    return ConfigError(
        f'checkpoint {name}: found a file that is broken or not safe to read ({(told or lines)[0][:200]}), expected a '
        'checkpoint of weights'
    )


class _SafeTorch(ModuleType):
    """``torch`` as MMEngine's checkpoint module sees it: all as it is, but for ``load``."""

    def __init__(self) -> None:
        super().__init__('torch', 'torch, loading weights only')
        self.load = safe_load

    def __getattr__(self, name: str) -> Any:
        import torch

        return getattr(torch, name)


def _probe_load() -> str | None:
    if not host_present() or _numbers(version_of('torch') or '0') < (2, 6):
        return None  # without the names of safe classes no checkpoint of MMEngine's could be read
    from mmengine.runner import checkpoint

    return None if isinstance(checkpoint.torch, _SafeTorch) else "MMEngine's torch.load and load_url"


def _mend_load() -> None:
    """Every path of MMEngine's CheckpointLoader: files, addresses, model zoos, object stores."""
    from mmengine.runner import checkpoint

    stock = checkpoint.load_url

    def load_url(url: str, *args: Any, **options: Any) -> Any:
        try:
            return stock(url, *args, **{**options, 'weights_only': True})
        except pickle.UnpicklingError as error:
            raise _unsafe(url, error) from None

    checkpoint.torch, checkpoint.load_url = _SafeTorch(), load_url


# --- look-ups that start in a child registry ----------------------------------------------------------------

_PARTS = ('datasets', 'engine', 'evaluation', 'models', 'visualization')
_FILLING = tuple(f'mmaction.{part}' for part in _PARTS)


def _probe_lookup() -> str | None:
    missing = [name for name in _FILLING if name not in sys.modules]
    return f'{", ".join(missing)} not imported yet' if missing and is_importable('mmaction') else None


def _mend_lookup() -> None:
    with warnings.catch_warnings():
        # mmcv-lite says at import that an operator is missing; only detectors use it.
        warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')
        for name in _FILLING:
            importlib.import_module(name)


# --- several processes on a CPU -----------------------------------------------------------------------------


def _probe_cpu_launch() -> str | None:
    if not is_importable('torch'):
        return None
    import torch

    return None if torch.cuda.is_available() else 'no GPU'


def init_cpu_process_group() -> bool:
    """Join the gloo group that the launcher's environment describes; call it before the Runner is built.

    MMEngine's ``launcher='pytorch'`` calls ``torch.cuda.set_device`` and so cannot start on a CPU, but it
    leaves alone a group that is there already.

    Returns:
        Whether a group was made: not on a GPU, not without a launcher (``RANK`` is unset), not a second time.
    """
    import torch

    if torch.cuda.is_available() or 'RANK' not in os.environ or torch.distributed.is_initialized():
        return False
    torch.distributed.init_process_group(backend='gloo')
    return True


def cpu_model_wrapper_cfg(**changes: Any) -> dict[str, Any]:
    """``model_wrapper_cfg`` for MMEngine's Runner on a CPU, where its default names a GPU.

    ``broadcast_buffers`` is off as in the Runner's own default. ``changes`` are further arguments of
    ``MMDistributedDataParallel``, say ``find_unused_parameters=True``.
    """
    return {'type': 'MMDistributedDataParallel', 'device_ids': None, 'broadcast_buffers': False, **changes}


def _probe_sync_bn() -> str | None:
    if not host_present():
        return None
    from mmengine.runner import runner

    if runner.convert_sync_batchnorm.__module__ == __name__:
        return None
    return "MMEngine's sync_bn"


#: (model, value of ``sync_bn``, MMEngine's own conversion) to the model: set by the module that has the layers.
convert_norms: Callable[[Any, str, Callable[..., Any]], Any] | None = None


def _mend_sync_bn() -> None:
    """Let ``sync_bn='torch'`` use our layers where torch's would fail; elsewhere it stays as it is."""
    from mmengine.runner import runner

    stock = runner.convert_sync_batchnorm

    def convert_sync_batchnorm(module: Any, implementation: str = 'torch') -> Any:
        if convert_norms is None:
            return stock(module, implementation)
        return convert_norms(module, implementation, stock)

    runner.convert_sync_batchnorm = convert_sync_batchnorm


REPAIRS: tuple[Repair, ...] = (
    Repair(
        'torch',
        'everything but mmnas_video.space computes with it',
        'pip install a pair of torch and torchvision (requirements/constraints.txt has a tested one)',
        _probe_package('torch', 'torch'),
        stops=True,
    ),
    Repair(
        'mmengine',
        'its Runner is what trains and searches',
        "pip install 'mmengine>=0.10.4,<1'",
        _probe_package('mmengine', 'mmengine'),
        stops=True,
    ),
    Repair(
        'mmaction2',
        'it is the host: its recognizers, transforms and registries are used as they are',
        "pip install 'mmaction2>=1.2,<1.3'",
        _probe_package('mmaction', 'mmaction2'),
        stops=True,
    ),
    Repair(
        'mmcv',
        'mmaction2 1.2.0 asserts mmcv < 2.2.0; the distributions mmcv and mmcv-lite write to one folder',
        'keep one of the two: a full mmcv >= 2.0, < 2.2 that already works here, or else, after '
        '`pip uninstall -y mmcv mmcv-lite`, `pip install mmcv-lite==2.1.0`, which compiles nothing',
        _probe_mmcv,
        stops=True,
    ),
    Repair(
        'mmcv-ops',
        "a full mmcv's operators, built for another torch, do not load; MMEngine's optimisers import them",
        'build mmcv for this torch, or, as nothing here needs the operators, `pip uninstall -y mmcv` and '
        '`pip install mmcv-lite==2.1.0`',
        _probe_mmcv_ops,
        stops=True,
    ),
    Repair(
        'torchvision',
        "mmaction2's transforms and mmpretrain import it, and only the release made for this torch loads",
        'pip install that release of torchvision (requirements/constraints.txt has a tested pair)',
        _probe_torchvision,
        stops=True,
    ),
    Repair(
        'mmpretrain',
        "mmaction2's MobileOne backbone and image models need mmpretrain",
        "pip install 'mmpretrain>=1.2,<1.3' if you use them",
        _probe_package('mmpretrain', 'mmpretrain'),
    ),
    Repair(
        'pkg_resources',
        "mmengine imports pkg_resources, gone from setuptools >= 81, for configs based on 'mmaction::…'",
        "pip install 'setuptools<81'",
        _probe_pkg_resources,
    ),
    Repair(
        'drn',
        "mmaction2 1.2.0's wheel lacks mmaction/models/localizers/drn, so mmaction.models cannot be imported",
        'placeholder modules whose DRN raises a clear error when built',
        _probe_drn,
        _mend_drn,
    ),
    Repair(
        'multimodal',
        'multimodal models of mmaction2 and mmpretrain import names that transformers has since removed',
        'WITH_MULTIMODAL = False in both packages: only their multimodal models are left out',
        _probe_multimodal,
        _mend_multimodal,
    ),
    Repair(
        'safe-load',
        'torch >= 2.6 loads with weights_only=True, which refuses every MMEngine checkpoint on resume',
        "the classes in it are declared safe, with a getattr that answers HistoryBuffer's statistics only",
        _probe_safe_load,
        _mend_safe_load,
    ),
    Repair(
        'load',
        "MMEngine's load_from runs the code in a file at an address, and in any file where torch's default is changed",
        'each of its loads is made with weights_only=True',
        _probe_load,
        _mend_load,
    ),
    Repair(
        'lookup',
        "a look-up that starts in a child registry does not trigger the lazy imports of MMAction2's own",
        "the modules that fill MMAction2's registries are imported with this package",
        _probe_lookup,
        _mend_lookup,
    ),
    Repair(
        'cpu-launch',
        "MMEngine's launcher='pytorch', its DDP wrapper and torch's SyncBatchNorm ask for a GPU",
        'for several processes call mmnas_video.compat.init_cpu_process_group() before the Runner is built, '
        'and set model_wrapper_cfg = mmnas_video.compat.cpu_model_wrapper_cfg()',
        _probe_cpu_launch,
    ),
    Repair(
        'sync-bn',
        "torch's SyncBatchNorm asks for a GPU, and takes the place of layers that are told a window of channels",
        "sync_bn = 'torch' in a config uses layers of mmnas_video.entangle there",
        _probe_sync_bn,
        _mend_sync_bn,
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
