"""tools/data/check_overlap.py on lists made by hand."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from mmnas_video.datasets.video_list import read_lines

FILE = Path(__file__).parents[2] / 'tools/data/check_overlap.py'


@pytest.fixture(scope='module')
def check_overlap():
    spec = importlib.util.spec_from_file_location('tools_data_check_overlap', FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def clip(letter, start=3, end=13, folder='c'):
    return f'{folder}/{letter * 11}_{start:06d}_{end:06d}.mp4'


@pytest.fixture
def lists(tmp_path):
    """Training: k400 has A B C; k600 has B (end moved), D, and E at another start. Validation: k400 D, k600 A E."""

    def make(name, paths):
        (tmp_path / name).write_text(''.join(f'{path} {n}\n' for n, path in enumerate(paths)))
        return str(tmp_path / name)

    return dict(
        k400=make('k400_train.txt', [clip('A'), clip('B'), clip('C')]),
        k600=make('k600_train.txt', [clip('B', end=14, folder='x'), clip('D', folder='x'), clip('E', 5, 15)]),
        val400=make('k400_val.txt', [clip('D', end=12, folder='v')]),
        val600=make('k600_val.txt', [clip('A', folder='w'), clip('E', 6, 16)]),
    )


def test_every_pair_is_looked_at(check_overlap, lists, capsys):
    """Rejects a comparison by path or whole name, one of list i with list i, and one that takes another start for the
    same clip."""
    args = ['--train', lists['k400'], lists['k600'], '--val', lists['val400'], lists['val600']]
    assert check_overlap.main(args) == 1
    out = capsys.readouterr().out.splitlines()
    assert [line.split(': ')[1] for line in out] == [
        '0 of 3 clips (0.00 %)',
        f'1 of 3 clips (33.33 %), such as {clip("A")}',
        f'1 of 3 clips (33.33 %), such as {clip("D", folder="x")}',
        '0 of 3 clips (0.00 %)',
    ]
    assert out[1].startswith(f'{lists["k400"]} and {lists["val600"]}: ')


def test_clean_lists_are_written(check_overlap, lists, tmp_path, capsys):
    """Rejects labels that are lost or renumbered, and a list cleaned of one validation list only."""
    args = ['--train', lists['k400'], lists['k600'], '--val', lists['val400'], lists['val600'], '--write']
    assert check_overlap.main([*args, str(tmp_path / 'clean')]) == 1
    assert (tmp_path / 'clean/k400_train.txt').read_text() == f'{clip("B")} 1\n{clip("C")} 2\n'
    expected = f'{clip("B", end=14, folder="x")} 0\n{clip("E", 5, 15)} 2\n'
    assert (tmp_path / 'clean/k600_train.txt').read_text() == expected
    assert 'k600_train.txt: 2 of 3 clips' in capsys.readouterr().out
    clean = [str(tmp_path / 'clean' / f'k{n}_train.txt') for n in (400, 600)]
    assert check_overlap.main(['--train', *clean, '--val', lists['val400'], lists['val600']]) == 0


def test_bad_input_is_one_line(check_overlap, lists, tmp_path, capsys):
    """Rejects a traceback, a list overwritten by its own clean copy, and two lists that overwrite each other."""
    (tmp_path / 'other').mkdir()
    twin = tmp_path / 'other/k400_train.txt'
    twin.write_text('x.mp4 1\n')
    official = tmp_path / 'k.csv'
    official.write_text('youtube_id,time_start,time_end\nAAAAAAAAAAA,3,13\n')
    val = ['--val', lists['val400']]
    cases = [
        (['--train', 'none.txt', *val], '--train: found no file'),
        (['--train', lists['k400'], '--val', 'none.txt'], '--val: found no file'),
        (['--train', lists['k400'], *val, '--write', str(tmp_path)], 'expected another folder'),
        (['--train', lists['k400'], str(twin), *val, '--write', str(tmp_path / 'c')], 'two training lists of one'),
        (['--train', str(official), *val, '--write', str(tmp_path / 'c')], 'expected text lists'),
    ]
    for args, words in cases:
        assert check_overlap.main(args) == 2
        error = capsys.readouterr().err
        assert error.startswith('error: ') and words in error and len(error.splitlines()) == 1, error
    assert Path(lists['k400']).read_text().count('\n') == 3 and not (tmp_path / 'c').exists()
    assert check_overlap.main(['--train', str(official), '--val', lists['val600']]) == 1


@pytest.mark.parametrize('suffix', ['txt', 'json', 'csv'])
def test_a_byte_order_mark_hides_no_video(suffix, check_overlap, tmp_path, capsys):
    """Rejects a leak that is not seen because it is the first of a list from an editor that begins UTF-8 with a mark,
    and a clean list that has the mark in the middle of nowhere."""
    train, val = tmp_path / 'train.txt', tmp_path / f'val.{suffix}'
    name = clip('A').split('/')[1].removesuffix('.mp4')
    text = {
        'txt': f'{name}.mp4 0\n',
        'json': json.dumps([{'id': name}]),
        'csv': f'youtube_id,time_start,time_end\n{"A" * 11},3,13\n',
    }[suffix]
    for place, content in ((train, f'{clip("A")} 0\n{clip("B")} 1\n'), (val, text)):
        place.write_text(content, encoding='utf-8-sig')
    assert check_overlap.main(['--train', str(train), '--val', str(val), '--write', str(tmp_path / 'clean')]) == 1
    assert '1 of 2 clips' in capsys.readouterr().out
    assert (tmp_path / 'clean/train.txt').read_text() == f'{clip("B")} 1\n'


def test_a_line_ends_where_mmaction2_ends_it(check_overlap, tmp_path):
    """Rejects a name with one of Unicode's other line ends in it, which a clean list then breaks at."""
    (tmp_path / 'train.txt').write_text('a\u2028b.mp4 0\nc\x85d.mp4 1\n', encoding='utf-8')
    (tmp_path / 'val.txt').write_text('c\x85d.mp4 1\n', encoding='utf-8')
    args = ['--train', f'{tmp_path}/train.txt', '--val', f'{tmp_path}/val.txt', '--write', f'{tmp_path}/clean']
    assert check_overlap.main(args) == 1
    assert (tmp_path / 'clean/train.txt').read_bytes() == 'a\u2028b.mp4 0\n'.encode()
    assert [line.path for line in read_lines(tmp_path / 'train.txt', 'LIST')] == ['a\u2028b.mp4', 'c\x85d.mp4']


def test_a_number_of_examples_below_none(check_overlap, lists, capsys):
    """Rejects all but the last clip named for −1."""
    assert check_overlap.main(['--train', lists['k400'], '--val', lists['val600'], '--examples', '-1']) == 2
    assert '--examples: found -1' in capsys.readouterr().err
