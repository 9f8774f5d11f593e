"""What the suites share: values that hide nothing, and comparison of a shared network with one of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from mmnas_video.entangle import Slice, norm_layers

#: Largest difference in float64, relative to the largest number that is compared.
TOLERANCE = 1e-10


def randomise(model: nn.Module, seed: int = 0) -> None:
    """Random norm weights, norm statistics, biases, and anything that is all zeros: at their defaults most
    mistakes cannot be seen."""
    generator = torch.Generator().manual_seed(seed)
    for norm in norm_layers(model):
        norm.running_mean.normal_(0, 0.3, generator=generator)
        norm.running_var.uniform_(0.5, 1.5, generator=generator)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim <= 1 and name.endswith('weight'):
                parameter.uniform_(0.5, 1.5, generator=generator)
            elif parameter.ndim <= 1 or not parameter.any():
                parameter.normal_(0, 0.3, generator=generator)


def as_double(inputs: Tensor) -> Tensor:
    """Numbers in float64, the precision in which is compared; indices as they are."""
    return inputs.double() if inputs.is_floating_point() else inputs


def assert_close(found: Tensor, expected: Tensor, what: str) -> None:
    """Equal shapes, finite, and equal to :data:`TOLERANCE`."""
    assert found.shape == expected.shape, (
        f'{what}: found the shape {tuple(found.shape)}, expected {tuple(expected.shape)}'
    )
    assert found.isfinite().all() and expected.isfinite().all(), f'{what}: not finite'
    if not found.numel():
        return
    scale = max(float(expected.detach().abs().max()), 1e-3)
    worst = float((found.detach().double() - expected.detach().double()).abs().max()) / scale
    assert worst <= TOLERANCE, f'{what}: found a difference of {worst:.1e}, expected at most {TOLERANCE:.0e}'


def sliced_state(model: nn.Module, parts: Iterable[Slice], what: str) -> dict[str, Tensor]:
    """The used parts of a state dict, copied; every name once, and known."""
    state, found = model.state_dict(), {}
    for part in parts:
        assert part.name not in found, f'{what}: slices names {part.name} twice'
        assert part.name in state, f'{what}: slices names {part.name}, which is not in the state dict'
        sizes = state[part.name].shape
        for dim, window in enumerate(part.windows):
            assert window is None or (dim < len(sizes) and window.total == sizes[dim]), (
                f'{what}: slices cuts dimension {dim} of {part.name} as one of {window.total}, '
                f'its shape is {tuple(sizes)}'
            )
        found[part.name] = part(state[part.name]).clone()
    return found


def load_strictly(pinned: nn.Module, found: dict[str, Tensor], what: str) -> None:
    """Load slices into the network of its own; names and shapes must be exactly its state."""
    expected = {name: tuple(value.shape) for name, value in pinned.state_dict().items()}
    shapes = {name: tuple(value.shape) for name, value in found.items()}
    wrong = {
        name: (shapes.get(name, 'none'), expected.get(name, 'none'))
        for name in {**expected, **shapes}
        if shapes.get(name) != expected.get(name)
    }
    assert not wrong, f'{what}: slices are not the state of the pinned module; name: (found, expected) = {wrong}'
    pinned.load_state_dict(found)


def check_gradients(model: nn.Module, pinned: nn.Module, parts: Sequence[Slice], what: str) -> None:
    """After a backward pass through both: used entries have the pinned gradients, the others zero or none."""
    own, shared = dict(pinned.named_parameters()), dict(model.named_parameters())
    used = {part.name: part for part in parts if part.name in shared}
    for name, parameter in shared.items():
        grad = parameter.grad
        if name not in used or own[name].grad is None:
            assert grad is None or not grad.any(), f'{what}: {name} is not used, but has a gradient'
            continue
        assert grad is not None, f'{what}: {name} has no gradient'
        assert_close(used[name](grad), own[name].grad, f'{what}: gradient of {name}')
        mask = torch.zeros(grad.shape, dtype=torch.bool)
        used[name].mark(mask)
        assert not grad[~mask].any(), f'{what}: entries of {name} outside the slice have a gradient'
