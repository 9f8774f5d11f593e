"""A step of every search on a GPU that is not there: tensors where they belong, and how often the host waits."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmnas_video.search import AtomicCheckpointHook, SearchHook
from tests.fake_cuda import FakeCuda

from .test_matrix import BACKBONES, MODEL_CONFIGS, runner_of
from .toy import prepared

#: One group with three choices, as small as can be.
SMALL = dict(
    stages=(('values', (3, 5), (1,)),), spatial_strides=(2,), kernels=('t1_s3', 't3_s3'), expansions=(1.5, 3.0),
    attentions=('none',), stem_channels=2,
)  # fmt: skip
LOCAL = dict(local_weights=dict(groups=2))
DARTS = dict(type='DARTSSearchHook', score_batches=1)
ENTANGLED = dict(type='EntanglementSearchHook', selection='argmax', score_batches=1)

#: Hook, what is different in the backbone, and how often a step may make the host wait beyond what MMEngine and
#: MMAction2 do themselves (docs/benchmarks.md has the table).
CASES = {
    'PARSEC': (dict(type='PARSECSearchHook', num_archs=3), {}, 6),
    'PARSEC by accuracy': (dict(type='PARSECSearchHook', num_archs=3, indicator=dict(type='VideoAccuracy')), {}, 6),
    'PARSEC alternating': (dict(type='PARSECSearchHook', num_archs=2, mode='alternating'), {}, 4),
    'DARTS': (DARTS, {}, 5),
    'DARTS, second order': (dict(DARTS, order=2), {}, 8),
    'DARTS, second order, exact': (dict(DARTS, order=2, hessian='exact'), {}, 6),
    'entanglement': (ENTANGLED, {}, 6),
    'entanglement, distribution gap': (dict(ENTANGLED, distribution_gap=1.0), LOCAL, 11),
    'entanglement, score function': (dict(ENTANGLED, arch_mode='sampled', arch_samples=2), {}, 7),
    'uniform, frozen': (dict(type='UniformSearchHook', freeze_unsampled=True), {}, 3),
    'conflict-aware': (dict(type='ConflictAwareSearchHook', num_archs=1, distill=True), {}, 4),
    'evolution': (dict(type='EvolutionSearchHook', population=2, top_k=2, eval_batches=1), {}, 3),
}


@pytest.fixture(autouse=True)
def kernels(monkeypatch):
    """Ours, as on a GPU that is known."""
    monkeypatch.setenv('MMNAS_KERNELS', 'on')


def on_gpu(gpu, hook, changes, work_dir):
    """A Runner before its first step, its search, and its model on the GPU."""
    init_default_scope('mmaction')
    cfg = Config.fromfile(MODEL_CONFIGS / BACKBONES['SuperMBConv3D'])
    cfg.model.backbone.update(SMALL, **changes)
    wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4))
    made = runner_of(cfg, hook, work_dir, optim_wrapper=wrapper)
    made._train_loop = made.build_train_loop(made._train_loop)
    made.optim_wrapper = made.build_optim_wrapper(made.optim_wrapper)
    made.call_hook('before_run')
    search = next(h for h in made.hooks if isinstance(h, SearchHook))
    with gpu.use():
        gpu.move(made.model, made.optim_wrapper.optimizer)
        search.setup(made)  # which has looked at the parameters
        made.optim_wrapper.initialize_count_status(made.model, 0, made.train_loop.max_iters)
        made.call_hook('before_train')
        made.model.train()
    return made, search


@pytest.mark.parametrize('name', CASES)
def test_a_step(name, tmp_path):
    """Rejects numbers of the host (α, weights of architectures, masks, averages) that meet tensors of the GPU, and a
    search that waits for it in every layer, for every architecture that is scored or for every parameter."""
    hook, changes, waits = CASES[name]
    gpu = FakeCuda()
    made, search = on_gpu(gpu, hook, changes, tmp_path)
    with gpu.use():
        batches = [batch for _ in range(2) for batch in made.train_dataloader]
        made.model.train_step(batches[0], made.optim_wrapper)
        made.train_loop._iter += 1
        gpu.waits.clear()
        logged = made.model.train_step(batches[1], made.optim_wrapper)
        of_step = list(gpu.own_waits)
        gpu.waits.clear()
        search.finite.check_state()
        assert len(gpu.own_waits) == 1, 'of all parameters together'
    state = made.optim_wrapper.optimizer.state.values()
    tensors = [*made.model.parameters(), *made.model.buffers(), *(s['momentum_buffer'] for s in state)]
    assert {tensor.device.type for tensor in tensors} == {'cuda'} and (state or not search.trains_weights)
    assert all(isinstance(value, torch.Tensor) for value in logged.values())
    if hasattr(search, 'distribution'):
        assert search.distribution.alpha.device.type == 'cpu' and search.distribution.alpha.isfinite().all()
    assert len(of_step) <= waits, of_step


@pytest.mark.parametrize('hook', [DARTS, ENTANGLED])
def test_the_end_of_a_search(hook, tmp_path):
    """Perturbation with tuning, recalibration and scores: rejects a mixture in which a value that is fixed, or one that
    is masked, is on the host."""
    gpu = FakeCuda()
    made, search = on_gpu(gpu, dict(hook, selection='perturbation', tune_iters=1), {}, tmp_path)
    with gpu.use():
        search.after_train_epoch(made)
        assert search.select(made) in search.space


def test_a_resumed_optimiser_counts_on_the_host():
    """A checkpoint is read onto the GPU. Rejects counts of steps that stay there: Adam would wait for each."""
    with FakeCuda().use() as gpu:
        weight = torch.nn.Parameter(torch.zeros(3, 5, device='cuda'))
        weight.grad = torch.zeros_like(weight)
        optimizer = torch.optim.AdamW([weight])
        optimizer.step()
        state = optimizer.state_dict()
        read = {'optimizer': {**state, 'state': {0: {k: v.to('cuda') for k, v in state['state'][0].items()}}}}
        gpu.waits.clear()
        for counted, waits in ((False, 1), (True, 0)):
            if counted:
                AtomicCheckpointHook().after_load_checkpoint(SimpleNamespace(_resume=False), read)
            optimizer.load_state_dict(read['optimizer'])
            gpu.waits.clear()
            optimizer.step()
            assert bool(gpu.waits) is bool(waits)
        assert {v.device.type for k, v in optimizer.state[weight].items() if k != 'step'} == {'cuda'}


def test_a_resumed_alpha_counts_on_the_host():
    """The same of the optimiser that a search has for itself."""
    made, search = prepared(dict(type='DARTSSearchHook'))
    made.model.train_step(next(iter(made.train_dataloader)), made.optim_wrapper)
    checkpoint = {'meta': {'epoch': 0}}
    search.before_save_checkpoint(made, checkpoint)
    with FakeCuda().use():
        (state,) = checkpoint['search']['state']['optimizer']['state'].values()
        state['step'] = state['step'].to('cuda')
        made._resume = True
        search.after_load_checkpoint(made, checkpoint)
    (state,) = search.alpha_optimizer.state.values()
    assert state['step'].device.type == 'cpu'
