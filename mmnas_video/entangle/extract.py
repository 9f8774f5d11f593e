"""From shared weights to one network's own: copying the slices that an architecture uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from mmnas_video.cost import output_readers
from mmnas_video.errors import ConfigError
from mmnas_video.space import Value

from .searchable import Searchable, find_searchable
from .window import take


def extract_state(model: nn.Module, arch: Mapping[str, Value]) -> dict[str, Tensor]:
    """State dict of the network that ``model`` is at ``arch``.

    Parts outside the searchable module are copied whole, but for the linear layers that read an output whose width
    depends on the architecture: of those the columns of its channels. Of local weights (:mod:`.local`) it is the
    architecture's effective ones. Loading the result strictly into the pinned network gives the same outputs as the
    supernet at ``arch``.

    Args:
        model: a model with one :class:`Searchable` in it, or a searchable module itself.
        arch: an architecture of its space.
    """
    name, searchable = find_searchable(model)
    prefix = f'{name}.' if name else ''
    state = model.state_dict()
    copied = {key: value.clone() for key, value in state.items() if not key.startswith(prefix)} if prefix else {}
    arch = searchable.space.check(arch)
    for reader in output_readers(model, searchable):
        key = f'{reader}.weight'
        copied[key] = take(copied[key], 1, searchable.output(arch)).contiguous()
    shifts = searchable.local_weights.shifts(arch) if searchable.local_weights else {}
    for part in searchable.slices(arch):
        value = state[prefix + part.name]
        value = value + shifts[part.name] if part.name in shifts else value
        copied[prefix + part.name] = part(value).clone().contiguous()
    return copied


def copy_slices(model: nn.Module, arch: Mapping[str, Value], pinned: nn.Module) -> nn.Module:
    """Load :func:`extract_state` into ``pinned`` strictly, and return it.

    Raises:
        ConfigError: the pinned network is not the one that ``arch`` describes.
    """
    try:
        pinned.load_state_dict(extract_state(model, arch), strict=True)
    except RuntimeError as error:
        raise ConfigError(f'extract: the pinned network does not have the parameters of the arch: {error}') from None
    return pinned


def unused_parts(model: Searchable, archs: Iterable[Mapping[str, Value]]) -> tuple[list[str], dict[str, Tensor]]:
    """Of a searchable module the names of the parameters that none of ``archs`` uses, and masks (True where none does)
    of those used in part.

    Of local weights (:mod:`.local`), the offsets are used where their parameter is, and the rows of the values.
    """
    assert isinstance(model, nn.Module)
    parameters, used = dict(model.named_parameters()), {}
    for arch in archs:
        arch = model.space.check(arch)
        local = model.local_weights.slices(arch) if model.local_weights else ()
        for part in (*model.slices(arch), *local):
            parameter = parameters.get(part.name)
            if parameter is None or used.get(part.name, parameter) is None:
                continue  # a buffer, or used whole by another
            if part.whole(parameter.shape):
                used[part.name] = None
                continue
            if part.name not in used:
                used[part.name] = torch.zeros_like(parameter, dtype=torch.bool)
            part.mark(used[part.name])
    partly = {name: ~mask for name, mask in used.items() if mask is not None}
    # Whether several together use all of it: one question for all, since on a GPU each waits.
    left = torch.stack([mask.any() for mask in partly.values()]).tolist() if partly else []
    partly = {name: mask for (name, mask), some in zip(partly.items(), left, strict=True) if some}
    return [name for name in parameters if name not in used], partly
