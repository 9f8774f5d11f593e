"""Local weights: groups of offsets on shared weights, and how much an architecture is assigned to each of them.

Source: VIM-NAS (Casarin et al.), Eq. 3, whose "local weights assignment" o is to measure "the extent to which two
architectures can share weights" and is not defined further. The reading is ours; see docs/papers.md.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmnas_video.errors import ConfigError, check_number, refuse_unknown
from mmnas_video.space import Value

from .mixture import Mixture
from .window import Slice, Window

if TYPE_CHECKING:
    from .searchable import Searchable

#: What the config of local weights may say.
KEYS = ('groups', 'names', 'init_std')
#: Name in the searchable module, and so the beginning of the parameters' names.
NAME = 'local_weights'


class LocalWeights(nn.Module):
    """The weight that an architecture sees is ``w + sum_g o_g * offset_g``, for some parameters w of a network.

    Its assignment o, a point of the simplex over M groups, is the softmax of logits that are linear in its values: each
    value of each open choice has a row of M numbers. Architectures of one assignment share all weights, those of
    one-hot assignments to different groups all but the parameters that are local. Choices that do nothing in an
    architecture do not count (:meth:`~.searchable.Searchable.occurrence`); of a mixture the logits are the expected
    ones.

    The effective weights stand in the place of the parameters while the searchable module's ``forward`` runs, so every
    layer reads them and autograd reaches w, offsets and rows. Before and after, parameters are what they were. A
    network of one architecture has no local weights: extraction copies slices of the effective ones.

    The offsets start as zeros: the network starts as if it had none, so weights that it starts from (pretrained,
    inherited) mean what they meant. The rows start as normal numbers, so large that the logits of any architecture have
    the standard deviation ``init_std``; with equal rows all groups would get the same gradient and never come apart.
    They are drawn from a generator of their own, seeded with torch's initial seed, which MMEngine sets.

    Args:
        owner: the searchable module, complete but for these.
        groups: M, at least 2.
        names: patterns of the names of the parameters that are local.
        init_std: see above.

    Raises:
        ConfigError: a pattern that fits no parameter.
    """

    def __init__(
        self, owner: Searchable, groups: int, names: Sequence[str] = ('*norm*',), init_std: float = 1.0
    ) -> None:
        super().__init__()
        assert isinstance(owner, nn.Module)
        self._owner = (owner,)  # in a tuple: the owner is no part of this
        self.groups = groups
        parameters = dict(owner.named_parameters())
        for pattern in names:
            if not fnmatch.filter(parameters, pattern):
                raise ConfigError(
                    f'backbone.{NAME}.names: found the pattern {pattern!r}, expected one that fits a parameter of '
                    f'{type(owner).__name__}, such as {next(reversed(parameters))!r}'
                )
        #: Parameter to its name among the offsets, where a point may not be.
        self.keys = {
            name: name.replace('.', '/')
            for name in parameters
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in names)
        }
        self.offsets = nn.ParameterDict(
            {key: parameters[name].new_zeros(groups, *parameters[name].shape) for name, key in self.keys.items()}
        )
        choices = owner.space.open
        rows = torch.randn(
            sum(map(len, choices)), groups, generator=torch.Generator().manual_seed(torch.initial_seed())
        )
        self.table = nn.Parameter((rows * init_std / len(choices) ** 0.5).to(next(iter(parameters.values()))))
        self._sharing: tuple[Mapping[str, Value] | Mixture, ...] = ()
        self._installed: list[tuple[dict[str, Any], str, Tensor]] = []
        owner.register_forward_pre_hook(self._install)
        owner.register_forward_hook(self._remove, always_call=True)

    # ------------------------------------------------------------------ assignments
    def counts(self, arch: Mapping[str, Value] | Mixture) -> Tensor:
        """How much each row of the table counts, (rows,)."""
        (owner,) = self._owner
        mixture = arch if isinstance(arch, Mixture) else Mixture.one_hot(owner.space, arch)
        found = owner.occurrence(mixture)
        return torch.cat([found[choice.name] for choice in owner.space.open])

    def assignment(self, arch: Mapping[str, Value] | Mixture) -> Tensor:
        """o of an architecture or a mixture, (M,); differentiable in the table and in the mixture."""
        # Not a matrix product: under autocast that would round the logits to 16 bits.
        counts = self.counts(arch).to(self.table, non_blocking=True)
        return (counts[:, None] * self.table).sum(0).softmax(0)

    @contextmanager
    def shared_by(self, *archs: Mapping[str, Value] | Mixture) -> Iterator[None]:
        """Whatever network is active, run it with the mean of these ones' assignments for a block."""
        previous, self._sharing = self._sharing, archs
        try:
            yield
        finally:
            self._sharing = previous

    # ------------------------------------------------------------------ weights
    def shift(self, name: str, assignment: Tensor) -> Tensor:
        """What an assignment (M,) adds to a parameter, in its shape."""
        offsets = self.offsets[self.keys[name]]
        return (assignment.view(-1, *[1] * (offsets.dim() - 1)) * offsets).sum(0)

    def shifts(self, arch: Mapping[str, Value]) -> dict[str, Tensor]:
        """What is added to each local parameter at ``arch``, by the parameters' names."""
        with torch.no_grad():
            assignment = self.assignment(arch)
            return {name: self.shift(name, assignment) for name in self.keys}

    def slices(self, arch: Mapping[str, Value]) -> Iterator[Slice]:
        """The parts of offsets and table, by their names in the searchable module, that ``arch`` uses."""
        (owner,) = self._owner
        for row in self.counts(arch).nonzero().flatten().tolist():
            yield Slice(f'{NAME}.table', (Window(row, 1, len(self.table)),))
        for part in owner.slices(arch):
            if part.name in self.keys:
                yield Slice(f'{NAME}.offsets.{self.keys[part.name]}', (None, *part.windows), part.kernel)

    # ------------------------------------------------------------------ while the network runs
    def _install(self, owner: Any, inputs: Any) -> None:
        sharing = self._sharing or (owner.arch,)
        assignment = sum(self.assignment(arch) for arch in sharing) / len(sharing)
        for name in self.keys:
            path, _, attribute = name.rpartition('.')
            place = owner.get_submodule(path)._parameters
            self._installed.append((place, attribute, place[attribute]))
            place[attribute] = place[attribute] + self.shift(name, assignment)

    def _remove(self, owner: Any, inputs: Any, output: Any) -> None:
        for place, attribute, parameter in self._installed:
            place[attribute] = parameter
        self._installed = []


def add_local_weights(owner: Searchable, cfg: Mapping[str, Any] | None) -> None:
    """Give a searchable module local weights; what its ``__init__`` ends with.

    A single group, and a network that is pinned to one architecture, needs none.

    Args:
        owner: the module.
        cfg: ``dict(groups=2, names=('*norm*',))``, see :class:`LocalWeights`; None for none.

    Raises:
        ConfigError: an unknown key, a number of groups that is none, or patterns that fit nothing.
    """
    refuse_unknown(f'backbone.{NAME}', cfg, KEYS)
    cfg = dict(cfg or {'groups': 1})
    groups, std, names = cfg.get('groups'), cfg.get('init_std', 1.0), cfg.get('names', ('*norm*',))
    check_number(f'backbone.{NAME}.groups', groups, 1)
    if isinstance(std, bool) or not isinstance(std, (int, float)) or not 0 < std < float('inf'):
        raise ConfigError(f'backbone.{NAME}.init_std: found {std!r}, expected a positive number')
    if groups > 1 and owner.space.open:
        owner.local_weights = LocalWeights(owner, groups, (names,) if isinstance(names, str) else tuple(names), std)
