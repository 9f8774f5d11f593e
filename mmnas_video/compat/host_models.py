"""What keeps MMAction2's models from being imported or found: a missing folder, lost names, lazy imports."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from mmnas_video.errors import StackError

from . import packages

# --- mmaction2's wheel lacks a folder -----------------------------------------------------------------------

_DRN = 'mmaction.models.localizers.drn'


def probe_drn() -> str | None:
    """A MMAction2 without the folder."""
    folder = packages.folder_of('mmaction')
    if folder is None or (folder / 'models/localizers/drn/drn.py').is_file():
        return None
    return f'mmaction2 {packages.version_of("mmaction2")} without models/localizers/drn'


def mend_drn() -> None:
    """Put modules with a ``DRN`` that says why it cannot be built where the wheel has none."""
    from mmaction.registry import MODELS

    class DRN:
        """Stands for the localizer that MMAction2's wheel left out."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            raise StackError(
                f"model type 'DRN': found a MMAction2 {packages.version_of('mmaction2')} without its folder "
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


def transformers_imports(folder: Path) -> set[tuple[str, str]]:
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
    folder = packages.folder_of(package)
    version = packages.version_of('transformers')
    if folder is None or version is None or packages.numbers(version) < (4, 28):
        return None  # both packages leave their multimodal models out below 4.28
    for module, name in sorted(transformers_imports(folder / 'models')):
        try:
            if hasattr(importlib.import_module(module), name):
                continue
            reason = 'the name is gone'
        except Exception as error:  # its lazy modules raise whatever the backend that they look for raises
            reason = f'{type(error).__name__}: {error}'.partition('\n')[0]
        return f'{package} asks transformers {version} for {module}.{name} ({reason})'
    return None


def probe_multimodal() -> str | None:
    """A name that either package asks of transformers in vain."""
    return _lost_transformers_name('mmaction') or _lost_transformers_name('mmpretrain')


def mend_multimodal() -> None:
    """Tell both packages that there is no transformers for them.

    mmpretrain reads the switch while its ``__init__`` runs, so the module that holds it is loaded first.
    """
    for package in ('mmaction', 'mmpretrain'):
        name, folder = f'{package}.utils.dependency', packages.folder_of(package)
        if folder is None:
            continue
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, folder / 'utils/dependency.py')
            assert spec is not None and spec.loader is not None
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        sys.modules[name].WITH_MULTIMODAL = False  # type: ignore[attr-defined]


# --- look-ups that start in a child registry ----------------------------------------------------------------

_PARTS = ('datasets', 'engine', 'evaluation', 'models', 'visualization')
_FILLING = tuple(f'mmaction.{part}' for part in _PARTS)


def probe_lookup() -> str | None:
    """Modules that fill the registries and are not imported yet."""
    missing = [name for name in _FILLING if name not in sys.modules]
    return f'{", ".join(missing)} not imported yet' if missing and packages.is_importable('mmaction') else None


def mend_lookup() -> None:
    """Import them."""
    with warnings.catch_warnings():
        # mmcv-lite says at import that an operator is missing; only detectors use it.
        warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')
        for name in _FILLING:
            importlib.import_module(name)
