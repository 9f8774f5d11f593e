"""What tests of several folders are written with."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from mmnas_video.entangle import Searchable, unused_parts
from mmnas_video.space import Group, Value, fusion_sites

#: Where Manual-TSNet has its time-strided convolutions. Table 7, the row of 5 (S1 +1, S2 +1, S3 +2, S4 +1): every
#: second of the ten sites.
MANUAL_FUSION_SITES = ('s1.g2', 's2.g2', 's3.g2', 's3.g4', 's4.g2')


def x3d_arch(groups: Sequence[Group], widths: Sequence[int] = (24, 48, 96, 192)) -> dict[str, Value]:
    """The values of X3D (Feichtenhofer, CVPR 2020): one width per stage, one expansion, one kernel, no attention."""
    values = {'kernel': 't3_s3', 'expansion': 2.25, 'attention': 'none'}
    return {
        f'{group.name}.{key}': value
        for group in groups
        for key, value in {**values, 'channels': widths[int(group.stage[1:]) - 1]}.items()
    }


def manual_tsnet_arch(streams: Mapping[str, Sequence[Group]], widths: Mapping[str, Sequence[int]]) -> dict[str, Value]:
    """The values of Manual-TSNet (Sec. 5.4): two X3D-S with other widths, joined by time-strided convolutions."""
    fused = {
        f'fusion.{site}': 'time_strided_conv' if site in MANUAL_FUSION_SITES else 'none'
        for site in fusion_sites(streams['sparse'])
    }
    own = {f'{name}.{key}': v for name, groups in streams.items() for key, v in x3d_arch(groups, widths[name]).items()}
    return own | fused


def unused_masks(model: Searchable, archs: Iterable[Mapping[str, Value]]) -> dict[str, Tensor]:
    """Per parameter True where none of ``archs`` uses it, without those that are used whole."""
    never, partly = unused_parts(model, archs)
    return {**{name: torch.ones_like(model.get_parameter(name), dtype=torch.bool) for name in never}, **partly}
