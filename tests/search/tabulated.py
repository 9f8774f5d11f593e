"""A tabulated search: every architecture's accuracy is known, so the optimum and the front are too."""

import itertools
import random
from collections.abc import Callable
from functools import cache

from mmnas_video.cost import Cost
from mmnas_video.space import Arch, Choice, SearchSpace

LAYERS = 5
SPACE = SearchSpace(
    'tabulated',
    [
        Choice('depth', (3, 4, 5)),
        *(
            choice
            for i in range(1, LAYERS + 1)
            for choice in (Choice(f'layer{i}.heads', (2, 3, 5)), Choice(f'layer{i}.ratio', (1, 2)))
        ),
    ],
)


@cache
def cost(arch) -> Cost:
    """MACs that grow with each layer that the depth reaches; parameters that fall with them."""
    used = range(1, arch['depth'] + 1)
    macs = sum(7 * arch[f'layer{i}.heads'] + 11 * arch[f'layer{i}.ratio'] for i in used)
    return Cost(macs, 1000 - macs)


@cache
def canonical(arch) -> Arch:
    """Layers beyond the depth are not there."""
    values = dict(arch)
    for i in range(arch['depth'] + 1, LAYERS + 1):
        values.update({f'layer{i}.heads': 2, f'layer{i}.ratio': 1})
    return Arch(values)


@cache
def every_arch() -> list[Arch]:
    """All 9,288 different networks of the space's 23,328 architectures."""
    grid = itertools.product(*(choice.values for choice in SPACE))
    return list(dict.fromkeys(canonical(Arch(dict(zip(SPACE.names, values, strict=True)))) for values in grid))


def accuracy(seed: int, interaction: float = 0.7) -> Callable[[Arch], float]:
    """A random table: an effect of each value, and of each pair of heads of neighbouring layers."""
    rng = random.Random(f'table {seed}')
    single = {(choice.name, value): rng.gauss(0, 1) for choice in SPACE for value in choice.values}
    heads = SPACE['layer1.heads'].values
    pairs = {
        (i, a, b): rng.gauss(0, interaction) for i in range(1, LAYERS) for a, b in itertools.product(heads, repeat=2)
    }

    def of(arch) -> float:
        used = range(1, arch['depth'] + 1)
        total = single['depth', arch['depth']] + 0.5 * arch['depth']
        for i in used:
            total += sum(single[name, arch[name]] for name in (f'layer{i}.heads', f'layer{i}.ratio'))
        return total + sum(pairs[i, arch[f'layer{i}.heads'], arch[f'layer{i + 1}.heads']] for i in used[:-1])

    return of
