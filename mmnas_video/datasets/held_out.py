"""Split one training list in two, so that α is trained on other clips than the weights."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from mmnas_video.errors import ConfigError

from .seed import derive_seed

PARTS = ('train', 'held_out')
NAMES = ('path', 'video')


@dataclass(frozen=True)
class HeldOut:
    """Which part of a list a dataset gives; ``held_out=dict(fraction=0.2, part='train')`` in a config."""

    fraction: float  # of each class's clips that are held out, in (0, 1)
    part: str  # 'train' or 'held_out'
    seed: int = 0  # of the split; the same in both parts
    by: str = 'path'  # what names a file: its path, or its video ('video_ids.py'), alike in all datasets that have it

    def indices(self, names: Sequence[str], labels: Sequence[Hashable]) -> list[int]:
        """Return the rows of this part, in list order; none if no class has two files to split.

        Each class is split by itself: its files are ranked by a hash of (seed, name) and the first share is
        held out. So the split depends neither on the order of the list nor on the other classes, and both
        parts get every class that has two files. A file that is listed twice is in one part only.

        Args:
            names: what identifies each row's file; not an absolute path, or the split would differ between
                machines.
            labels: each row's class.
        """
        label_of = dict(zip(reversed(names), reversed(labels), strict=True))  # the first row's label wins
        classes: dict[Hashable, list[str]] = {}
        for name, label in label_of.items():
            classes.setdefault(label, []).append(name)
        held: set[str] = set()
        for members in classes.values():
            members.sort(key=lambda name: (derive_seed(self.seed, 'held_out', name), name))
            count = round(self.fraction * len(members))
            held.update(members[: min(max(count, 1), len(members) - 1)])
        return [row for row, name in enumerate(names) if (name in held) == (self.part == 'held_out')]


def read_held_out(option: dict | None, key: str) -> HeldOut | None:
    """Check the ``held_out`` option of the dataset at config key ``key``; None means the whole list.

    Raises:
        ConfigError: an unknown or missing option, a part or a fraction that is none.
    """
    if option is None:
        return None
    unknown = sorted(set(option) - {'fraction', 'part', 'seed', 'by'})
    missing = sorted({'fraction', 'part'} - set(option))
    if unknown or missing:
        found = f'unknown {unknown}' if unknown else f'no {missing}'
        raise ConfigError(f'{key}.held_out: found {found}, expected dict(fraction=…, part=…, seed=0).')
    held = HeldOut(**option)
    if held.part not in PARTS:
        raise ConfigError(f'{key}.held_out.part: found {held.part!r}, expected one of {", ".join(PARTS)}.')
    if held.by not in NAMES:
        raise ConfigError(f'{key}.held_out.by: found {held.by!r}, expected one of {", ".join(NAMES)}.')
    if not 0 < held.fraction < 1:
        raise ConfigError(f'{key}.held_out.fraction: found {held.fraction}, expected a number between 0 and 1.')
    return held
