"""WHAT can vary: choices, spaces and architectures as plain data. Needs no torch."""

from .arch import Arch, arch_from_json, arch_to_json, read_arch_file, write_text_atomic
from .choice import Choice, Value
from .mbconv3d import (
    ATTENTIONS,
    AUTOX3D_STAGES,
    EXPANSIONS,
    KERNELS,
    Group,
    mbconv3d_groups,
    mbconv3d_space,
    narrowed,
    x3d_arch,
)
from .space import SearchSpace

__all__ = [
    'ATTENTIONS',
    'AUTOX3D_STAGES',
    'EXPANSIONS',
    'KERNELS',
    'Arch',
    'Choice',
    'Group',
    'SearchSpace',
    'Value',
    'arch_from_json',
    'arch_to_json',
    'mbconv3d_groups',
    'mbconv3d_space',
    'narrowed',
    'read_arch_file',
    'write_text_atomic',
    'x3d_arch',
]
