"""``python -m mmnas_video``: what it prints, and its exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mmnas_video
from mmnas_video import __main__ as report
from mmnas_video import compat

ROOT = Path(__file__).parents[1]


def run(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command itself, with ``path`` before everything else that Python looks through."""
    search_path = os.pathsep.join(str(p) for p in (path, ROOT) if p)
    return subprocess.run(
        [sys.executable, '-m', 'mmnas_video', *arguments],
        env=os.environ | {'PYTHONPATH': search_path, 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def broken(name: str, found: str, stops: bool) -> compat.Repair:
    """A fault that is present and that no code mends."""
    return compat.Repair(name, f'why {name}', f'what mends {name}', lambda: found, stops=stops)


def test_json_in_a_working_environment():
    """Rejects text around the object, versions from memory, and a report made before anything was mended."""
    result = run('--json')
    assert result.returncode == 0, result.stderr
    printed = json.loads(result.stdout)
    assert printed['ok'] is True
    assert printed['error'] == ''
    assert printed['versions']['mmnas-video'] == mmnas_video.__version__
    assert printed['versions']['mmaction2'] == compat.version_of('mmaction2')
    states = {row['name']: row['state'] for row in printed['repairs']}
    assert states['lookup'] == 'mended'
    assert set(states) == {repair.name for repair in compat.REPAIRS}


def test_a_broken_torchvision_is_reported_not_raised(tmp_path):
    """Rejects an ``__init__`` that raises before the report is made, and exit code 0 for a broken stack."""
    fault = "raise RuntimeError('operator torchvision::nms does not exist')"
    (tmp_path / 'torchvision.py').write_text(fault)
    result = run(path=tmp_path)
    assert result.returncode == 1, result.stderr
    assert 'Traceback' not in result.stderr
    assert 'STOPS   torchvision' in result.stdout
    assert 'operator torchvision::nms does not exist' in result.stdout
    assert 'to mend it: pip install' in result.stdout
    assert result.stdout.endswith('This environment cannot run MMNAS-Video.\n')


def test_without_torch_it_reports_too(tmp_path):
    """Rejects probes that import what they are to look for."""
    hide = 'import sys\nsys.modules.update(torch=None, mmengine=None, mmcv=None)\n'
    (tmp_path / 'sitecustomize.py').write_text(hide)
    result = run('--json', path=tmp_path)
    assert result.returncode == 1, result.stderr
    stopping = [row['name'] for row in json.loads(result.stdout)['repairs'] if row['state'] == 'stops']
    assert stopping == ['torch', 'mmengine', 'mmcv']


@pytest.mark.parametrize(('stops', 'code'), [(True, 1), (False, 0)])
def test_only_what_stops_makes_it_fail(monkeypatch, capsys, stops, code):
    """Rejects failing on every note (a missing GPU is one), and passing over what stops."""
    monkeypatch.setattr(compat, 'REPAIRS', (*compat.REPAIRS, broken('gadget', 'no gadget', stops)))
    assert report.main([]) == code
    printed = capsys.readouterr().out
    for expected in ('gadget        why gadget', 'found: no gadget', 'to mend it: what mends gadget'):
        assert expected in printed


def test_an_error_while_registering_is_shown(monkeypatch, capsys):
    """Rejects a report that looks at packages only: an environment in which the import fails is not fit."""

    def fails() -> None:
        raise AttributeError("module 'mmaction' has no attribute 'x'")

    monkeypatch.setattr(mmnas_video, 'register', fails)
    assert report.main([]) == 1
    assert "AttributeError: module 'mmaction' has no attribute 'x'" in capsys.readouterr().out


def test_of_two_names_for_one_package_the_installed_one_is_shown(monkeypatch):
    """Rejects showing 'mmcv -' where mmcv-lite is installed, or 'mmcv-lite -' beside a full mmcv."""
    monkeypatch.setattr(compat, 'version_of', lambda *names: {'mmcv-lite': '2.1.0'}.get(names[0]))
    found = report.versions()
    assert found['mmcv-lite'] == '2.1.0'
    assert 'mmcv' not in found
    assert found['torch'] is None
