"""SearchSpace against definitions and counted frequencies."""

import itertools
import json
import random
from collections import Counter

import numpy as np
import pytest
import torch

from mmnas_video.errors import ConfigError
from mmnas_video.space import Arch, Choice, SearchSpace, arch_from_json, arch_to_json


def toy(name: str = 'toy') -> SearchSpace:
    """30 architectures; one choice with nothing to choose in the middle."""
    return SearchSpace(
        name,
        [
            Choice('s1.kernel', ('t1_s3', 't3_s3', 't5_s3')),
            Choice('s1.fixed', (7,)),
            Choice('s1.expansion', (1.5, 2.25, 3.0, 3.75, 4.5)),
            Choice('s2.se', (False, True)),
        ],
    )


def chi_square(counts: Counter, cells: int) -> float:
    expected = sum(counts.values()) / cells
    return sum((counts[c] - expected) ** 2 / expected for c in counts) + (cells - len(counts)) * expected


def test_size_and_order_of_indices():
    """Rejects a size in floating point, and an encoding that follows the arch's order and not the space's."""
    space = toy()
    assert space.size == 30 and len(space) == 4
    assert [c.name for c in space.open] == [space.names[i] for i in (0, 2, 3)]
    arch = Arch({'s2.se': True, 's1.fixed': 7, 's1.kernel': 't3_s3', 's1.expansion': 4.5})
    assert space.encode(arch) == (1, 0, 4, 1) and space.decode((1, 0, 4, 1)) == arch
    every = [space.decode(i) for i in itertools.product(range(3), range(1), range(5), range(2))]
    assert len(set(every)) == 30 and all(arch in space for arch in every)
    assert space.encode(space.smallest) == (0, 0, 0, 0) and space.encode(space.largest) == (2, 0, 4, 1)
    assert SearchSpace('big', [Choice(str(i), range(3)) for i in range(67)]).size == 3**67


@pytest.mark.parametrize('indices', [(0, 0, 0), (0, 0, 0, 0, 0), (3, 0, 0, 0), (0, 0, -1, 0)])
def test_indices_outside_are_refused(indices):
    """Rejects Python's negative indices, and a zip that ends with the shorter list."""
    with pytest.raises(ConfigError, match='expected'):
        toy().decode(indices)


def test_sample_is_uniform():
    """Rejects one draw shared by all choices, ``round`` in place of floor, and a last value that never comes.

    Chi-square over all 30 architectures; 58.3 is the 99.9 % point at 29 degrees of freedom.
    """
    space, rng = toy(), random.Random(11)
    counts = Counter(space.sample(rng) for _ in range(6000))
    assert chi_square(counts, 30) < 58.3


@pytest.mark.parametrize('rng', [0, np.random.default_rng(0), torch.Generator()], ids=lambda rng: type(rng).__name__)
def test_another_generator_is_refused(rng):
    """Rejects "has no attribute 'randrange'" for a seed, and a mutation that happens to draw nothing."""
    space = toy()
    for draw in (
        lambda: space.sample(rng),
        lambda: space.mutate(space.smallest, rng, 0.0),
        lambda: space.cross(space.smallest, space.largest, rng),
    ):
        with pytest.raises(ConfigError, match=r"rng: found .*expected a generator of Python's.*random\.Random\(0\)"):
            draw()


def test_sample_draws_from_its_generator_alone():
    """Rejects a draw from the global generator, and a sample that depends on anything but the generator's
    state.
    """
    space = toy()
    random.seed(5)
    state = random.getstate()
    first = [space.sample(random.Random(3)) for _ in range(3)]
    assert first[0] == first[1] == first[2]
    space.mutate(first[0], random.Random(4), 0.5), space.cross(first[0], space.largest, random.Random(4))
    assert random.getstate() == state


def test_mutate_takes_other_values_at_the_given_rate():
    """Rejects a draw over all values (a rate of p (n - 1) / n), a bias to neighbours, and one draw for all
    choices.
    """
    space, rng, n, p = toy(), random.Random(7), 6000, 0.3
    arch = space.decode((1, 0, 2, 0))
    before = dict(arch)
    mutated = [space.encode(space.mutate(arch, rng, p)) for _ in range(n)]
    assert dict(arch) == before
    for position, own, values in ((0, 1, 3), (2, 2, 5), (3, 0, 2)):
        changed = Counter(m[position] for m in mutated if m[position] != own)
        assert sum(changed.values()) / n == pytest.approx(p, abs=0.02)  # 3.4 standard deviations
        assert chi_square(changed, values - 1) < 16.3  # 99.9 % at 3 degrees of freedom
    both = sum(m[0] != 1 and m[2] != 2 for m in mutated) / n
    assert both == pytest.approx(p * p, abs=0.015)
    assert {m[1] for m in mutated} == {0}


@pytest.mark.parametrize(('p', 'changed'), [(0.0, 0), (1.0, 3)])
def test_mutate_at_its_ends(p, changed):
    """Rejects ``<=`` in the draw's comparison, and a mutation that may take the same value again."""
    space, rng = toy(), random.Random(1)
    for _ in range(200):
        arch = space.sample(rng)
        assert sum(arch[name] != value for name, value in space.mutate(arch, rng, p).items()) == changed


def test_cross_takes_each_value_from_either_parent():
    """Rejects one-point crossover and a fixed half: all 8 patterns over three choices come equally often."""
    space, rng = toy(), random.Random(2)
    first, second = space.decode((0, 0, 0, 0)), space.decode((2, 0, 4, 1))
    counts = Counter(space.encode(space.cross(first, second, rng)) for _ in range(4000))
    assert set(counts) == set(itertools.product((0, 2), (0,), (0, 4), (0, 1)))
    assert chi_square(counts, 8) < 24.4  # 99.9 % at 7 degrees of freedom


def test_hash_is_that_of_names_values_and_order():
    """Rejects a hash that holds the space's name, forgets the order (indices would mean other values) or
    types.
    """
    base = toy()
    assert toy('renamed').hash == base.hash and toy('renamed') == base and hash(toy('renamed')) == hash(base)
    assert SearchSpace('toy', [Choice(c.name, c.values) for c in base]).hash == base.hash
    others = [
        SearchSpace('toy', base.choices[::-1]),
        SearchSpace('toy', base.choices[:3]),
        base.prefixed('x.'),
        base.fix({'s2.se': True}),
        SearchSpace('toy', [*base.choices[:3], Choice('s2.se', (True, False))]),
        SearchSpace('toy', [*base.choices[:3], Choice('s2.se', (0, 1))]),
        SearchSpace('toy', [*base.choices[:3], Choice('s2.se', (0.0, 1.0))]),
        SearchSpace('toy', [*base.choices[:3], Choice('s2.se', ('False', 'True'))]),
    ]
    assert len({space.hash for space in others} | {base.hash}) == len(others) + 1


def test_known_hash():
    """Rejects Python's ``hash``, which is salted per process, and any change: files of earlier searches would
    be lost.
    """
    assert toy().hash == 'fe794ad5c27faa0f'
    assert toy().identity == {'name': 'toy', 'hash': toy().hash}


def test_space_as_json_data():
    """Rejects a ``space.json`` from which the space, its order or its types do not come back."""
    data = json.loads(json.dumps(toy().to_dict()))
    again = SearchSpace(data['name'], [Choice(c['name'], c['values']) for c in data['choices']])
    assert again.hash == data['hash'] == toy().hash and again.names == toy().names


def test_check_gives_the_space_its_own_types_and_order():
    """Rejects handing the caller's numbers on: an index by value, a file, and a cache key would
    then differ.
    """
    arch = toy().check({'s2.se': True, 's1.expansion': 3, 's1.kernel': 't1_s3', 's1.fixed': 7.0})
    assert list(arch) == list(toy().names)
    assert [type(v) for v in arch.values()] == [str, int, float, bool]


FAULTS = {
    'unknown': ({'s1.kernle': 't1_s3'}, ['s1.kernle']),
    'missing': ({'s1.expansion': None}, ['s1.expansion', '[1.5, 2.25, 3.0, 3.75, 4.5]']),
    'not offered': ({'s1.kernel': 't9_s9'}, ['s1.kernel', "'t9_s9'", "['t1_s3', 't3_s3', 't5_s3']"]),
    'bool for int': ({'s1.fixed': True}, ['s1.fixed', 'True', '[7]']),
    'int for bool': ({'s2.se': 1}, ['s2.se', 'found 1', '[False, True]']),
}


@pytest.mark.parametrize('name', FAULTS)
def test_an_arch_of_another_shape_is_refused(name):
    """Rejects a check of names or of values alone, and errors without the key, the value and the values
    offered.
    """
    change, parts = FAULTS[name]
    values = {**toy().smallest, **change}
    if name == 'missing':
        del values['s1.expansion']
    assert values not in toy() and Arch(values) not in toy() and toy().smallest in toy()
    with pytest.raises(ConfigError) as error:
        toy().check(values, 'backbone.arch')
    for part in ['backbone.arch', "'toy'", *parts]:
        assert part in str(error.value)


def test_many_faults_stay_readable():
    """Rejects an error of a page: three faults are shown, the rest counted."""
    with pytest.raises(ConfigError, match=r'and 6 more') as error:
        toy().check({f'x{i}': i for i in range(5)})
    assert "'x0'" in str(error.value) and "'x3'" not in str(error.value)


def test_a_file_of_another_space_is_refused_by_name_and_hash():
    """Rejects a check of the values alone: a file of another space that happens to fit is a mix-up."""
    space, other = toy(), toy('other').fix({'s2.se': True})
    data = arch_from_json(arch_to_json(other.smallest, other.identity))
    with pytest.raises(ConfigError) as error:
        space.check_file(data, 'a.json')
    for part in ('a.json', "'other'", other.hash, "'toy'", space.hash):
        assert part in str(error.value)


def test_files_that_are_of_this_space():
    """Rejects a comparison by name (a renamed space is the same one) or by hash alone (a narrowed one has
    another).
    """
    space = toy()
    for identity in (space.identity, toy('renamed').identity, {'name': 'toy', 'hash': 'of a narrowed space'}):
        data = arch_from_json(arch_to_json(space.largest, identity))
        assert space.check_file(data) == space.largest
    narrowed = space.fix({'s2.se': False})
    with pytest.raises(ConfigError, match=r's2\.se.*True'):
        narrowed.check_file(arch_from_json(arch_to_json(space.largest, space.identity)))


def test_read_takes_a_path_a_file_or_the_values(tmp_path):
    """Rejects a reader that skips the identity check for one of the three, or takes other types."""
    space = toy()
    path = tmp_path / 'arch.json'
    path.write_text(arch_to_json(space.largest, space.identity))
    data = json.loads(path.read_text())
    for arch in (path, str(path), data, dict(space.largest), space.largest):
        assert space.read(arch) == space.largest
    foreign = {**data, 'space': {'name': 'other', 'hash': '00'}}
    path.write_text(json.dumps(foreign))
    for arch in (path, str(path), foreign):
        with pytest.raises(ConfigError, match=r"backbone\.arch.*'other'"):
            space.read(arch, 'backbone.arch')
    for arch in (3, ['a'], None):
        with pytest.raises(ConfigError, match=r'backbone\.arch.*expected the path'):
            space.read(arch, 'backbone.arch')


def test_a_file_need_not_name_what_is_not_chosen(tmp_path):
    """Rejects a network that is given a part with one value (VIM-NAS's 3-D tubes behind an image search) and then
    refuses its own arch file, a value that takes the place of another one in the file, and one that fills in what is
    open; what is not read from a config is complete."""
    space, largest = toy(), dict(toy().largest)
    short = {name: value for name, value in largest.items() if name != 's1.fixed'}
    (tmp_path / 'a.json').write_text(arch_to_json(Arch(short), {'name': 'toy', 'hash': 'that of the space before'}))
    content = json.loads((tmp_path / 'a.json').read_text())
    for found in map(space.read, (tmp_path / 'a.json', short, content)):
        assert found == space.largest and list(found) == list(space.names)
    with pytest.raises(ConfigError, match='found 8, which is not offered'):
        space.read({**largest, 's1.fixed': 8})
    with pytest.raises(ConfigError, match=r"no value for 's2\.se'"):
        space.read({'s1.kernel': 't1_s3', 's1.expansion': 3.0})
    assert Arch(short) not in space
    with pytest.raises(ConfigError, match=r"no value for 's1\.fixed'"):
        space.check(short)


def test_fix_and_match():
    """Rejects a fixed space that loses its order or other choices, and patterns that quietly fit nothing."""
    space = toy()
    values = space.match({'s1.*': 7, '*.kernel': 't3_s3', 's1.exp*': 3.0})
    assert values == {'s1.kernel': 't3_s3', 's1.fixed': 7, 's1.expansion': 3.0}
    fixed = space.fix(values)
    assert fixed.names == space.names and fixed.size == 2 and [c.name for c in fixed.open] == ['s2.se']
    assert space.size == 30
    assert space.fix(space.largest).size == 1 and space.fix(space.largest).smallest == space.largest
    with pytest.raises(ConfigError, match=r"backbone\.fixed.*'s3\.\*'.*s1\.kernel"):
        space.match({'s3.*': 1}, 'backbone.fixed')
    with pytest.raises(ConfigError, match=r"'toy'.*kernel"):
        space.fix({'kernel': 't3_s3'})
    with pytest.raises(ConfigError, match=r"s1\.kernel.*'t7_s7'.*t5_s3"):
        space.fix({'s1.kernel': 't7_s7'})


def test_union_and_prefix():
    """Rejects a union that multiplies a shared choice twice, or takes the first of two that disagree."""
    space = toy()
    dense, sparse = space.prefixed('dense.'), space.prefixed('sparse.')
    both = SearchSpace.union('two', dense, sparse)
    assert both.size == 900 and both.names == dense.names + sparse.names and both.name == 'two'
    assert dense.names[0] == 'dense.s1.kernel' and dense['dense.s2.se'].values == (False, True)
    assert SearchSpace.union('one', space, toy(), SearchSpace('x', [Choice('y', (1, 2))])).size == 60
    with pytest.raises(ConfigError, match=r"'bad'.*'s2\.se'.*\[True\].*\[False, True\]"):
        SearchSpace.union('bad', space, space.fix({'s2.se': True}))


def test_a_name_twice_is_refused():
    """Rejects a dict that keeps the last of two choices: sizes and indices would not fit the list."""
    with pytest.raises(ConfigError, match=r"'toy'.*\['a'\]"):
        SearchSpace('toy', [Choice('a', (1,)), Choice('b', (1,)), Choice('a', (1, 2))])
