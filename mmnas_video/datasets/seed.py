"""Seeds: one function that makes them, one context that uses them.

Every random decision of this package is a function of named parts, such as (seed, 'order', epoch), so that a
run which is killed and resumed meets the same numbers again without having saved the state of any generator.
"""

import hashlib
import json
import operator
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

Part = int | str


def derive_seed(*parts: Part) -> int:
    """Return a seed in [0, 2⁶³) that is a function of ``parts`` alone: on every machine, in every process.

    Integers (numpy's too) and strings are taken; ``1`` and ``'1'`` differ, and so do ``('a', 'bc')`` and
    ``('ab', 'c')``. Python's own ``hash`` would not do: it is salted per process.

    Raises:
        TypeError: a part is neither an integer nor a string.
    """
    return _seed(json.dumps(_plain(parts)))


def derive_seeds(*parts: Part, names: Iterable[str]) -> Iterator[int]:
    """``derive_seed(*parts, name)`` of each name, for millions of them: what they have in common is looked at once."""
    start = json.dumps(_plain(parts))[:-1]
    return (_seed(f'{start}, {json.dumps(name)}]') for name in names)


def _plain(parts: Iterable[Part]) -> list[Part]:
    return [part if isinstance(part, str) else operator.index(part) for part in parts]


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), 'big') >> 1


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed random, numpy and torch's CPU generator for the body, then give all three back as they were.

    ``torch.manual_seed`` is not used: it also seeds the GPU's generators, which then would not be given back,
    and every sample that is loaded in the main process would restart the dropout masks. The generators are those of the
    whole process: bodies that run at once, in threads, draw from each other's.
    """
    kept = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)  # numpy takes 32 bits
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])
        torch.default_generator.set_state(kept[2])


def reseed_process(seed: int) -> None:
    """Seed random, numpy and torch (every device) for good; for the main process at the start of an epoch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
