"""The optimiser of α beside that of the weights."""

import pytest

from .toy import loader, prepared


@pytest.mark.parametrize('hook', ['PARSECSearchHook', 'DARTSSearchHook', 'EntanglementSearchHook'])
@pytest.mark.parametrize('enable', [False, True])
def test_a_scaled_rate_is_scaled_for_alpha_too(hook, enable):
    """Rejects ``--auto-scale-lr`` for the weights alone: with few GPUs α would go as many times too far in an epoch."""
    made, search = prepared(
        dict(type=hook, arch_optimizer=dict(type='Adam', lr=0.03)),
        train_dataloader=loader(0, batch=5),
        auto_scale_lr=dict(enable=enable, base_batch_size=35),
    )
    scale = 1 / 7 if enable else 1
    assert search.alpha_optimizer.param_groups[0]['lr'] == pytest.approx(0.03 * scale)
    made.scale_lr(made.optim_wrapper, made.auto_scale_lr)  # MMEngine's own, as in Runner.train
    weights = made.cfg.optim_wrapper.optimizer.lr
    assert made.optim_wrapper.param_groups[0]['lr'] == pytest.approx(weights * scale)
