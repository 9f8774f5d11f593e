"""The old checkpoint stands until the new one does."""

import pytest
import torch

from .toy import runner

PARSEC = dict(type='PARSECSearchHook', num_archs=2)


def test_a_write_that_fails_loses_nothing(tmp_path, monkeypatch):
    """Disk full while the third checkpoint is written: the second stands, whole, and last_checkpoint names it. Rejects
    the stock order, which deletes the oldest first and leaves a torn file under the final name."""
    real, calls = torch.save, []

    def failing(obj, file, *args, **kwargs):
        calls.append(file)
        if len(calls) == 3:
            raise OSError(28, 'No space left on device')
        return real(obj, file, *args, **kwargs)

    monkeypatch.setattr(torch, 'save', failing)
    with pytest.raises(OSError, match='No space left'):
        runner(PARSEC, work_dir=str(tmp_path), epochs=4).train()
    left = sorted(path.name for path in tmp_path.glob('*.pth'))
    assert left == ['epoch_1.pth', 'epoch_2.pth']
    assert (tmp_path / 'last_checkpoint').read_text().endswith('epoch_2.pth')
    assert torch.load(tmp_path / 'epoch_2.pth', weights_only=True)['search']['method'] == 'PARSECSearchHook'


def test_two_are_kept(tmp_path):
    """Rejects keeping all, and deleting the newest."""
    runner(PARSEC, work_dir=str(tmp_path), epochs=5).train()
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == '.pth') == ['epoch_4.pth', 'epoch_5.pth']
    assert not list(tmp_path.glob('.*writing'))


def test_an_earlier_search_is_set_aside_not_overwritten(tmp_path):
    """Rejects a second search in one work dir that destroys the first one's history."""
    for _ in range(2):
        runner(PARSEC, work_dir=str(tmp_path), epochs=1).train()
    assert (tmp_path / 'search-1' / 'arch.json').is_file() and (tmp_path / 'search' / 'arch.json').is_file()
    one, two = ((tmp_path / name / 'history.jsonl').read_text() for name in ('search-1', 'search'))
    assert one == two  # the same seed: the same search
