"""Mixed precision: the GradScaler's factor must leave the update as it is."""

import pytest
import torch
from mmengine.optim.optimizer import amp_optimizer_wrapper

from mmnas_video.search import darts

from .toy import prepared


@pytest.fixture
def scaler_on_cpu(monkeypatch):
    """MMEngine asks for a GPU before it makes an AmpOptimWrapper; torch's GradScaler itself works on a CPU."""
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', lambda **kw: torch.amp.GradScaler('cpu', **kw))


PARSEC = dict(type='PARSECSearchHook', num_archs=3)
DARTS = dict(type='DARTSSearchHook', init_std=0.5, arch_optimizer=dict(type='SGD', lr=0.5))
METHODS = {
    'PARSEC': PARSEC,
    'DARTS': DARTS,
    'DARTS 2': {**DARTS, 'order': 2},
    'DARTS 2 exact': {**DARTS, 'order': 2, 'hessian': 'exact'},
}


def weights_after(steps: int, method: str, **wrapper) -> list[torch.Tensor]:
    """Weights and α of a short search; the forward pass stays in float64, so only the scaler can make a difference."""
    made, hook = prepared(
        METHODS[method],
        optim_wrapper={'optimizer': dict(type='SGD', lr=0.1, momentum=0.9), 'clip_grad': dict(max_norm=0.5), **wrapper},
    )
    batches = iter(made.train_dataloader)
    for _ in range(steps):
        made.model.train_step(next(batches), made.optim_wrapper)
    return [p.detach().clone() for p in (*made.model.parameters(), hook.distribution.alpha)]


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('accumulate', [1, 2])
def test_scaled_search_equals_unscaled(scaler_on_cpu, accumulate, method, monkeypatch):
    """Rejects a backward pass of the K architectures without the scaler's factor (the step would divide by it all the
    same: an update 65,536 times too small), and clipping of scaled gradients. Of DARTS a factor that is left in α's
    gradient, or in that of the virtual step, or taken off twice."""
    plain = weights_after(4, method, type='OptimWrapper', accumulative_counts=accumulate)
    monkeypatch.setattr(
        amp_optimizer_wrapper.AmpOptimWrapper, 'optim_context', amp_optimizer_wrapper.OptimWrapper.optim_context
    )
    scaled = weights_after(4, method, type='AmpOptimWrapper', loss_scale=65536.0, accumulative_counts=accumulate)
    for one, two in zip(plain, scaled, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    'hook',
    [
        dict(type='PARSECSearchHook', num_archs=2),
        dict(type='DARTSSearchHook', order=2),
        dict(type='EntanglementSearchHook', arch_mode='sampled', arch_samples=2, weight_mode='mixed'),
    ],
)
def test_bf16_autocast_runs_and_learns(scaler_on_cpu, hook):
    """A real bf16 forward pass through the hook: the loss falls, weights stay in float32. Rejects autocast that does
    not
    reach the architectures' passes."""
    made, _ = prepared(
        hook,
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


def test_alphas_gradient_is_taken_of_the_scaled_loss(scaler_on_cpu, monkeypatch):
    """Rejects a search that leaves the scaler out: in float64 nothing shows, under fp16 small gradients of α are 0."""
    scales = []

    class Noting(darts.Bilevel):
        def __init__(self, train, valid, scale, *args):
            scales.append(scale)
            super().__init__(train, valid, scale, *args)

    monkeypatch.setattr(darts, 'Bilevel', Noting)
    for wrapper in (dict(type='OptimWrapper'), dict(type='AmpOptimWrapper', loss_scale=512.0)):
        made, _ = prepared(DARTS, optim_wrapper={'optimizer': dict(type='SGD', lr=0.1), **wrapper})
        made.model.train_step(next(iter(made.train_dataloader)), made.optim_wrapper)
    assert scales == [1.0, 512.0]
