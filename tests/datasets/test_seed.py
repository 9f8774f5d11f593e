"""Seeds are functions of their parts; the body of ``seeded`` leaves no trace."""

import random

import numpy as np
import pytest
import torch

from mmnas_video.datasets.seed import derive_seed, derive_seeds, seeded


def test_known_values():
    """Rejects Python's ``hash``, which is salted per process, and any change: recorded runs would be other
    ones."""
    assert derive_seed(0) == 6197007067532723406
    assert derive_seed(7, 'order', 3) == 1829972018338191065


def test_seeds_of_many_names_are_those_of_each():
    """Rejects another text that is hashed, by which every held-out part would be another one: quotes, backslashes,
    other alphabets and numpy's integers are written as before."""
    names = ['a/b.mp4', 'öl 水/c "d"\\e.mp4', '', ']', '7']
    for parts in ((3, 'held_out'), (np.int64(3), 'held_out'), ('x',)):
        assert list(derive_seeds(*parts, names=names)) == [derive_seed(*parts, name) for name in names]


def test_parts_are_told_apart():
    """Rejects sums (seed + epoch + index) and joined text, under which different parts meet."""
    parts = [
        (1, 23),
        (12, 3),
        ('1', 23),
        (1, '23'),
        ('a', 'bc'),
        ('ab', 'c'),
        (3, 1),
        (1, 3),
        (2, 2),
        (123,),
        ('123',),
    ]
    assert len({derive_seed(*p) for p in parts}) == len(parts)


def test_range_and_numpy_integers():
    """Rejects seeds that torch refuses (64 bits unsigned), and numpy integers that seed otherwise than
    Python's."""
    seeds = [derive_seed('x', i) for i in range(500)]
    assert max(seeds) < 2**63 and min(seeds) >= 0 and max(seeds) > 2**62
    assert derive_seed(np.int64(5)) == derive_seed(5)
    with pytest.raises(TypeError):
        derive_seed(0.5)


def draws() -> tuple:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_seeded_repeats_and_gives_back():
    """Rejects a context that leaves any of the three generators moved, also after an error in its body."""
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    expected = draws()
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    with seeded(11):
        first = draws()
    with pytest.raises(ZeroDivisionError), seeded(12):
        draws(), 1 / 0
    with seeded(11):
        assert draws() == first
    assert draws() == expected


def test_seeded_leaves_the_gpu_alone(monkeypatch):
    """Rejects ``torch.manual_seed``: each sample loaded in the main process would restart the GPU's dropout
    masks."""
    monkeypatch.setattr(torch.cuda, 'manual_seed_all', lambda seed: pytest.fail('seeds the GPU'))
    with seeded(5):
        draws()
