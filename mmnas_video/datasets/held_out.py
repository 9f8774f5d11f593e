"""Split one training list in two, so that α is trained on other clips than the weights."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real

from mmnas_video.errors import ConfigError, refuse_unknown, shown

from .seed import derive_seeds

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
        parts get every class that has two files.

        Rows of one name are in one part only, whatever their classes: a video that shows two of them, but also files
        that each class numbers anew (``a/01.mp4``, ``b/01.mp4``) where names are videos. Then a class depends on those
        it shares names with: the smaller one is split first, and no name is held out that is the last of any class.

        Args:
            names: what identifies each row's file; not an absolute path, or the split would differ between
                machines.
            labels: each row's class, or a tuple of several.
        """
        classes_of: dict[str, tuple[Hashable, ...]] = {}
        rows = zip(names, labels, strict=True)
        pairs = ((name, one) for name, label in rows for one in (label if isinstance(label, tuple) else (label,)))
        for name, label in dict.fromkeys(pairs):
            classes_of[name] = (*classes_of.get(name, ()), label)
        members: dict[Hashable, list[str]] = {}
        for _, name in sorted(zip(derive_seeds(self.seed, 'held_out', names=classes_of), classes_of, strict=True)):
            for label in classes_of[name]:
                members.setdefault(label, []).append(name)
        left = {label: len(ranked) for label, ranked in members.items()}
        held: set[str] = set()
        for label, ranked in sorted(members.items(), key=lambda item: (len(item[1]), str(item[0]))):
            least = len(ranked) - max(round(self.fraction * len(ranked)), 1)
            for name in ranked:
                if left[label] <= least:
                    break
                if name not in held and all(left[one] > 1 for one in classes_of[name]):
                    held.add(name)
                    left.update({one: left[one] - 1 for one in classes_of[name]})
        return [row for row, name in enumerate(names) if (name in held) == (self.part == 'held_out')]


def read_held_out(option: dict | None, key: str) -> HeldOut | None:
    """Check the ``held_out`` option of the dataset at config key ``key``; None means the whole list.

    A ``pipeline`` in it is none of the split's: a search scores through it (:mod:`mmnas_video.search.held_out`).

    Raises:
        ConfigError: no dict, an unknown or missing option, a part, a fraction, a seed or a pipeline that is none.
    """
    if option is None:
        return None
    refuse_unknown(f'{key}.held_out', option, [*(field.name for field in fields(HeldOut)), 'pipeline'])
    option = dict(option)
    pipeline = option.pop('pipeline', None)
    missing = sorted({'fraction', 'part'} - set(option))
    if missing:
        raise ConfigError(f"{key}.held_out: found no {missing}, expected dict(fraction=…, part=…, seed=0, by='path').")
    steps = pipeline if isinstance(pipeline, Sequence) else ()
    if pipeline is not None and not (steps and all(isinstance(step, Mapping) and 'type' in step for step in steps)):
        raise ConfigError(
            f"{key}.held_out.pipeline: found {shown(pipeline)}, expected a list of steps, [dict(type='Resize'), …]; "
            'of several datasets each has its own (datasets.NAME.held_out=dict(pipeline=…)).'
        )
    held = HeldOut(**option)
    if held.part not in PARTS:
        raise ConfigError(f'{key}.held_out.part: found {held.part!r}, expected one of {", ".join(PARTS)}.')
    if held.by not in NAMES:
        raise ConfigError(f'{key}.held_out.by: found {held.by!r}, expected one of {", ".join(NAMES)}.')
    if not isinstance(held.fraction, Real) or not 0 < held.fraction < 1:
        raise ConfigError(f'{key}.held_out.fraction: found {shown(held.fraction)}, expected a number between 0 and 1.')
    if not isinstance(held.seed, Integral):
        raise ConfigError(f'{key}.held_out.seed: found {shown(held.seed)}, expected a whole number, or none (0).')
    return held
