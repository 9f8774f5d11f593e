"""What holds for every space: checked on random ones."""

import json
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from mmnas_video.space import Arch, Choice, SearchSpace, arch_from_json, arch_to_json

SCALARS = st.one_of(
    st.integers(-(10**18), 10**18),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, 1, 0.0, 1.0, 2.25, True, False, None, '', '1', 'none']),
    st.text(max_size=5),
)
VALUES = st.lists(SCALARS, min_size=1, max_size=5, unique_by=lambda v: (type(v), v))
SPACES = st.dictionaries(st.text(max_size=6), VALUES, max_size=6).map(
    lambda table: SearchSpace('random', [Choice(name, values) for name, values in table.items()])
)


def typed(arch):
    return [(name, type(value), value) for name, value in arch.items()]


@settings(max_examples=150, deadline=None)
@given(SPACES, st.integers(0, 2**32))
def test_points(space, seed):
    """Rejects any disagreement of sample, encode, decode, contains, mutate and cross, whatever types are
    mixed.
    """
    rng = random.Random(seed)
    arch, other = space.sample(rng), space.sample(rng)
    assert arch in space and typed(space.decode(space.encode(arch))) == typed(arch)
    assert all(type(space[n].values[space[n].index(v)]) is type(v) for n, v in arch.items())
    own, others = space.encode(arch), space.encode(other)
    mutated, child = space.encode(space.mutate(arch, rng, 1.0)), space.encode(space.cross(arch, other, rng))
    for i, choice in enumerate(space):
        assert (mutated[i] != own[i]) == (len(choice) > 1) and child[i] in (own[i], others[i])
    assert typed(space.mutate(arch, rng, 0.0)) == typed(arch) == typed(space.cross(arch, arch, rng))


@settings(max_examples=150, deadline=None)
@given(SPACES, st.integers(0, 2**32))
def test_files(space, seed):
    """Rejects anything lost on the way to JSON and back: values, types, order, the hash."""
    arch = space.sample(random.Random(seed))
    data = arch_from_json(arch_to_json(arch, space.identity))
    assert typed(space.check_file(data)) == typed(arch)
    shuffled = list(arch.items())
    random.Random(seed).shuffle(shuffled)
    assert typed(space.check(Arch(dict(shuffled)))) == typed(arch)
    table = json.loads(json.dumps(space.to_dict()))
    assert SearchSpace('again', [Choice(c['name'], c['values']) for c in table['choices']]).hash == space.hash


@settings(max_examples=100, deadline=None)
@given(SPACES, SPACES, st.integers(0, 2**32))
def test_spaces_from_spaces(first, second, seed):
    """Rejects a fixed space with more than one arch in it, and unions whose size is not the product."""
    arch = first.sample(random.Random(seed))
    pinned = first.fix(arch)
    assert pinned.size == 1 and typed(pinned.smallest) == typed(arch) == typed(pinned.largest)
    half = first.fix(dict(list(arch.items())[::2]))
    assert arch in half and half.size * SearchSpace('x', first.choices[::2]).size == first.size
    both = SearchSpace.union('both', first.prefixed('a.'), second.prefixed('b.'))
    assert both.size == first.size * second.size
