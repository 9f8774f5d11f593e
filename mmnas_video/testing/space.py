"""check_space: what every search space must do."""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import pairwise

from mmnas_video.errors import ConfigError
from mmnas_video.space import Arch, Choice, SearchSpace, Value, arch_from_json, arch_to_json


def check_space(space: SearchSpace, draws: int = 400, seed: int = 0) -> None:
    """Put a search space through what search methods, arch files and reports rely on.

    Args:
        space: the space; at least one choice must be open.
        draws: random architectures looked at; with 400 a value of 12 is missed once in 10^15.
        seed: of these.

    Raises:
        AssertionError: says which property does not hold, and where.
    """
    assert space.open, f'{space!r}: nothing is open, so there is nothing to search'
    _check_order(space)
    archs = _check_sampling(space, draws, seed)
    for arch in [space.smallest, space.largest, *archs[:20]]:
        _check_arch(space, arch)
    _check_operators(space, archs, random.Random(seed))
    _check_refusals(space)
    _check_identity(space)


def _check_order(space: SearchSpace) -> None:
    for choice in space:
        numbers = [v for v in choice.values if isinstance(v, (int, float)) and not isinstance(v, bool)]
        if len(numbers) == len(choice.values):
            assert all(a < b for a, b in pairwise(numbers)), (
                f'{choice.name}: the values {list(choice.values)} do not ascend, so space.smallest is not'
            )
    size = 1
    for choice in space:
        size *= len(choice.values)
    assert space.size == size, f'size: found {space.size}, expected the product {size}'


def _check_sampling(space: SearchSpace, draws: int, seed: int) -> list[Arch]:
    state = random.getstate()
    archs, again = ([space.sample(rng) for _ in range(draws)] for rng in (random.Random(seed), random.Random(seed)))
    assert random.getstate() == state, 'sample: drew from the global generator, expected the one that is passed in'
    assert archs == again, 'sample: the same generator state gave other architectures'
    for choice in space:
        missed = set(choice.values) - {arch[choice.name] for arch in archs}
        assert not missed, f'sample: {choice.name} never was {sorted(missed, key=str)} in {draws} draws'
    return archs


def _check_arch(space: SearchSpace, arch: Mapping[str, Value]) -> None:
    assert arch in space, f'not contained in its own space: {arch!r}'
    assert tuple(arch) == space.names, f'names out of order: {tuple(arch)}'
    indices = space.encode(arch)
    assert all(0 <= i < len(c) for i, c in zip(indices, space, strict=True)), f'encode: found {indices}'
    assert space.decode(indices) == arch, f'decode(encode(arch)) is another architecture: {arch!r}'
    read = space.check_file(arch_from_json(arch_to_json(Arch(arch), space.identity)))
    assert read == arch and hash(read) == hash(arch), f'the way through a file gave another architecture: {read!r}'
    pinned = space.fix(arch)
    assert pinned.size == 1 and pinned.smallest == arch, f'fix: all values pinned leave {pinned!r}'


def _check_operators(space: SearchSpace, archs: list[Arch], rng: random.Random) -> None:
    state = random.getstate()
    for first, second in pairwise(archs[:21]):
        moved = space.mutate(first, rng, 1.0)
        assert moved in space, f'mutate: left the space: {moved!r}'
        kept = [choice.name for choice in space.open if moved[choice.name] == first[choice.name]]
        assert not kept, f'mutate: with probability 1 left {kept} as it was'
        assert space.mutate(first, rng, 0.0) == first, 'mutate: with probability 0 changed something'
        child = space.cross(first, second, rng)
        foreign = [name for name in space.names if child[name] not in (first[name], second[name])]
        assert child in space and not foreign, f'cross: {foreign} from neither parent'
    assert random.getstate() == state, 'mutate or cross: drew from the global generator'


def _check_refusals(space: SearchSpace) -> None:
    good, name = dict(space.smallest), space.open[0].name
    for bad, word in (
        ({**good, 'no such choice': 1}, 'no such choice'),
        ({**good, name: 'no such value'}, name),
        ({k: v for k, v in good.items() if k != name}, name),
    ):
        assert bad not in space, f'contains: took {bad!r}'
        try:
            space.check(bad)
        except ConfigError as error:
            assert word in str(error), f'check: the error does not name {word!r}: {error}'
        else:
            raise AssertionError(f'check: took {bad!r}')


def _check_identity(space: SearchSpace) -> None:
    assert SearchSpace('another name', space.choices).hash == space.hash, 'hash: depends on the name of the space'
    choice = space.open[0]
    turned = [Choice(c.name, tuple(reversed(c.values))) if c is choice else c for c in space]
    assert SearchSpace(space.name, turned).hash != space.hash, 'hash: does not depend on the order of the values'
