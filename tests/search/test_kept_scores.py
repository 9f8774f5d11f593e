"""Scores of a generation, or of the random search at the end, outlive a kill: nothing is scored twice."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.config import Config

from mmnas_video.errors import RunError
from mmnas_video.search.candidates import CandidateScorer
from mmnas_video.search.kept_scores import KeptScores, remove_scores
from mmnas_video.testing.method import Killed
from tests.conftest import forget_runs

from .toy import SPACE, checkpoint, config, loader, runner

EVOLUTION = dict(type='EvolutionSearchHook', population=3, top_k=2, eval_batches=2)
UNIFORM = dict(type='UniformSearchHook', candidates=7, score_batches=2)


@pytest.fixture
def scored(monkeypatch):
    """What is run, in order; ends the run before the architecture whose number stands in ``kill``."""
    archs, plain = [], CandidateScorer._sums

    def sums(self, arch, parts):
        if len(archs) == scored.kill:
            scored.kill = None
            raise Killed
        archs.append(SPACE.encode(arch))
        return plain(self, arch, parts)

    scored = SimpleNamespace(archs=archs, kill=None)
    monkeypatch.setattr(CandidateScorer, '_sums', sums)
    return scored


def search(hook, folder, resume=False, **changes):
    """The search, up to the kill; an evolution has 3 generations."""
    forget_runs()
    if hook['type'] == 'EvolutionSearchHook':
        hook = dict(hook, checkpoint=str(folder.parent / 'supernet.pth'))
        Path(hook['checkpoint']).write_bytes(Path(checkpoint()).read_bytes())
        changes = dict(train_dataloader=dict(loader(0), num_batch_per_epoch=1), **changes)
    cfg = config(hook, epochs=3, work_dir=str(folder), **changes)
    cfg.resume = resume
    try:
        type(runner(UNIFORM)).from_cfg(cfg).train()
    except Killed:
        return False
    return True


@pytest.mark.parametrize(('hook', 'kill'), [(EVOLUTION, 1), (EVOLUTION, 5), (UNIFORM, 3)])
def test_nothing_is_scored_twice(hook, kill, scored, tmp_path):
    """Killed before the candidate with this number. Rejects a resume that scores the generation's earlier ones again,
    takes them in another order, or leaves files behind."""
    assert search(hook, tmp_path / 'whole')
    whole, scored.archs[:] = list(scored.archs), []
    scored.kill = kill
    assert not search(hook, tmp_path / 'killed')
    assert search(hook, tmp_path / 'killed', resume=True)
    assert scored.archs == whole and len(whole) == len(set(whole)) > kill
    for name in ('history.jsonl', 'arch.json'):
        assert (tmp_path / 'whole/search' / name).read_bytes() == (tmp_path / 'killed/search' / name).read_bytes()
    assert not list(tmp_path.glob('*/search/scored*'))


def test_another_config_scores_anew(scored, tmp_path):
    """On one held-out batch after a kill on two. Rejects scores that were measured otherwise."""
    scored.kill = 4
    assert not search(EVOLUTION, tmp_path / 'killed')
    assert search(dict(EVOLUTION, eval_batches=1), tmp_path / 'killed', resume=True)
    assert scored.archs[3] == scored.archs[4]


def kept(folder, step=7, **cfg):
    """Of a run in ``folder``, at a step."""
    return KeptScores(SimpleNamespace(work_dir=str(folder), iter=step, cfg=Config({'seed': 3, **cfg})))


def test_files_of_all_ranks_are_found(tmp_path, monkeypatch):
    """Of three ranks before the kill, one of which was cut off in a line, and of two kills. Rejects the first rank's
    alone, half a line, rounded sums, and sums that are no numbers as an error."""
    known = {(0, 1): [1 / 3, 5.0], (2, 0): [math.inf, 2.0], (1, 1): [-1e300, 1.0]}
    for rank, (indices, sums) in enumerate(known.items()):
        monkeypatch.setattr('mmnas_video.search.kept_scores.get_rank', lambda rank=rank: rank)
        one = kept(tmp_path)
        one.add(indices, sums)
        one.close()
    with open(tmp_path / 'search/scored-2.jsonl', 'a') as file:
        file.write('[[2, 2], [1.')
    assert kept(tmp_path, resume=True, work_dir='elsewhere', launcher='pytorch').read() == known
    again = kept(tmp_path)
    again.add((2, 2), [0.5, 1.0])
    again.close()
    assert kept(tmp_path).read() == {**known, (2, 2): [0.5, 1.0]}
    assert [path.name for path in (tmp_path / 'search').iterdir()] == ['scored.jsonl']


@pytest.mark.parametrize('other', [dict(step=8), dict(seed=5)])
def test_of_another_step_or_config_there_is_nothing(other, tmp_path):
    """Rejects scores of the generation before, whose candidates may be the same in a random search begun anew."""
    one = kept(tmp_path)
    one.add((0, 1), [1.0, 5.0])
    one.close()
    assert kept(tmp_path, **other).read() == {}
    assert kept(tmp_path).read() == {}, 'the files are of the later one now'


def test_what_cannot_be_written_is_named(tmp_path):
    """Rejects a bare OSError."""
    (tmp_path / 'search').write_text('a file')
    with pytest.raises(RunError, match=r'scored-0\.jsonl.*cannot be written'):
        kept(tmp_path).add((0, 1), [1.0])


def test_a_foreign_file_of_that_name_is_none_of_ours(tmp_path):
    """Rejects an error for what another program has left."""
    folder = tmp_path / 'search'
    folder.mkdir()
    (folder / 'scored.jsonl').write_bytes(b'\xff\xfe')
    (folder / 'scored-3.jsonl').write_text('')
    assert kept(tmp_path).read() == {}
    remove_scores(SimpleNamespace(work_dir=str(tmp_path)))
    assert not list(folder.iterdir())
