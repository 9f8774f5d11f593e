"""What tools/search.py does when it is told to end, as a real process with real signals."""

import pytest

from mmnas_video.testing import toy


@pytest.fixture
def config(tmp_path):
    """A config file of a search on vectors, and the command line that runs it; ``told`` is sent after its 9th step."""

    def write(told: str | None = None) -> list[str]:
        cfg = toy.config(dict(type='PARSECSearchHook', num_archs=2), epochs=3, work_dir=str(tmp_path / 'run'))
        cfg.custom_imports = dict(imports=['mmnas_video', 'tests.tools.signal_hook'], allow_failed_imports=False)
        if told:
            cfg.custom_hooks.append(dict(type='SignalHook', name=told, at=9))
        cfg.dump(tmp_path / 'search.py')
        return ['tools/search.py', tmp_path / 'search.py', '--no-retrain']

    return write


@pytest.mark.parametrize(
    ('told', 'status', 'words'),
    [
        ('SIGTERM', 143, 'the same command with --resume goes on from'),
        ('SIGINT', 130, 'the same command with --resume goes on from the last checkpoint'),
    ],
)
def test_says_how_to_go_on(told, status, words, config, tool, tmp_path):
    """Rejects a traceback, a status that looks like success or failure, and no word about --resume; what it says is
    true."""
    done = tool(*config(told))
    assert done.code == status and words in done.out + done.err and 'Traceback' not in done.err, done.err[-2000:]
    last = (tmp_path / 'run/last_checkpoint').read_text()
    assert last.endswith('within_epoch.pth' if told == 'SIGTERM' else 'epoch_1.pth')
    done = tool(*config(), '--resume').ok()
    assert f'arch: {tmp_path}/run/search/arch.json' in done.out
