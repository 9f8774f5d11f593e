"""A search's files, made up: what the report reads, with figures that are easy to recognise."""

import json
import math
import random

import pytest

from mmnas_video.space import Choice, SearchSpace, arch_to_json, mbconv3d_groups, mbconv3d_space

#: Three groups instead of AutoX3D's eleven: what most tests need, and a picture costs by its parts.
SMALL = (((12, 28, 4), (1, 2)), ((24, 64, 8), (3,)))


def _probs(rng, size, best, sharpness):
    weights = [math.exp(sharpness * (i == best) + 0.3 * rng.random()) for i in range(size)]
    return [w / sum(weights) for w in weights]


def _history(space, chosen, epochs, steps, arms, rng, target):
    """Choices settle one after another; the cost comes down to the target."""
    step = 0
    for epoch in range(1, epochs + 1):
        for _ in range(steps):
            archs = [space.encode(space.sample(rng)) for _ in range(arms)]
            macs = [int(target * (1 + 0.5 * rng.random() + 0.6 * math.exp(-epoch / 5))) for _ in archs]
            weights = [rng.random() for _ in archs]
            weights = [w / sum(weights) for w in weights]
            yield {
                'kind': 'step',
                'step': step,
                'epoch': epoch,
                'archs': archs,
                'scores': [-rng.random() for _ in archs],
                'macs': macs,
                'weights': weights,
                'ess': 1 / sum(w * w for w in weights),
                'loss': 2.0 * math.exp(-epoch / 9) + 0.3 * rng.random(),
            }
            step += 1
        probs, entropies = {}, {}
        for i, (choice, value) in enumerate(zip(space, chosen, strict=True)):
            turn = epochs * (0.15 + 0.7 * (i * 7 % len(space)) / len(space))
            p = _probs(rng, len(choice), value, 0.4 + 6 / (1 + math.exp(-(epoch - turn) * 0.8)))
            probs[choice.name], entropies[choice.name] = p, -sum(q * math.log(q) for q in p)
        best = [max(range(len(p)), key=p.__getitem__) for p in probs.values()]
        yield {
            'kind': 'epoch',
            'epoch': epoch,
            'entropy': sum(entropies.values()),
            'entropies': entropies,
            'probs': probs,
            'most_probable': best,
            'macs': int(target * (1 + 0.7 * math.exp(-epoch / 4) + 0.02 * rng.random())),
            'target': target,
            'score': -1.6 * math.exp(-epoch / 10) - 0.1 * rng.random(),
            'smallest_share': 0.11,
        }


def write_search(
    work_dir,
    space=None,
    stages=SMALL,
    blocks=None,
    epochs=17,
    steps=5,
    arms=7,
    candidates=23,
    seed=3,
    finished=True,
    target=53_000_000,
):
    """Write a made-up search into ``work_dir``; returns (space, chosen arch)."""
    rng = random.Random(seed)
    folder = work_dir / 'search'
    folder.mkdir(parents=True)
    if space is None:
        groups = mbconv3d_groups(stages, attentions=('none', 'glore', 'nonlocal'))
        space, blocks = mbconv3d_space(groups), {g.name: g.blocks for g in groups}
    chosen = space.encode(space.sample(rng))
    (folder / 'space.json').write_text(json.dumps({**space.to_dict(), **({'blocks': blocks} if blocks else {})}))
    lines = list(_history(space, chosen, epochs, steps, arms, rng, target))
    lines += [
        {
            'kind': 'candidate',
            'arch': space.encode(space.sample(rng)),
            'score': 0.3 + 0.4 * rng.random(),
            'macs': int(target * (0.6 + 0.5 * rng.random())),
            'params': 1_000_003,
        }
        for _ in range(candidates)
    ]
    (folder / 'history.jsonl').write_text(''.join(json.dumps(line, separators=(',', ':')) + '\n' for line in lines))
    arch = space.decode(chosen)
    if finished:
        search = {
            'method': 'PARSEC',
            'seed': 41,
            'budget': {'macs': target},
            'epoch': epochs,
            'score': -0.317,
            'commit': 'c0ffee1',
            'versions': {'torch': '2.11.0', 'mmaction2': '1.2.0'},
        }
        cost = {'macs': 52_345_678, 'params': 1_234_567, 'shape': [3, 13, 160, 160]}
        (folder / 'arch.json').write_text(arch_to_json(arch, space.identity, {'cost': cost, 'search': search}))
        names = ['searched', 'uniform (X3D-like)', *(f'random {i}' for i in range(1, 6))]
        top1 = [0.731, 0.682, 0.613, 0.707, 0.571, 0.659, 0.641]
        rows = [
            {
                'name': name,
                'macs': 52_345_678 + 101_000 * i,
                'params': 1_234_567 + 7_919 * i,
                'top1': top1[i],
                'arch': dict(arch if i == 0 else space.sample(rng)),
            }
            for i, name in enumerate(names)
        ]
        (folder / 'table.json').write_text(json.dumps({'rows': rows}))
    return space, arch


@pytest.fixture(autouse=True)
def few_drawings(monkeypatch):
    """A report draws the networks of all its points, 0.1 s each; most tests look at other things."""
    monkeypatch.setattr('mmnas_video.visualization.report.DRAWINGS', 2)


@pytest.fixture(scope='session')
def search_writer():
    """:func:`write_search`, for fixtures of a wider scope."""
    return write_search


@pytest.fixture
def make_search(tmp_path):
    """``make_search(name='a', **options)`` -> (work directory, space, arch); see :func:`write_search`."""

    def make(name='a', **options):
        work_dir = tmp_path / name
        space, arch = write_search(work_dir, **options)
        return work_dir, space, arch

    return make


@pytest.fixture
def grid_space():
    """A space whose names are not those of AutoX3D."""
    return SearchSpace(
        'vit',
        [
            Choice('depth', (11, 13)),
            Choice('embed', (192, 216, 240)),
            Choice('layer0.heads', (3, 5, 7, 9, 11)),
            Choice('layer0.ratio', (3.5, 4.0)),
        ],
    )
