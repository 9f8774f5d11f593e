"""The gradient of architecture weights α through one virtual step of the network's weights Θ.

Source: P3D-DARTS (Peng et al., ICIP 2019), Eqs. 2-5; DARTS (Liu, Simonyan, Yang, ICLR 2019), Sec. 2.3. Nothing here
writes to a parameter, a buffer or an optimiser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmnas_video.errors import ConfigError

HESSIANS = ('finite_difference', 'exact')
#: Length of the finite difference's way through the weights (DARTS: ε = 0.01 / ‖∇Θ' L_valid‖).
WAY = 0.01

#: Loss of some weights and α, to be differentiated by either.
Loss = Callable[[Sequence[Tensor], Tensor], Tensor]
#: Mean over the ranks, in place; None leaves a gradient None.
Average = Callable[[Sequence[Tensor | None]], None]
#: Puts weights where the losses find them, for as long as a loss is computed and differentiated.
Place = Callable[[Sequence[Tensor]], AbstractContextManager]


@contextmanager
def placed(model: nn.Module, parameters: Sequence[nn.Parameter], weights: Sequence[Tensor]) -> Iterator[None]:
    """Weights in the place of a model's parameters, wherever these are used; the parameters themselves are untouched.

    ``torch.func.functional_call`` would end with the forward pass, and a block whose activations are recomputed in the
    backward pass (``with_cp``) would then be that of the parameters.
    """
    places = {id(p): weight for p, weight in zip(parameters, weights, strict=True)}
    sites = [
        (module._parameters, name, parameter)
        for module in model.modules()
        for name, parameter in module._parameters.items()
        if id(parameter) in places
    ]
    try:
        for table, name, parameter in sites:
            table[name] = places[id(parameter)]
        yield
    finally:
        for table, name, parameter in sites:
            table[name] = parameter


class VirtualStep(NamedTuple):
    """A step of the weights that is linear in their gradient: Θ' = Θ - gain · ∇Θ L_train - drift.

    Attributes:
        gains: one number per weight; Eq. 3 has its ε for all.
        drifts: what momentum and decay add per weight, or None for nothing.
    """

    gains: list[float]
    drifts: list[Tensor | None]

    @classmethod
    def plain(cls, weights: Sequence[Tensor], rate: float) -> VirtualStep:
        """Eq. 3 as printed: gradient descent at one rate."""
        return cls([rate] * len(weights), [None] * len(weights))

    @classmethod
    def of(cls, optimizer: torch.optim.Optimizer, weights: Sequence[Tensor]) -> VirtualStep:
        """The step that an SGD optimiser would make: learning rates, momentum, dampening, Nesterov, weight decay.

        As in DARTS, whose virtual step follows its weights' SGD. Clipping of gradients is left out, as there.
        Weights that the optimiser does not have stay where they are.

        Raises:
            ConfigError: another optimiser: its step is not linear in the gradient.
        """
        check_linear(optimizer)
        known = {id(p): group for group in optimizer.param_groups for p in group['params']}
        gains, drifts = [], []
        for weight in weights:
            group = known.get(id(weight))
            if group is None:
                gains.append(0.0), drifts.append(None)
                continue
            rate, momentum, decay = float(group['lr']), group['momentum'], group['weight_decay']
            buffer = optimizer.state.get(weight, {}).get('momentum_buffer')
            fresh, kept = (1.0, 0.0) if buffer is None else (1.0 - group['dampening'], momentum)
            if group['nesterov']:
                fresh, kept = 1.0 + momentum * fresh, momentum * kept
            drift = (rate * fresh * decay) * weight.detach() if decay else None
            if buffer is not None and kept:
                drift = rate * kept * buffer + (0 if drift is None else drift)
            gains.append(rate * fresh), drifts.append(drift)
        return cls(gains, drifts)

    def __call__(self, weights: Sequence[Tensor], grads: Sequence[Tensor | None]) -> list[Tensor]:
        """Θ'; a weight without a gradient stays, as an optimiser would leave it."""
        moved = []
        for weight, grad, gain, drift in zip(weights, grads, *self, strict=True):
            if grad is not None:
                weight = weight - gain * grad if drift is None else weight - gain * grad - drift
            moved.append(weight)
        return moved


def check_linear(optimizer: torch.optim.Optimizer) -> None:
    """Refuse an optimiser whose step is no linear function of the gradient.

    Raises:
        ConfigError: any but SGD.
    """
    if not isinstance(optimizer, torch.optim.SGD) or any(group['maximize'] for group in optimizer.param_groups):
        raise ConfigError(
            f'DARTSSearchHook.virtual_lr: found none for the optimiser {type(optimizer).__name__}, expected the rate '
            'of Eq. 3 (such as virtual_lr=0.01), or order=1: only the step of SGD can be followed by a virtual one'
        )


class Bilevel:
    """∇α L_valid(Θ'(α), α) for Θ' one step of Θ on L_train.

    Args:
        train, valid: the losses.
        scale: factor on the losses while they are differentiated (a GradScaler's); taken off the results.
        average: makes a list of gradients the mean over the ranks.
        place: see :data:`Place`, for losses that do not take the weights that they are given.
    """

    def __init__(
        self,
        train: Loss,
        valid: Loss,
        scale: float = 1.0,
        average: Average | None = None,
        place: Place | None = None,
    ) -> None:
        self.train, self.valid, self.scale = train, valid, scale
        self.average = average or (lambda grads: None)
        self.place = place or (lambda weights: nullcontext())

    def first_order(self, weights: Sequence[Tensor], alpha: Tensor) -> tuple[Tensor, Tensor]:
        """∇α L_valid(Θ, α), the limit of a vanishing step, and the loss."""
        scaled, loss = self._differentiate(self.valid, [w.detach() for w in weights], alpha, [alpha])
        return _filled(self._unscaled(scaled)[0], alpha), loss

    def second_order(
        self, weights: Sequence[Tensor], alpha: Tensor, step: VirtualStep, hessian: str = 'finite_difference'
    ) -> tuple[Tensor, Tensor]:
        """Eq. 5, and L_valid(Θ', α).

        Args:
            weights: Θ, leaves that require gradients.
            alpha: α, likewise.
            step: how Θ' comes from Θ.
            hessian: ``'finite_difference'``, DARTS's central difference of ∇α L_train along ∇Θ' L_valid, or ``'exact'``
                by differentiating twice (about twice the memory; every operation must be twice differentiable).
        """
        exact = hessian == 'exact'
        start = alpha if exact else alpha.detach()
        scaled, _ = self._differentiate(self.train, weights, start, weights, create_graph=exact)
        grads = self._unscaled(scaled)
        self.average(grads)
        moved = [w.detach().requires_grad_() for w in step(list(weights), grads)]
        ends, loss = self._differentiate(self.valid, moved, alpha, [alpha, *moved])
        outer, *slopes = self._unscaled(ends)
        self.average(slopes)
        # dΘ'/dα = -gain · ∇²_{α,Θ} L_train, so the slopes are scaled by each weight's gain and Eq. 5's ε is 1.
        used = [(s is not None and g is not None) for s, g in zip(slopes, grads, strict=True)]
        along = [
            gain * s if here else torch.zeros_like(w)
            for s, gain, w, here in zip(slopes, step.gains, moved, used, strict=True)
        ]
        if exact:
            pairs = [(g, u) for g, u, here in zip(scaled, along, used, strict=True) if here and g.requires_grad]
            inner = sum((g * u).sum() for g, u in pairs) if pairs else None
            (cross,) = (None,) if inner is None else torch.autograd.grad(inner, [alpha], allow_unused=True)
            cross = _filled(cross, alpha) / self.scale
        else:
            cross = self._hessian_product(weights, alpha, along)
        return _filled(outer, alpha) - cross, loss

    def _hessian_product(self, weights: Sequence[Tensor], alpha: Tensor, along: Sequence[Tensor]) -> Tensor:
        """∇²_{α,Θ} L_train · along, from ∇α L_train a small way on either side of Θ."""
        length = float(torch.sqrt(sum(u.double().square().sum() for u in along)))
        if not length > 0:  # also if it is not a number: then the first-order part is none either
            return torch.zeros_like(alpha) * length
        eps, ends = WAY / length, []
        for sign in (1, -1):
            beside = [w.detach() + sign * eps * u for w, u in zip(weights, along, strict=True)]
            scaled, _ = self._differentiate(self.train, beside, alpha, [alpha])
            ends.append(_filled(self._unscaled(scaled)[0], alpha))
        return (ends[0] - ends[1]) / (2 * eps)

    def _differentiate(
        self, loss: Loss, weights: Sequence[Tensor], alpha: Tensor, by: Sequence[Tensor], create_graph: bool = False
    ) -> tuple[list[Tensor | None], Tensor]:
        """Gradients of the scaled loss, and the loss."""
        # Of torch's attention kernels only the plain one can be differentiated twice.
        kernels = sdpa_kernel(SDPBackend.MATH) if create_graph else nullcontext()
        with self.place(weights), kernels:
            value = loss(weights, alpha)
            found = torch.autograd.grad(value * self.scale, list(by), create_graph=create_graph, allow_unused=True)
        return list(found), value.detach()

    def _unscaled(self, grads: Sequence[Tensor | None]) -> list[Tensor | None]:
        return [None if g is None else g.detach() / self.scale for g in grads]


def _filled(grad: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if grad is None else grad
