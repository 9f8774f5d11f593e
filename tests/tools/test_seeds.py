"""tools/seeds.py: several seeds of one search, and how far they agree."""

import json

import pytest

from mmnas_video.errors import ConfigError
from mmnas_video.space import Choice, SearchSpace, agreement, chance_agreement
from tools.seeds import searched_space, table

CONFIG = 'configs/demo/autox3d_darts.py'
SPACE = SearchSpace('toy', [Choice('a', (1, 2)), Choice('b', (7,)), Choice('c', ('x', 'y', 'z', 'skip'))])
SEARCH = (
    'custom_hooks.0.warmup_epochs=0',
    'custom_hooks.0.score_batches=1',
    'custom_hooks.0.calibration_clips=4',
    'custom_hooks.0.init_std=1.0',
)


def test_agreement_is_a_share_of_pairs():
    """Three architectures: two of three agree on a (1 of 3 pairs), all on c. Rejects the share of the most frequent
    value (2 of 3), pairs of one with itself, and choices with one value, which always agree."""
    archs = [{'a': a, 'b': 7, 'c': 'skip'} for a in (1, 1, 2)]
    assert agreement(SPACE, archs) == {'a': pytest.approx(1 / 3), 'c': 1.0}
    assert chance_agreement(SPACE) == (1 / 2 + 1 / 4) / 2


def test_agreement_needs_two_architectures_of_the_space():
    """Rejects a share of no pairs, and values that are compared as text."""
    with pytest.raises(ConfigError, match='found 1 architectures'):
        agreement(SPACE, [SPACE.smallest])
    with pytest.raises(ConfigError, match=r"'a'.*3"):
        agreement(SPACE, [SPACE.smallest, {**SPACE.smallest, 'a': 3}])


def test_table():
    """Rejects columns of another seed, and an agreement of one seed with itself."""
    rows = [
        dict(seed=4, arch=dict(SPACE.smallest), score=0.25, macs=1234, test={}),
        dict(seed=5, arch=dict(SPACE.largest), score=None, macs=99999, test={'acc/top1': 0.5}),
    ]
    lines = [line.split() for line in table(SPACE, rows).splitlines()]
    assert lines[0] == ['choice', 'seed', '4', 'seed', '5', 'agreement']
    assert lines[1] == ['a', '1', '2', '0.00'] and lines[2] == ['c', 'x', 'skip', '0.00']
    assert lines[4] == ['by', 'chance', '0.38'] and lines[5] == ['held-out', 'score', '0.2500', '-']
    assert lines[6] == ['MACs', '1,234', '99,999'] and lines[7] == ['test', 'acc/top1', '-', '0.5000']
    assert table(SPACE, rows[:1]).splitlines()[1].split() == ['a', '1', '-']


def test_table_of_a_search_in_stages(tmp_path):
    """Rejects the space of the last stage, in which what the earlier ones chose has one value: an architecture of
    another seed is not of it."""
    pinned = SPACE.fix({'a': 1})
    stages = [{'name': 'one', 'folder': '1_one', 'opened': ['a']}, {'name': 'two', 'folder': '2_two', 'opened': ['c']}]
    for folder, space in (('1_one', SPACE.fix({'c': 'x'})), ('2_two', pinned), ('.', pinned)):
        (tmp_path / folder / 'search').mkdir(parents=True)
        (tmp_path / folder / 'search/space.json').write_text(json.dumps(space.to_dict()))
    (tmp_path / 'search/stages.json').write_text(json.dumps({'stages': stages}))
    space = searched_space(tmp_path)
    assert space.hash == SPACE.hash
    rows = [
        dict(seed=i, arch=dict(arch), score=None, macs=None, test={})
        for i, arch in enumerate((space.smallest, space.largest))
    ]
    assert table(space, rows).splitlines()[1].split() == ['a', '1', '2', '0.00']


@pytest.mark.slow
def test_two_seeds_and_a_resume(tool, tiny, tmp_path):
    """Rejects seeds that are ignored (two equal searches), a table that is not that of the arch files, and a resume
    that searches again."""
    command = ('tools/seeds.py', CONFIG, '--seeds', 2, '--seed', 7, '--work-dir', tmp_path)
    options = ('--cfg-options', *tiny(), *SEARCH)
    done = tool(*command, *options).ok()
    rows = json.loads((tmp_path / 'seeds.json').read_text())['rows']
    assert [row['seed'] for row in rows] == [7, 8] and rows[0]['arch'] != rows[1]['arch']
    files = [tmp_path / f'seed_{seed}/search/arch.json' for seed in (7, 8)]
    for row, file in zip(rows, files, strict=True):
        found = json.loads(file.read_text())
        assert row['arch'] == found['arch'] and found['search']['seed'] == row['seed'] and found['search']['final']
        assert row['score'] == found['search']['score'] is not None
    assert 'seed 7' in done.out and 'agreement' in done.out and '2 different architectures' in done.out
    written = [file.stat().st_mtime_ns for file in files]
    again = tool(*command, '--resume', *options).ok()
    assert [file.stat().st_mtime_ns for file in files] == written
    assert again.out.strip().splitlines()[-12:] == done.out.strip().splitlines()[-12:]


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('--seeds', 0), '--seeds: found 0'),
        (('--seeds', 2, '--resume', 'epoch_1.pth'), "--resume: found 'epoch_1.pth', expected no value"),
    ],
)
def test_what_makes_no_sense_is_refused(tool, tmp_path, words, message):
    """Rejects a table of nothing, and one checkpoint for all seeds."""
    tool('tools/seeds.py', CONFIG, '--work-dir', tmp_path, *words).refused(message)
