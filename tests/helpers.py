"""What tests of several folders are written with."""

import importlib.util
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from mmnas_video.entangle import Searchable, unused_parts
from mmnas_video.space import Arch, Group, SearchSpace, Value, fusion_sites

DATA_TOOLS = Path(__file__).parents[1] / 'tools/data'

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


def some_archs(space: SearchSpace, number: int, seed: int = 0) -> list[Arch]:
    """The smallest, the largest and ``number`` random ones."""
    rng = random.Random(seed)
    return [space.smallest, space.largest, *(space.sample(rng) for _ in range(number))]


def numbers(*shape: int, seed: int = 0, grad: bool = True) -> Tensor:
    """Normal ones in float64; of five dimensions channels last."""
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    x = x.contiguous(memory_format=torch.channels_last_3d) if len(shape) == 5 else x
    return x.requires_grad_(grad)


def load_data_tool(name: str) -> ModuleType:
    """``tools/data/NAME.py`` as a module."""
    spec = importlib.util.spec_from_file_location(f'tools_data_{name}', DATA_TOOLS / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
