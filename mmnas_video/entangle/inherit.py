"""From one network's weights into a supernet of which it is a point: how a search goes on from another.

The inverse of :mod:`.extract`. What the network before was is a point of the wider supernet; there the supernet starts
with exactly its weights. Whatever that point does not use (wider channels, other candidates, parts that are new) keeps
its initialisation.

Source: Auto-TSNet (Gong et al., ICCV 2021), Sec. 4.2: each step inherits the weights of the one before.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmnas_video.cost import output_readers
from mmnas_video.errors import ConfigError
from mmnas_video.space import Value

from .searchable import find_searchable
from .window import Slice, Window


@torch.no_grad()
def inherit(
    model: nn.Module, state: Mapping[str, Tensor], arch: Mapping[str, Value], grown: bool = False
) -> tuple[str, ...]:
    """Write a network's weights into the slices that ``arch`` uses of ``model``, in place.

    Args:
        model: the supernet, with one :class:`~.searchable.Searchable` in it.
        state: state dict of the network before, as :func:`~.extract.extract_state` gives it.
        arch: the architecture of ``model``'s space at which it is that network.
        grown: the supernet has choices that the network before did not have. Then names of parameters may be new, and
            weights outside the searchable module (a head that is given more features) may have grown in any dimension
            but the first: their new columns become 0, so that the head computes what it did.

    Returns:
        Names that are used by ``arch`` and new: they keep their initialisation.

    Raises:
        ConfigError: weights that are missing, that have no place, or that have another shape.
    """
    name, searchable = find_searchable(model)
    prefix = f'{name}.' if name else ''
    own = model.state_dict()  # shares the model's memory
    arch = searchable.canonical(arch)  # which may have had layers that the supernet does not offer
    parts = [part._replace(name=prefix + part.name) for part in searchable.slices(arch)]
    cut = {f'{reader}.weight': (None, searchable.output(arch)) for reader in output_readers(model, searchable)}
    rest = [Slice(key, cut.get(key, ())) for key in own if prefix and not key.startswith(prefix)]
    new = [part.name for part in (*parts, *rest) if part.name not in state]
    homeless = sorted(set(state) - {part.name for part in (*parts, *rest)})
    if homeless or (new and not grown):
        raise ConfigError(
            f'inherit: found weights of another network: {len(homeless)} without a place ({_some(homeless)}), '
            f'{len(new)} missing ({_some(new)}); expected those of the supernet at the inherited architecture'
        )
    shifts = searchable.local_weights.shifts(arch) if searchable.local_weights else {}
    for part in parts:
        if part.name in state:
            _write(part, own[part.name], state[part.name])
            shift = shifts.get(part.name[len(prefix) :])
            if shift is not None:  # the effective weights are to be the network's
                _write(part, own[part.name], part(own[part.name]) - part(shift))
    for part in rest:
        if part.name in state:
            _write(_corner(part, own[part.name], state[part.name]) if grown else part, own[part.name], state[part.name])
    return tuple(new)


def _some(names: list[str] | tuple[str, ...]) -> str:
    return ', '.join(names[:2]) + (', ...' if len(names) > 2 else '') if names else 'none'


def _write(part: Slice, tensor: Tensor, values: Tensor) -> None:
    """Put ``values`` where ``part`` of ``tensor`` is, position by position."""
    positions = part(torch.arange(tensor.numel(), device=tensor.device).view(tensor.shape))
    if positions.shape != values.shape:
        raise ConfigError(
            f'inherit: {part.name}: found weights of shape {tuple(values.shape)}, expected {tuple(positions.shape)}'
        )
    tensor.view(-1)[positions.reshape(-1)] = values.reshape(-1).to(tensor)


def _corner(part: Slice, tensor: Tensor, values: Tensor) -> Slice:
    """The first entries of every dimension but the first, all others set to 0; the whole where nothing has grown."""
    found, wanted = tuple(values.shape), tuple(tensor.shape)
    fits = len(found) == len(wanted) > 1 and found[0] == wanted[0]
    if found == wanted or not fits or any(f > w for f, w in zip(found, wanted, strict=True)):
        return part
    tensor.zero_()
    return part._replace(windows=tuple(Window(0, f, w) for f, w in zip(found, wanted, strict=True)))
