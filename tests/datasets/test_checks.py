"""Parts that are empty or overlap are refused by name."""

import subprocess

import pytest

from mmnas_video.datasets import check_disjoint, check_not_empty
from mmnas_video.datasets.checks import check_some_exist, check_sources
from mmnas_video.errors import ConfigError


def test_disjoint_parts_pass():
    """Rejects a check that refuses a file that one part lists twice."""
    check_disjoint({'train': ['a', 'a', 'b'], 'held_out': ['c'], 'val': []})
    check_disjoint({})


def test_overlap_names_both_parts_and_the_files():
    """Rejects a check of neighbours only (here the first and the third overlap) or of the first file only."""
    parts = {'train_dataloader': list('abcdefg'), 'search.val': ['x'], 'val_dataloader': ['y', *'gfed']}
    with pytest.raises(ConfigError) as info:
        check_disjoint(parts)
    text = str(info.value)
    assert text.startswith('train_dataloader and val_dataloader: found 4 files in both (d, e, f, …)')
    with pytest.raises(ConfigError, match=r'1 files in both \(y\)'):
        check_disjoint({'one': ['y', 'z'], 'two': ['y']})


def test_a_suffix_that_the_reader_adds_is_not_missed(tmp_path):
    """Rejects a list without suffixes, to which MMAction2's decord reader adds .mp4; and one of which nothing is
    there."""
    (tmp_path / 'a.mp4').touch()
    check_some_exist([str(tmp_path / 'a')], 'key')
    with pytest.raises(ConfigError, match=r'key: found none of the 1 listed files looked for .*expected the paths'):
        check_some_exist([str(tmp_path / 'b')], 'key')


def test_empty_part_is_named():
    """Rejects a check that looks at the sum only."""
    check_not_empty({'train': ['a']})
    with pytest.raises(ConfigError, match='val_dataloader: found no clip'):
        check_not_empty({'train': ['a'], 'val_dataloader': []})


def test_a_byte_order_mark_is_refused_before_the_first_path_is_missed(tmp_path):
    """Rejects a first clip that is skipped as unreadable, and an overlap of it that nobody sees: MMAction2 takes the
    mark for a part of the path. The command that is named has to work."""
    place = tmp_path / 'my list.txt'
    place.write_text('c/a.mp4 0\n', encoding='utf-8-sig')
    with pytest.raises(
        ConfigError, match=r"^k\.ann_file: found a byte order mark .*my list\.txt', expected"
    ) as refused:
        check_sources(dict(ann_file=str(place)), 'k')
    command = str(refused.value).partition('without one: ')[2].partition(' removes it')[0]
    subprocess.run(command, shell=True, check=True)
    assert place.read_bytes() == b'c/a.mp4 0\n'
    check_sources(dict(ann_file=str(place)), 'k')
