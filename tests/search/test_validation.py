"""What a search validates: the architecture that it would name, and at its end the one that it has named."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from mmnas_video.search import SearchHook
from mmnas_video.space import Arch

from .toy import SPACE, loader, runner

DARTS = dict(type='DARTSSearchHook', score_batches=1, init_std=0.5)


class Validations(Hook):
    """Architecture and top-1 of each."""

    priority = 'LOWEST'

    def __init__(self, search):
        self.search, self.seen, self.archs = search, [], []

    def before_val_epoch(self, runner):
        file = Path(runner.work_dir) / 'search' / 'arch.json'
        left = json.loads(file.read_text())['search'] if file.exists() else {}
        assert 'validated' not in left, 'figures of an earlier validation, maybe of another architecture'

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.archs.append(self.active)

    def after_val_epoch(self, runner, metrics=None):
        (arch,) = set(self.archs)
        self.seen.append((arch, metrics['top1']))
        self.archs = []


def searched(hook, tmp_path, **changes):
    """Run a search of three epochs; returns its hook, its model and the validations."""
    made = runner(
        dict(hook), work_dir=str(tmp_path), epochs=3, val_dataloader=loader(2, size=211), val_cfg={},
        val_evaluator=dict(type='ToyMetric'), **changes,
    )  # fmt: skip
    search = next(h for h in made.hooks if isinstance(h, SearchHook))
    validations = Validations(search)
    made.model.backbone.register_forward_pre_hook(
        lambda module, _: setattr(validations, 'active', module.arch) if not torch.is_grad_enabled() else None
    )
    made.register_hook(validations)
    made.train()
    return made, search, validations.seen


def accuracy(made, search, arch):
    """Top-1 of a network on the validation list with the weights as they are, apart from the loop."""
    right = []
    with search.inherited(arch), torch.no_grad():
        made.model.eval()
        for batch in made.val_dataloader:
            right += [int(s.pred_score.argmax()) == int(s.gt_label) for s in made.model.val_step(batch)]
    return sum(right) / len(right)


@pytest.mark.parametrize(
    ('hook', 'count'),
    [
        (dict(type='PARSECSearchHook', num_archs=2), 3),
        ({**DARTS, 'selection': 'perturbation', 'tune_iters': 7, 'tune_lr': 1.0}, 4),
        ({**DARTS, 'selection': 'perturbation', 'tune_iters': 0}, (3, 4)),
    ],
)
def test_the_last_validation_is_of_what_was_found(hook, count, tmp_path):
    """Rejects a run whose last figures are of the architecture before the selection, or of the weights before its
    tuning; a validation of the same network with the same weights twice; and an arch.json without these figures, or
    with those of another validation."""
    made, search, seen = searched(hook, tmp_path)
    left = json.loads((tmp_path / 'search/arch.json').read_text())
    found = Arch(left['arch'])
    arch, top1 = seen[-1]
    assert left['search']['validated'] == {'top1': top1} and left['search']['final']
    assert arch == found and top1 == pytest.approx(accuracy(made, search, found))
    assert len(seen) in (count if isinstance(count, tuple) else (count,))
    if isinstance(count, tuple):  # nothing was trained: anew only where the selection has changed its mind
        assert len(seen) == (3 if seen[2][0] == found else 4)


@pytest.mark.parametrize('tuned', [True, False])
def test_with_averaged_weights_the_found_network_has_those_that_were_validated(tuned, tmp_path):
    """Rejects an extraction of the weights that the average is of, a selection whose tuning starts from these, and a
    last validation of the average without the tuning."""
    options = dict(selection='perturbation', tune_iters=7, tune_lr=1.0) if tuned else {}
    hooks = dict(checkpoint=dict(type='AtomicCheckpointHook', interval=1), ema=dict(type='EMAHook', momentum=0.005))
    rate = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1.0))
    made, search, seen = searched({**DARTS, **options}, tmp_path, default_hooks=hooks, optim_wrapper=rate)
    arch, top1 = seen[-1]
    assert arch == search.chosen and top1 == pytest.approx(accuracy(made, search, arch))
    last = torch.load(tmp_path / 'epoch_3.pth', weights_only=True)
    (average, raw), now = (last[key] for key in ('state_dict', 'ema_state_dict')), search.bare.state_dict()
    assert (now['head.weight'] - raw['module.head.weight']).abs().max() > 0.1, 'the test could see no difference'
    same = [torch.equal(now[name], average[name]) for name, _ in search.bare.named_parameters()]
    assert not any(same) if tuned else all(same)


@pytest.mark.parametrize('ema', [False, True])
def test_a_test_after_the_search_is_of_what_was_found(ema, tmp_path):
    """Rejects figures of the largest architecture with the statistics of the supernet, and one that stays in its place
    afterwards; with averaged weights too, which the test exchanges once more."""
    made, search, _ = searched(
        dict(type='PARSECSearchHook', num_archs=2, budget=dict(macs=40)), tmp_path, test_dataloader=loader(4, size=211),
        test_cfg={}, test_evaluator=dict(type='ToyMetric'),
        default_hooks=dict(ema=dict(type='EMAHook', momentum=0.005)) if ema else {},
    )  # fmt: skip
    before, archs = {name: value.clone() for name, value in made.model.state_dict().items()}, set()
    made.model.backbone.register_forward_pre_hook(
        lambda module, _: archs.add(module.arch) if not module.norm.training else None
    )
    metrics = made.test()
    assert archs == {search.chosen} and search.chosen != SPACE.largest
    assert made.model.backbone.arch == SPACE.largest
    assert all(torch.equal(value, before[name]) for name, value in made.model.state_dict().items())
    with search.inherited(search.chosen), torch.no_grad():
        made.model.eval()
        right = [
            int(s.pred_score.argmax()) == s.gt_label for b in made.test_dataloader for s in made.model.test_step(b)
        ]
    assert metrics['top1'] == pytest.approx(sum(right) / len(right))


def test_a_checkpoint_of_the_last_validation_keeps_what_was_found(tmp_path):
    """``save_best`` saves after the validation with which the search ends. Rejects arch.json, and what is extracted,
    becoming what the search would have named before its selection: the largest architecture, outside the budget."""
    made = runner(
        dict(type='UniformSearchHook', candidates=3, score_batches=1, budget=dict(macs=40)), work_dir=str(tmp_path),
        epochs=1, val_dataloader=loader(2), val_cfg={}, val_evaluator=dict(type='ToyMetric'),
        train_cfg=dict(by_epoch=True, max_epochs=1, val_begin=2),
        default_hooks=dict(checkpoint=dict(type='AtomicCheckpointHook', save_best='top1', rule='greater')),
    )  # fmt: skip
    made.train()
    assert list(tmp_path.glob('best_top1_*.pth'))
    search = next(h for h in made.hooks if isinstance(h, SearchHook))
    written = json.loads((tmp_path / 'search/arch.json').read_text())
    assert search.violation(search.chosen) == 0 and search.chosen == search.final.arch == Arch(written['arch'])
    assert written['search']['final'] and written['search']['epoch'] == 1
