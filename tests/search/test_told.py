"""Lines of progress within a step."""

import logging

import pytest

from mmnas_video.search import told as module
from mmnas_video.search.told import told


@pytest.mark.parametrize(
    ('seconds', 'lines'),
    [
        (3, ['Scored: 4/7, 9 s left']),
        (6, ['Scored: 2/7, 30 s left', 'Scored: 4/7, 18 s left', 'Scored: 6/7, 6 s left']),
        (10, [f'Scored: {done}/7, {10 * (7 - done)} s left' for done in range(1, 7)]),
        (1, []),
    ],
)
def test_a_line_every_ten_seconds(seconds, lines, monkeypatch, caplog):
    """Rejects a line for each item, one of what is done at once, one after the last, and a rest that counts what is
    done."""
    now = [100.0]
    monkeypatch.setattr(module.time, 'monotonic', lambda: now[0])
    seen = []
    with caplog.at_level(logging.INFO):
        for item in told('abcdefg', 'Scored', logging.getLogger('told')):
            seen.append(item)
            now[0] += seconds
    assert ''.join(seen) == 'abcdefg' and caplog.messages == lines
