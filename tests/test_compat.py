"""compat.py: every repair is tried against its fault; what needs a fresh interpreter runs in one."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import mmnas_video
from mmnas_video import compat
from mmnas_video.errors import StackError
from mmnas_video.registry import MODELS

ROOT = Path(__file__).parents[1]
X3D_S = """
custom_imports = dict(imports=['mmnas_video'])
backbone = dict(type='X3D', gamma_w=1, gamma_b=2.25, gamma_d=2.2)
cls_head = dict(type='X3DHead', in_channels=432, num_classes=400, fc1_bias=False)
model = dict(type='Recognizer3D', backbone=backbone, cls_head=cls_head)
"""


def python(code: str, *path: Path) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a fresh interpreter that sees ``path`` before everything else."""
    search_path = os.pathsep.join(map(str, [*path, ROOT]))
    environment = os.environ | {'PYTHONPATH': search_path, 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, '-c', textwrap.dedent(code)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)


def distribution(folder: Path, name: str, version: str) -> None:
    """What pip leaves behind, as far as ``importlib.metadata`` looks."""
    info = folder / f'{name}-{version}.dist-info'
    info.mkdir(parents=True)
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')


# --- importing ----------------------------------------------------------------------------------------------


def test_the_space_needs_no_torch():
    """Rejects an ``__init__`` that imports torch, mmengine or numpy on the way to ``mmnas_video.space``."""
    result = python("""
        import sys
        sys.modules.update(dict.fromkeys(["torch", "mmengine", "mmcv", "mmaction", "numpy"]))
        import mmnas_video.space
        print(mmnas_video.space.SearchSpace.__name__)
    """)
    assert (result.returncode, result.stdout) == (0, 'SearchSpace\n'), result.stderr


def test_a_stock_config_gets_its_model_through_custom_imports(tmp_path):
    """A config as a MMAction2 user has it, read by MMEngine; the process itself imports nothing of ours.

    Rejects: no repair of the missing localizer folder (mmaction.models raises), none for a transformers that
    has lost names (the fake one here has none at all), and registering ours without filling MMAction2's
    registries (the modules are looked at directly, so that no lazy import can fill them late).
    """
    distribution(tmp_path, 'transformers', '5.7.0')
    (tmp_path / 'transformers').mkdir()
    (tmp_path / 'transformers/__init__.py').touch()
    config = tmp_path / 'config.py'
    config.write_text(X3D_S)
    result = python(
        f"""
        from mmengine.config import Config
        from mmengine.registry import MODELS, init_default_scope
        config = Config.fromfile({str(config)!r})
        host = MODELS.children["mmaction"]
        print("X3D" in host.module_dict, "DRN" in host.module_dict)
        init_default_scope("mmaction")  # as the Runner does for a config
        print(sum(p.numel() for p in MODELS.build(config.model).parameters()))
        from mmnas_video import compat
        print(*[f.repair.name for f in compat.findings() if f.state == "mended" and f.repair.name != "drn"])
        import mmaction.models, mmpretrain.models
        """,
        tmp_path,
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == 'True True'
    assert lines[1] == '3794322'  # facts: MMAction2's own X3D-S with 400 classes
    assert lines[2] == 'multimodal safe-load load lookup sync-bn'


def test_the_advice_survives_custom_imports(tmp_path):
    """Rejects a StackError that is an ImportError: MMEngine would replace its text by one about ``sys.path``.

    Rejects also a check that only looks whether torchvision is there: this one is, but for another torch.
    """
    distribution(tmp_path, 'torchvision', '0.21.0')
    (tmp_path / 'torchvision').mkdir()
    fault = "raise RuntimeError('operator torchvision::nms does not exist')"
    (tmp_path / 'torchvision/__init__.py').write_text(fault)
    (tmp_path / 'config.py').write_text("custom_imports = dict(imports=['mmnas_video'])\n")
    config = str(tmp_path / 'config.py')
    result = python(f'from mmengine.config import Config; Config.fromfile({config!r})', tmp_path)
    assert result.returncode == 1
    last = result.stderr[result.stderr.rindex('StackError') :]
    assert 'torchvision 0.21.0 beside torch' in last
    assert 'nms does not exist' in last
    assert 'pip install' in last
    assert 'sys.path' not in last


def test_a_placeholder_says_why_it_cannot_be_built():
    """Rejects a placeholder that builds an empty object, or a name that is not in the registry at all."""
    if compat.findings()[[r.name for r in compat.REPAIRS].index('drn')].state == 'absent':
        pytest.skip('this MMAction2 has its localizer')
    with pytest.raises(StackError, match=r"'DRN'.*localizers/drn.*Install"):
        MODELS.build({'type': 'DRN'})


def test_apply_again_changes_nothing():
    """Rejects repairs made twice: a second placeholder is another class than the one that is registered."""
    placeholder = 'mmaction.models.localizers.drn.drn'
    before = [finding.state for finding in compat.findings()], sys.modules[placeholder]
    mmnas_video.register()
    assert ([finding.state for finding in compat.findings()], sys.modules[placeholder]) == before


# --- what only an installation can mend ---------------------------------------------------------------------


@pytest.fixture
def installed(monkeypatch):
    """Pretend that distributions have these versions; None takes one away."""

    def pretend(**versions: str | None) -> None:
        real = compat.packages.version_of

        def version_of(*names: str) -> str | None:
            known = (versions.get(name.replace('-', '_'), real(name)) for name in names)
            return next((version for version in known if version), None)

        monkeypatch.setattr(compat.packages, 'version_of', version_of)

    return pretend


@pytest.mark.parametrize('version', ['1.7.1', '2.2.0', '2.2.0rc1', '2.11.0', '3.0'])
def test_an_mmcv_that_mmaction2_refuses_stops(installed, version):
    """Rejects comparing versions as text ('2.11' < '2.2'), letting mmaction2's bare assert speak, and one of the two
    distributions that is not looked at."""
    for full, lite in ((version, None), (None, version)):
        installed(mmcv=full, mmcv_lite=lite)
        with pytest.raises(StackError, match=rf'mmcv: found mmcv {version}.*pip install mmcv-lite==2.1.0'):
            compat.apply()


@pytest.mark.parametrize('version', ['0.24.1', '1.1.0', '1.3.0'])
def test_an_mmaction2_of_another_interface_stops(installed, version):
    """Rejects a version that the advice excludes and nothing looks at."""
    installed(mmaction2=version)
    with pytest.raises(StackError, match=rf'mmaction2: found mmaction2 {version}'):
        compat.apply()


@pytest.mark.parametrize(('full', 'lite'), [('2.1.0', None), ('2.0.1', None), (None, '2.1.0')])
def test_one_usable_mmcv_of_either_kind_is_left_alone(installed, full, lite):
    """Rejects a check that insists on mmcv-lite where a host has a working full mmcv."""
    installed(mmcv=full, mmcv_lite=lite)
    compat.apply()


def test_two_mmcv_in_one_folder_stop(installed):
    """Rejects believing the first of the two: the order of installation decides whose files are there."""
    installed(mmcv='2.1.0', mmcv_lite='2.1.0')
    with pytest.raises(StackError, match='both installed'):
        compat.apply()


def test_a_full_mmcv_built_for_another_torch_stops(tmp_path, monkeypatch, installed):
    """Rejects finding this out only when an optimiser is built, as an undefined symbol."""
    (tmp_path / '_ext.py').write_text("raise ImportError('undefined symbol: _ZN3c10')")
    installed(mmcv='2.1.0', mmcv_lite=None)
    monkeypatch.setattr(compat.packages, 'folder_of', lambda package: tmp_path)
    monkeypatch.setattr(sys.modules['mmcv'], '__path__', [str(tmp_path)])
    with pytest.raises(StackError, match=r'mmcv-ops: found mmcv 2\.1\.0: undefined symbol'):
        compat.apply()


@pytest.mark.parametrize('version', ['2.5.1', '2.4.0+cpu', '1.13'])
def test_a_torch_that_cannot_read_safely_stops(installed, version):
    """Rejects a stack on which a checkpoint is read by running the code in it, or not at all, and a refusal of the
    first that can."""
    installed(torch=version)
    with pytest.raises(StackError, match=rf'torch: found torch {re.escape(version)}\..*pip install'):
        compat.apply()
    installed(torch='2.6.0')
    compat.apply()


@pytest.mark.parametrize('package', ['torchvision', 'mmcv', 'mmaction', 'mmengine', 'torch'])
def test_a_missing_package_stops_with_what_to_install(monkeypatch, package):
    """Rejects a chain of ModuleNotFoundErrors from deep inside the host."""
    real = compat.packages.is_importable
    monkeypatch.setattr(compat.packages, 'is_importable', lambda name: name != package and real(name))
    with pytest.raises(StackError, match=rf'found (no )?{package}.*pip install'):
        compat.apply()


@pytest.mark.parametrize(('torch', 'wanted'), [('2.11.0+cpu', 'torchvision==0.26.*'), ('2.14.1', '==0.29.*')])
def test_the_torchvision_that_belongs_to_a_torch_is_named(torch, wanted, monkeypatch, installed):
    """Rejects 'install torchvision', which fetches the newest one and breaks the pair."""
    real = compat.packages.is_importable
    monkeypatch.setattr(compat.packages, 'is_importable', lambda name: name != 'torchvision' and real(name))
    installed(torch=torch)
    with pytest.raises(StackError, match=re.escape(wanted)):
        compat.apply()


def test_without_pkg_resources_the_remedy_is_named(monkeypatch):
    """Rejects stopping: only configs based on another package's need it."""
    monkeypatch.setattr(compat.packages, 'is_importable', lambda name: name != 'pkg_resources')
    (finding,) = [f for f in compat.findings() if f.repair.name == 'pkg_resources']
    assert finding.state == 'present'
    assert 'setuptools<81' in finding.repair.remedy


def test_distutils_where_python_has_none():
    """In a new process in which it is found nowhere but in setuptools, as by Python 3.12 and a PYTHONPATH. Rejects
    MMEngine's Runner, which reports the environment first, ended by that."""
    code = """
import importlib.machinery, sys
class Without(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name == 'distutils' else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Without
from mmengine.utils.dl_utils import collect_env
try:
    collect_env()
except ModuleNotFoundError:
    import mmnas_video
    print(mmnas_video.__name__, len(collect_env()) > 5)
"""
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    done = subprocess.run([sys.executable, '-S', '-c', code], capture_output=True, text=True, cwd=ROOT, env=env)
    assert done.stdout.split() == ['mmnas_video', 'True'], done.stderr


def test_only_imports_that_must_succeed_count(tmp_path):
    """Rejects collecting guarded or local imports, which break nothing when they fail."""
    (tmp_path / 'deep').mkdir()
    (tmp_path / 'deep/model.py').write_text(
        'from transformers.a import (B,\n    C as D)\nfrom transformersx import E\nimport os\n'
        'try:\n    from transformers.f import G\nexcept ImportError:\n    G = None\n'
        'def h():\n    from transformers.i import J\n'
    )
    assert compat.host_models.transformers_imports(tmp_path) == {('transformers.a', 'B'), ('transformers.a', 'C')}
