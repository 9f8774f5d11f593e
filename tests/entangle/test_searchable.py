"""The active architecture, and finding the one module that holds it."""

import pytest
import torch
from torch import nn

from mmnas_video.entangle import (
    Searchable,
    Slice,
    copy_slices,
    extract_state,
    find_searchable,
    lay_windows,
)
from mmnas_video.errors import ConfigError
from mmnas_video.space import Choice, SearchSpace
from tests.helpers import unused_masks

SPACE = SearchSpace('toy', [Choice('width', (2, 3, 5)), Choice('extra', (False, True))])


class Toy(Searchable, nn.Module):
    """Two vectors: a window of the first is used, the second or not; a counter as a buffer."""

    def __init__(self, widths=(2, 3, 5), extra=True) -> None:
        nn.Module.__init__(self)
        Searchable.__init__(self, SPACE)
        self.windows = dict(zip(widths, lay_windows(widths), strict=True))
        self.weight = nn.Parameter(torch.randn(max(widths), 7))
        self.extra = nn.Parameter(torch.randn(11)) if extra else None
        self.whole = nn.Parameter(torch.randn(13))
        self.register_buffer('count', torch.tensor(17))

    def slices(self, arch):
        yield Slice('weight', (self.windows[arch['width']],))
        if arch['extra']:
            yield Slice('extra')
        yield Slice('whole')
        yield Slice('count')


def test_use_restores_the_arch_it_found():
    """Rejects a context that resets to the largest, or leaves the arch behind after an error or a refused
    arch.
    """
    model = Toy()
    first, second = SPACE.decode((0, 1)), SPACE.decode((1, 0))
    assert model.arch == SPACE.largest
    with model.use(first) as active:
        assert model.arch == first == active
        with model.use(dict(second)):
            assert model.arch == second
        assert model.arch == first
        with (
            pytest.raises(ConfigError, match=r"'width'.*4.*\[2, 3, 5\]"),
            model.use({'width': 4, 'extra': True}),
        ):
            pass
        assert model.arch == first
        with pytest.raises(ZeroDivisionError), model.use(second):
            1 / 0  # noqa: B018
        assert model.arch == first
    assert model.arch == SPACE.largest


def test_two_models_do_not_share_their_arch():
    """Rejects an active arch on the class: the EMA copy or a second backbone would follow."""
    one, two = Toy(), Toy()
    with one.use(SPACE.smallest):
        assert two.arch == SPACE.largest


def test_find_takes_the_outermost():
    """Rejects the first in any order, an inner one, and a name that is not a path in the state dict."""
    inner = Toy()
    outer = nn.ModuleDict({'head': nn.Linear(3, 5), 'backbone': nn.Sequential(nn.Identity(), inner)})
    assert find_searchable(outer) == ('backbone.1', inner) and find_searchable(inner) == ('', inner)
    inner.nested = Toy()
    assert find_searchable(outer) == ('backbone.1', inner) and find_searchable(inner) == ('', inner)


@pytest.mark.parametrize('names', [(), ('a', 'ab')])
def test_find_refuses_none_and_two(names):
    """Rejects a silent first of two; ``ab`` is no part of ``a`` although its name begins so."""
    model = nn.ModuleDict({name: Toy() for name in names})
    with pytest.raises(ConfigError, match=f'found {len(names)} searchable.*expected one'):
        find_searchable(model)


def test_extract_copies_the_slices_and_the_rest_whole():
    """Rejects views (training the extracted network would train the supernet), a window as a prefix, parts of
    the model
    outside the searchable module left out, and parts that the arch does not use carried along.
    """
    model = nn.ModuleDict({'backbone': Toy(), 'head': nn.Linear(3, 5)})
    arch = SPACE.decode((1, 0))
    state = extract_state(model, arch)
    names = {'backbone.weight', 'backbone.whole', 'backbone.count', 'head.weight', 'head.bias'}
    assert set(state) == names
    assert torch.equal(state['backbone.weight'], model['backbone'].weight[2:5])  # 2 fills parts 0-1, 3 parts 2-4
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for value in state.values():
        assert value.is_contiguous()
        value.add_(1)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_copy_refuses_another_network():
    """Rejects a load that is not strict: missing layers would keep random weights."""
    model, arch = Toy(), SPACE.decode((1, 0))
    pinned = Toy((3,), extra=False)
    assert copy_slices(model, arch, pinned) is pinned and torch.equal(pinned.weight, model.weight[2:5])
    for other in (Toy((3,), extra=True), Toy((2,), extra=False)):
        with pytest.raises(ConfigError, match=r'extract: the pinned network(.|\n)*(extra|weight)'):
            copy_slices(model, arch, other)
    with pytest.raises(ConfigError, match=r"'width'.*7"):
        extract_state(model, {'width': 7, 'extra': True})


def test_unused_masks_are_what_no_arch_uses():
    """Rejects masks of the last arch alone, of the intersection, inverted ones, and buffers among the
    parameters.
    """
    model = Toy()
    masks = unused_masks(model, [SPACE.decode((0, 0)), SPACE.decode((1, 0))])
    assert set(masks) == {'extra'} and masks['extra'].all()  # 2 and 3 together cover all 5
    masks = unused_masks(model, [SPACE.decode((1, 1))])
    assert set(masks) == {'weight'} and masks['weight'].shape == (5, 7)
    assert masks['weight'].all(1).tolist() == [True, True, False, False, False] == masks['weight'].any(1).tolist()
    assert unused_masks(model, [SPACE.largest]) == {}


def test_what_is_not_declared_is_an_error():
    """Rejects a default that quietly slices or costs nothing."""
    bare = Searchable(SPACE)
    for ask in (
        lambda: bare.slices(SPACE.largest),
        lambda: bare.cost(SPACE.largest, (3,)),
        lambda: bare.cost_range((3,)),
    ):
        with pytest.raises(TypeError, match='Searchable declares no'):
            ask()
    assert bare.pinned_cfg(SPACE.largest) == {'arch': {'width': 5, 'extra': True}}


def test_weights_stand_for_the_heaviest_value_of_each_choice():
    """Rejects values by another choice's weights, the last of equals, and a choice without weights that is refused
    although nothing is open in it."""
    space = SearchSpace('toy', [Choice('width', (2, 3, 5)), Choice('fixed', (7,)), Choice('op', ('a', 'b'))])
    weights = {'op': [0.5, 0.5], 'width': [0.1, 0.7, 0.2]}
    assert Searchable(space).derive(weights) == {'width': 3, 'fixed': 7, 'op': 'a'}


@pytest.mark.parametrize(('row', 'found'), [(None, 0), ([], 0), ([0.7, 0.3], 2), ([0.1, 0.2, 0.3, 0.4], 4)])
def test_weights_that_are_not_those_of_the_space_are_refused(row, found):
    """Rejects the smallest value in silence for a choice whose weights are missing, too few or too many."""
    weights = {'extra': [0.5, 0.5]} | ({} if row is None else {'width': row})
    with pytest.raises(ConfigError, match=f'derive: width: found {found} weights, expected 3'):
        Searchable(SPACE).derive(weights)
