"""Parts that are empty or overlap are refused by name."""

import pytest

from mmnas_video.datasets import check_disjoint, check_not_empty
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


def test_empty_part_is_named():
    """Rejects a check that looks at the sum only."""
    check_not_empty({'train': ['a']})
    with pytest.raises(ConfigError, match='val_dataloader: found no clip'):
        check_not_empty({'train': ['a'], 'val_dataloader': []})
