"""Mixed precision: the GradScaler's factor must leave the update as it is."""

import pytest
import torch
from mmengine.optim.optimizer import amp_optimizer_wrapper

from .toy import prepared


@pytest.fixture
def scaler_on_cpu(monkeypatch):
    """MMEngine asks for a GPU before it makes an AmpOptimWrapper; torch's GradScaler itself works on a CPU."""
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', lambda **kw: torch.amp.GradScaler('cpu', **kw))


def weights_after(steps: int, **wrapper) -> list[torch.Tensor]:
    """Weights of a short PARSEC search; the forward pass stays in float64, so only the scaler can make a difference."""
    made, _ = prepared(
        dict(type='PARSECSearchHook', num_archs=3),
        optim_wrapper={'optimizer': dict(type='SGD', lr=0.1, momentum=0.9), 'clip_grad': dict(max_norm=0.5), **wrapper},
    )
    batches = iter(made.train_dataloader)
    for _ in range(steps):
        made.model.train_step(next(batches), made.optim_wrapper)
    return [p.detach().clone() for p in made.model.parameters()]


@pytest.mark.parametrize('accumulate', [1, 2])
def test_scaled_search_equals_unscaled(scaler_on_cpu, accumulate, monkeypatch):
    """Rejects a backward pass of the K architectures without the scaler's factor (the step would divide by it all the
    same: an update 65,536 times too small), and clipping of scaled gradients."""
    plain = weights_after(4, type='OptimWrapper', accumulative_counts=accumulate)
    monkeypatch.setattr(
        amp_optimizer_wrapper.AmpOptimWrapper, 'optim_context', amp_optimizer_wrapper.OptimWrapper.optim_context
    )
    scaled = weights_after(4, type='AmpOptimWrapper', loss_scale=65536.0, accumulative_counts=accumulate)
    for one, two in zip(plain, scaled, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-9)


def test_bf16_autocast_runs_and_learns(scaler_on_cpu):
    """A real bf16 forward pass through the hook: the loss falls, weights stay in float32. Rejects autocast that does
    not
    reach the architectures' passes."""
    made, _ = prepared(
        dict(type='PARSECSearchHook', num_archs=2),
        model=dict(
            type='ToyRecognizer',
            backbone=dict(type='ToyBackbone'),
            data_preprocessor=dict(type='ToyPreprocessor', dtype='float32'),
        ),
        optim_wrapper=dict(
            type='AmpOptimWrapper', dtype='bfloat16', loss_scale=1.0, optimizer=dict(type='SGD', lr=0.1)
        ),
    )
    made.model.float()
    seen = set()
    made.model.head.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    losses = [
        float(made.model.train_step(batch, made.optim_wrapper)['loss'])
        for _ in range(8)
        for batch in made.train_dataloader
    ]
    assert seen == {torch.bfloat16}
    assert {p.dtype for p in made.model.parameters()} == {torch.float32}
    assert sum(losses[-6:]) < 0.9 * sum(losses[:6])
