"""Spaces of MBConv3D networks as tables of values.

A network is a chain of groups; the blocks of a group share kernel, output channels and expansion, and an attention
block may follow the group.

Source of ``AUTOX3D_STAGES``: AutoX3D (Jiang et al., WACV 2022), Table 2 (channels as ``min ~ max, step``; N; stride 2
at the first block of each stage) and Table 1 (kernels). Attention: Sec. 3.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mmnas_video.errors import ConfigError

from .choice import Choice
from .space import SearchSpace

#: Table 1, ordered by taps (9, 25, 27, 45, 75, 125), so that the first is the cheapest: name -> (t, k).
KERNELS: dict[str, tuple[int, int]] = {
    't1_s3': (1, 3),
    't1_s5': (1, 5),
    't3_s3': (3, 3),
    't5_s3': (5, 3),
    't3_s5': (3, 5),
    't5_s5': (5, 5),
}
#: Table 2: 1.5 to 6.0 in steps of 0.75.
EXPANSIONS: tuple[float, ...] = (1.5, 2.25, 3.0, 3.75, 4.5, 5.25, 6.0)
#: Sec. 3.4. ``'nonlocal'`` may be added: only with a third option does the space hold the 2e32 archs of Sec. 3.5.
ATTENTIONS: tuple[str, ...] = ('none', 'glore')
_KNOWN_ATTENTIONS = [*ATTENTIONS, 'nonlocal']


@dataclass(frozen=True)
class Group:
    """What one group of MBConv3D blocks may be.

    Attributes:
        name: prefix of its choices, e.g. ``'s3.g2'`` (stage 3, second group).
        blocks: number of blocks, N in Table 2.
        stride: spatial stride of the first block.
        channels: output channels offered.
        expansions: ratios of the middle width to the output channels; the middle width is ``int(e * channels)``.
        kernels: names in :data:`KERNELS`.
        attentions: what may follow the group.
    """

    name: str
    blocks: int
    stride: int
    channels: tuple[int, ...]
    expansions: tuple[float, ...] = EXPANSIONS
    kernels: tuple[str, ...] = tuple(KERNELS)
    attentions: tuple[str, ...] = ATTENTIONS

    @property
    def stage(self) -> str:
        """Name of the stage that the group belongs to (``'s3'``)."""
        return self.name.split('.')[0]

    def choices(self) -> tuple[Choice, ...]:
        """The group's four choices, in the order of :class:`SearchSpace.encode`."""
        return (
            Choice(f'{self.name}.kernel', self.kernels),
            Choice(f'{self.name}.expansion', self.expansions),
            Choice(f'{self.name}.channels', self.channels),
            Choice(f'{self.name}.attention', self.attentions),
        )


#: Table 2: per stage the channel range (min, max, step) and the N of its groups.
AUTOX3D_STAGES: tuple[tuple[tuple[int, int, int], tuple[int, ...]], ...] = (
    ((12, 28, 4), (1, 2)),
    ((24, 64, 8), (2, 3)),
    ((48, 132, 12), (2, 3, 3, 3)),
    ((96, 264, 24), (2, 2, 3)),
)


def mbconv3d_groups(
    stages: Sequence[Sequence] = AUTOX3D_STAGES,
    *,
    spatial_strides: Sequence[int] = (2, 2, 2, 2),
    expansions: Sequence[float] = EXPANSIONS,
    kernels: Sequence[str] = tuple(KERNELS),
    attentions: Sequence[str] = ATTENTIONS,
    attention_sites: Sequence[str] | None = None,
    depth_scale: float = 1.0,
) -> tuple[Group, ...]:
    """The groups of a network, from a table.

    Args:
        stages: per stage ``((min, max, step), (N, ...))``, a range of channels, or ``('values', (channels, ...),
            (N, ...))``.
        spatial_strides: stride of the first block of each stage.
        expansions, kernels, attentions: what every group offers.
        attention_sites: names of the groups that offer the attentions, where the others have none; None for all.
        depth_scale: factor on every N, rounded up (AutoX3D-L: 2, Sec. 5.3.1). It leaves the choices, and so the
            arch files, as they are.

    Raises:
        ConfigError: a table that does not have this form, or an unknown kernel, attention or attention site.
    """
    if len(spatial_strides) < len(stages):
        raise ConfigError(
            f'spatial_strides: found {len(spatial_strides)} strides, expected one for each of the {len(stages)} stages'
        )
    if not depth_scale > 0:
        raise ConfigError(f'depth_scale: found {depth_scale!r}, expected a positive factor on the number of blocks')
    unknown = [k for k in kernels if k not in KERNELS] + [a for a in attentions if a not in _KNOWN_ATTENTIONS]
    if unknown:
        raise ConfigError(
            f'kernels/attentions: found {unknown}, expected some of {list(KERNELS)} and of {_KNOWN_ATTENTIONS}'
        )
    groups = []
    for s, (stage, stride) in enumerate(zip(stages, spatial_strides, strict=False), start=1):
        channels, depths = _channels(stage, s), stage[-1]
        for g, blocks in enumerate(depths, start=1):
            groups.append(
                Group(
                    f's{s}.g{g}',
                    -int(-blocks * depth_scale // 1),
                    stride if g == 1 else 1,
                    channels,
                    tuple(expansions),
                    tuple(kernels),
                    tuple(attentions),
                )
            )
    return tuple(groups) if attention_sites is None else _attention_only_at(groups, attention_sites)


def _attention_only_at(groups: Sequence[Group], sites: Sequence[str]) -> tuple[Group, ...]:
    names = [group.name for group in groups]
    if unknown := [site for site in sites if site not in names]:
        raise ConfigError(f'attention_sites: found {unknown}, expected some of the groups {names}')
    return tuple(group if group.name in sites else replace(group, attentions=('none',)) for group in groups)


def _channels(stage: Sequence, number: int) -> tuple[int, ...]:
    if len(stage) == 3 and stage[0] == 'values':
        return tuple(stage[1])
    if len(stage) != 2 or len(stage[0]) != 3:
        raise ConfigError(
            f'stages[{number - 1}]: found {stage!r}, expected ((min, max, step), (N, ...)) or '
            "('values', (channels, ...), (N, ...))"
        )
    low, high, step = stage[0]
    if step <= 0 or high < low or (high - low) % step:
        raise ConfigError(
            f'stages[{number - 1}]: found the range (min {low}, max {high}, step {step}), expected max = min + n * step'
        )
    return tuple(range(low, high + 1, step))


def mbconv3d_space(groups: Sequence[Group], name: str = 'autox3d') -> SearchSpace:
    """The space that the groups span."""
    return SearchSpace(name, [choice for group in groups for choice in group.choices()])


def narrowed(groups: Sequence[Group], space: SearchSpace) -> tuple[Group, ...]:
    """The groups with the values that are left in ``space`` (after :meth:`SearchSpace.fix`)."""
    return tuple(
        replace(
            group,
            kernels=space[f'{group.name}.kernel'].values,
            expansions=space[f'{group.name}.expansion'].values,
            channels=space[f'{group.name}.channels'].values,
            attentions=space[f'{group.name}.attention'].values,
        )
        for group in groups
    )
