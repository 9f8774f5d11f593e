"""Algorithm 1 of VIM-NAS: which weights a step moves, α's gradient on what is drawn, and what the search names."""

import copy
import json
import random
import shutil
from collections import Counter
from contextlib import nullcontext
from itertools import product
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmnas_video.datasets import close_runner_workers
from mmnas_video.entangle import Mixture, batch_statistics
from mmnas_video.errors import ConfigError
from mmnas_video.search import EntanglementSearchHook
from mmnas_video.search.candidates import CandidateScorer, check_score_weights
from mmnas_video.search.config_text import unformatted
from mmnas_video.search.drawn import DrawnValues
from mmnas_video.search.indicator import Likelihood
from mmnas_video.search.perturbation import PerturbationSelection
from mmnas_video.search.tuning import Tuning
from mmnas_video.space import Arch, Choice, SearchSpace
from mmnas_video.testing.method import Killed, Killer

from ..datasets.joint import joint_loader, model
from .test_darts import PLANTED
from .test_preemption import Signal
from .toy import SPACE, loader, prepared

HOOK = dict(type='EntanglementSearchHook', score_batches=1)
#: Without a norm that takes the choices' effect away.
PLAIN = dict(model=dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone', norm=False)))
VIT = dict(
    type='SuperViT',
    table=dict(embed_dims=(7, 11, 13), depths=(1, 2, 3), heads=(2, 3, 5), qkv_dims=(6, 11, 17), mlp_ratios=(1.5, 2.5)),
    tubes=(
        dict(kernels=('1x2x3', '1x3x2'), strides=('2x7x5', '3x5x7'), offsets=('0x0x0', '1x0x1')),
        dict(
            kernels=('2x2x3', '3x5x4', '3x3x3', '2x4x2', '2x3x5'),
            strides=('1x7x11', '2x7x5', '2x5x7', '3x5x5', '2x11x7'),
            offsets=('0x1x0', '1x0x2', '0x0x0'),
        ),
    ),
)
CONV = dict(
    type='SuperMBConv3D', stages=(((3, 9, 3), (1, 2)), ((5, 15, 5), (2,))), spatial_strides=(1, 2), stem_channels=7,
    kernels=('t1_s3', 't3_s3'), expansions=(1.5, 2.25, 3.0), attentions=('none',), out_channels=11, se_ratio=0.5,
)  # fmt: skip
#: Backbone, width of its output, and the type of the heads.
BACKBONES = {
    'SuperViT': (VIT, 13, 'TimeSformerHead'),
    'SuperViT fair': ({**VIT, 'sharing': 'fair'}, 13, 'TimeSformerHead'),
    'SuperMBConv3D': (CONV, 11, 'I3DHead'),
}


@pytest.fixture(autouse=True)
def in_mmaction():
    init_default_scope('mmaction')


# ---------------------------------------------------------------------------- a run on joint data
def joint_config(root, work_dir, hook, backbone, width, head):
    recognizer = model()
    recognizer['backbone'] = backbone
    recognizer['cls_head']['common'] = dict(type=head, in_channels=width, average_clips='prob')
    train = joint_loader(root)
    train['dataset']['held_out'] = dict(part='train', fraction=0.3)
    cfg = Config(
        dict(
            model=recognizer,
            work_dir=str(work_dir),
            cost_shape=(3, 5, 23, 29),
            train_dataloader=train,
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-2, weight_decay=0.1)),
            default_hooks=dict(checkpoint=dict(type='AtomicCheckpointHook', interval=1, max_keep_ckpts=2)),
            custom_hooks=[
                dict(type='ReproducibleHook'),
                dict(type='JointHook'),
                dict(type='BadSampleHook'),
                {**HOOK, **hook},
            ],
            randomness=dict(seed=7),
            log_level='WARNING',
            default_scope='mmaction',
            experiment_name=f'entangled-{work_dir.name}',
        )
    )
    return unformatted(cfg)


class Watch:
    """What each part of each step changes, and which datasets its two batches are of."""

    def __init__(self, runner, search):
        self.runner, self.search, self.steps, self.tuned = runner, search, [], 0
        self.weights, self.update, self.held_out = search.sampled_step, search._arch_step, search.held_out_batch
        search.sampled_step, search._arch_step = self._weights, self._update
        search.held_out_batch = self._held_out

    def everything(self):
        """Name and what it is of (weight, or a moment) to the values."""
        found = {}
        for name, parameter in self.search.bare.named_parameters():
            found[name, 'weight'] = parameter.detach().clone()
            for key, value in self.runner.optim_wrapper.optimizer.state.get(parameter, {}).items():
                if value.shape == parameter.shape:
                    found[name, key] = value.clone()
        return found

    def _weights(self, archs, batch, optim_wrapper):
        before = self.everything()
        result = self.weights(archs, batch, optim_wrapper)
        if isinstance(archs[0], Mixture):
            self.tuned += 1
        else:
            self.steps.append([archs, batch['data_samples'][0].task, before, self.everything()])
        return result

    def _held_out(self, batch):
        self.steps[-1].append((found := self.held_out(batch))['data_samples'][0].task)
        assert {sample.task for sample in found['data_samples']} == {self.steps[-1][-1]}
        return found

    def _update(self, *args):
        alpha, before = self.search.distribution.alpha.detach().clone(), self.everything()
        loss = self.update(*args)
        assert not torch.equal(alpha, self.search.distribution.alpha), 'α has not moved'
        assert all(torch.equal(value, before[key]) for key, value in self.everything().items()), 'α moved the weights'
        return loss


def watched(cfg):
    """Train; returns the runner, its search and what was seen."""
    runner = Runner.from_cfg(cfg)
    search = next(hook for hook in runner.hooks if isinstance(hook, EntanglementSearchHook))
    seen = []

    class Start(Hook):
        def before_train(self, runner):
            seen.append(Watch(runner, search))

    runner.register_hook(Start(), priority='LOWEST')
    runner.train()
    close_runner_workers(runner)
    return runner, search, seen[0]


def allowed(search, arch, task, name, shape):
    """Written apart from the freezing: entries of a parameter that a step of ``arch`` on ``task`` may move."""
    mask = torch.zeros(shape, dtype=torch.bool)
    prefix, _, rest = name.partition('.')
    if prefix == 'backbone':
        for part in search.searchable.slices(arch):
            if part.name == rest:
                part.mark(mask)
    elif name.startswith(f'cls_head.heads.{task}.'):
        window = search.searchable.output(arch) if mask.dim() == 2 else None
        if window is None:
            mask[:] = True
        else:
            used = [(window.start + i) % window.total for i in range(window.length)]
            mask[:, used] = True
    return mask


@pytest.mark.parametrize('name', [n if n == 'SuperViT' else pytest.param(n, marks=pytest.mark.slow) for n in BACKBONES])
def test_a_step_moves_what_was_sampled_and_nothing_else(name, root, tmp_path):
    """Every step of a run with AdamW: weights and moments outside the sampled slices, in the head's columns that the
    sampled width does not have, and in the other datasets' heads stay bit for bit; inside they move. α's step moves α
    alone, on a held-out batch of the same dataset. Rejects masked gradients (decay and momentum go on), a head that is
    forgotten, α in the weights' optimiser, and a held-out batch of any dataset."""
    backbone, width, head = BACKBONES[name]
    cfg = joint_config(root, tmp_path, dict(eval_batches=1, tune_iters=1), backbone, width, head)
    runner, search, seen = watched(cfg)
    lines = map(json.loads, (tmp_path / 'search' / 'history.jsonl').read_text().splitlines())
    fixed = [line['without'] for line in lines if line['kind'] == 'perturbation']
    scored = sum(
        any(score is not None for score in without) for without in fixed[:-1]
    )  # not of layers beyond the depth
    assert len(seen.steps) == len(runner.train_dataloader) and seen.tuned == scored > len(search.space.open) / 2
    assert len(fixed) == len(search.space.open)
    assert {task for _, task, *_ in seen.steps} == {'image', 'scene', 'motion'}
    narrow = 0
    for number, (archs, task, before, after, held_out) in enumerate(seen.steps):
        assert held_out == task and len(archs) == 1
        moved = 0
        for (parameter, kind), value in after.items():
            mask = allowed(search, archs[0], task, parameter, value.shape)
            old = before.get((parameter, kind), torch.zeros_like(value))
            assert torch.equal(value[~mask], old[~mask]), f'step {number}: {parameter} ({kind}) moved outside'
            moved += int((value != old)[mask].any())
            narrow += parameter.startswith(f'cls_head.heads.{task}') and not mask.all()
        assert moved > 10
    assert narrow or search.searchable.output(search.space.largest) is None
    found = json.loads((tmp_path / 'search/arch.json').read_text())
    assert found['arch'] in search.space and 0 <= found['search']['score'] <= 1
    lines = [json.loads(line) for line in (tmp_path / 'search/history.jsonl').read_text().splitlines()]
    fixed = [line['choice'] for line in lines if line['kind'] == 'perturbation']
    assert sorted(fixed) == sorted(choice.name for choice in search.space.open)


def test_without_freezing_the_rest_moves(root, tmp_path):
    """The positive control of the test above: with the option off, decay moves what was not sampled, in the head too.
    Rejects an option that is ignored."""
    cfg = joint_config(root, tmp_path, dict(freeze_unsampled=False, selection='argmax'), *BACKBONES['SuperViT'])
    _, search, seen = watched(cfg)
    outside = Counter()
    for archs, task, before, after, _ in seen.steps:
        for (name, kind), value in after.items():
            mask = allowed(search, archs[0], task, name, value.shape)
            if (name, kind) in before and not torch.equal(value[~mask], before[name, kind][~mask]):
                outside[name.partition('.')[0]] += 1
    assert outside['backbone'] > 10 and outside['cls_head'] > 0


def test_joint_data_saved_by_steps_goes_on_within_its_epoch(root, tmp_path):
    """Killed with MMEngine's hook, which names no place, gone on with from step 3, told to end after 5, gone on with.
    Rejects a place that is counted from where the resumed epoch went on, and data that goes to its place twice."""
    ends = dict(killed=Killer(4), told=Signal('step', 5))
    for number, name in enumerate(('whole', 'killed', 'told', 'resumed')):
        folder = tmp_path / ('whole' if name == 'whole' else 'other')
        cfg = joint_config(root, folder, dict(selection='argmax', calibration_clips=0), *BACKBONES['SuperViT'])
        cfg.train_dataloader.batch_sampler.steps_per_epoch = 7
        saved = dict(type='CheckpointHook' if name == 'killed' else 'AtomicCheckpointHook', by_epoch=False, interval=3)
        cfg.default_hooks.checkpoint.update(saved)
        cfg.resume, cfg.experiment_name = number > 1, f'joint-{name}'
        search = Runner.from_cfg(cfg)
        if name in ends:
            search.register_hook(ends[name])
        with pytest.raises((Killed, SystemExit)) if name in ends else nullcontext():
            search.train()
        if name == 'told':
            assert torch.load(folder / 'within_epoch.pth', weights_only=True)['within_epoch']['batches'] == 5
    for file in ('history.jsonl', 'arch.json'):
        assert (tmp_path / 'whole/search' / file).read_bytes() == (tmp_path / 'other/search' / file).read_bytes(), file


@pytest.mark.parametrize('mode', ['mixed', 'sampled'])
def test_images_leave_the_tubes_of_videos_alone(mode, root, tmp_path):
    """α of the 3-D tube and Adam's moments, bit for bit over each step on images, under decay and with moments from
    videos; on videos they move. So is the 2-D tube's stride, whose values differ in time only. Rejects a mask of what
    was drawn alone, and one of gradients that are exactly 0: most steps of a joint search are on images, and decay,
    momentum, rounding, or the noise of an estimate would move what these say nothing of."""
    adam = dict(type='Adam', lr=0.1, betas=(0.5, 0.999), weight_decay=0.1)
    hook = dict(selection='argmax', arch_optimizer=adam, init_std=0.5, arch_mode=mode)
    tubes = [{**VIT['tubes'][0], 'strides': ('2x7x5', '3x7x5')}, VIT['tubes'][1]]
    cfg = joint_config(root, tmp_path, hook, {**VIT, 'tubes': tubes}, *BACKBONES['SuperViT'][1:])
    runner = Runner.from_cfg(cfg)
    search = next(hook for hook in runner.hooks if isinstance(hook, EntanglementSearchHook))
    original, still, moved = search._arch_step, Counter(), Counter()

    def look(batch, *args):
        alpha = search.distribution.alpha
        state = search.alpha_optimizer.state.get(alpha, {})
        before = copy.deepcopy([alpha.detach(), state.get('exp_avg'), state.get('exp_avg_sq')])
        loss = original(batch, *args)
        state = search.alpha_optimizer.state[alpha]
        task, names = batch['data_samples'][0].task, [choice.name for choice in search.space]
        for old, new in zip(before, (alpha.detach(), state['exp_avg'], state['exp_avg_sq']), strict=True):
            for name, row, other in zip(names, torch.zeros_like(new) if old is None else old, new, strict=True):
                (still if torch.equal(row, other) else moved)[task, name] += 1
        return loss

    search._arch_step = look
    runner.train()
    close_runner_workers(runner)
    tube = ('tube2.kernel', 'tube2.stride', 'tube2.offset', 'tube1.stride')
    assert all(still['image', name] > 3 and not moved['image', name] for name in tube)
    assert all(moved['scene', name] + moved['motion', name] > 3 for name in tube)
    assert all(moved['image', name] > 3 for name in ('layer1.mlp_ratio', 'embed_dim', 'tube1.offset'))


def test_the_share_of_bad_files_holds_for_all_that_a_search_loads(root, tmp_path):
    """Every fifth video is text: with the share that the config allows, training, α's batches, scores, tuning and
    calibration go on; with less, the first of them ends. Rejects a search whose own loaders keep the default."""
    data = shutil.copytree(root, tmp_path / 'data')
    for video in sorted(data.glob('*/videos/*.mp4'))[::5]:
        video.write_text('no video')
    for share in (0.01, 0.8):
        hook = dict(eval_batches=1, tune_iters=1, calibration_clips=8)
        backbone, *rest = BACKBONES['SuperMBConv3D']
        few = dict(fixed={'*.kernel': 't1_s3', '*.expansion': 3.0})
        cfg = joint_config(data, tmp_path / str(share), hook, {**backbone, **few}, *rest)
        cfg.custom_hooks[2].max_bad_share = share
        runner = Runner.from_cfg(cfg)
        search = next(hook for hook in runner.hooks if isinstance(hook, EntanglementSearchHook))
        if share < 0.1:
            with pytest.raises(ConfigError, match=r'clips that cannot be read, expected at most a share of 0\.01'):
                runner.train()
        else:
            runner.train()
            assert (tmp_path / str(share) / 'search/arch.json').is_file()
            bad = {task: stream._bad for task, stream in search.held_out.streams.items()}
            assert any(counter.bad for counter in bad.values())
            assert {counter.max_share for counter in bad.values()} == {search.calibration.max_bad_share} == {share}
        close_runner_workers(runner)


def test_tuning_on_joint_data_draws_as_the_training(root, tmp_path):
    """Rejects batches of one size for all datasets where the training's differ, and datasets that come alike where the
    training's weights say otherwise."""
    cfg = joint_config(root, tmp_path, dict(selection='argmax', calibration_clips=0), *BACKBONES['SuperMBConv3D'])
    cfg.train_dataloader.batch_sampler.weights = dict(image=0.0, scene=0.75, motion=0.25)
    search = begun(cfg)
    tuning, seen = Tuning(search, search.runner, 1), Counter()
    for _ in range(24):
        samples = tuning._next()['data_samples']
        seen[samples[0].task] += 1
        assert len(samples) == {'scene': 4, 'motion': 5}[samples[0].task]
    tuning.close()
    assert 12 < seen['scene'] < 24 and seen['scene'] + seen['motion'] == 24


# ---------------------------------------------------------------------------- what a joint score is
def begun(cfg):
    """The entanglement hook of a run that stands before its first step."""
    runner = Runner.from_cfg(cfg)
    search = next(hook for hook in runner.hooks if isinstance(hook, EntanglementSearchHook))
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    search.before_run(runner)
    return search


def joint_search(root, folder, weights):
    """The search hook of a Runner that is ready to train on joint data."""
    cfg = joint_config(root, folder, dict(score_weights=weights, calibration_clips=0), *BACKBONES['SuperMBConv3D'])
    return begun(cfg)


def test_the_joint_score_is_weighed(root, tmp_path):
    """Rejects weights that are ignored or not divided by their sum, 0 for a dataset that is not named, and one that
    counts 0 and is run all the same."""
    search = joint_search(root, tmp_path, {'image': 3.0, 'motion': 0.5})
    arch = search.space.largest
    weighed = CandidateScorer(search, 1, Likelihood())
    apart = weighed.measure(arch)
    assert list(apart) == ['image', 'scene', 'motion']
    expected = (3 * apart['image'] + apart['scene'] + 0.5 * apart['motion']) / 4.5
    assert weighed(arch) == pytest.approx(expected, rel=1e-12) == weighed.score_all([arch])[0]
    assert abs(expected - sum(apart.values()) / 3) > 1e-3
    search.score_weights = {'scene': 0, 'image': 0}
    assert CandidateScorer(search, 1, Likelihood()).measure(arch) == {'motion': apart['motion']}


def test_weights_of_scores_that_say_nothing(root, tmp_path):
    """Rejects a name that is left out silently, and a division by 0 at the end of the first epoch."""
    with pytest.raises(ConfigError, match="found the name 'images', expected one of image, scene, motion"):
        joint_search(root, tmp_path, {'images': 1})
    search = joint_search(root, tmp_path, None)
    for weights, text in (
        ({'image': -1}, r'score_weights\.image: found -1, expected a number from 0'),
        ({'image': True}, r'score_weights\.image: found True'),
        ({'image': float('nan')}, r'score_weights\.image: found nan'),
        ({'image': 0, 'scene': 0, 'motion': 0.0}, 'score_weights: found 0 for every dataset'),
        ([0.5, 0.5], r'score_weights: found \[0.5, 0.5\], expected names of datasets'),
    ):
        search.score_weights = weights
        with pytest.raises(ConfigError, match=f'EntanglementSearchHook.{text}'):
            check_score_weights(search)


def test_one_dataset_has_nothing_to_weigh():
    """Rejects an option that is ignored where there is one dataset."""
    with pytest.raises(ConfigError, match=r'score_weights: found .* with data of one dataset, expected none'):
        prepared({**HOOK, 'score_weights': {'image': 1.0}}, **PLAIN)


# ---------------------------------------------------------------------------- α's gradient
def batches(made, search):
    return (search.prepare(next(iter(data))) for data in (made.train_dataloader, search.held_out.loader))


def test_the_gradient_is_that_of_the_drawn_mixture():
    """Against central differences of the held-out loss, computed apart from the hook as a softmax over the drawn values
    alone. Rejects probabilities that are not renormalised, a gradient through values that were not drawn, and the
    training batch."""
    made, search = prepared({**HOOK, 'drawn': {'width': 2}, 'init_std': 0.5}, **PLAIN)
    batch, held_out = batches(made, search)
    alpha = search.distribution.alpha
    for live in ([True, False, True], [False, True, True]):
        search.live = search.values.all
        search.live[1] = torch.tensor(live)
        found, loss = search.arch_gradient(batch, held_out, made.optim_wrapper)

        def loss_at(rows, live=live):
            kept = rows[1].exp() * torch.tensor(live, dtype=torch.float64)
            table = {'scale': rows[0].exp() / rows[0].exp().sum(), 'width': kept / kept.sum()}
            with torch.no_grad(), batch_statistics(search.bare), search.searchable.use(Mixture(search.space, table)):
                return float(search.bare(**held_out, mode='loss')['loss_cls'])

        expected = torch.zeros_like(alpha)
        for i, j in product(range(2), range(3)):
            step = torch.zeros_like(alpha)
            step[i, j] = 1e-5
            expected[i, j] = (loss_at(alpha.detach() + step) - loss_at(alpha.detach() - step)) / 2e-5
        assert torch.allclose(found, expected, atol=1e-8) and float(loss) == pytest.approx(loss_at(alpha.detach()))
        assert (found[1][~torch.tensor(live)] == 0).all() and found[1].abs().max() > 1e-3


def test_values_that_were_not_drawn_keep_their_alpha():
    """α and Adam's moments, bit for bit, under decay and with moments from earlier steps. Rejects an optimiser that
    runs over all: decay alone would pull hundreds of values that are rarely drawn back to the others."""
    adam = dict(type='Adam', lr=0.1, betas=(0.5, 0.999), weight_decay=0.1)
    made, search = prepared({**HOOK, 'drawn': {'width': 2}, 'init_std': 0.5, 'arch_optimizer': adam})
    alpha, left = search.distribution.alpha, set()
    for number, batch in enumerate([batch for _ in range(3) for batch in made.train_dataloader]):
        state = search.alpha_optimizer.state.get(alpha, {})
        before = copy.deepcopy([alpha.detach(), state.get('exp_avg'), state.get('exp_avg_sq')])
        made.model.train_step(batch, made.optim_wrapper)
        out = ~search.live & search.distribution.offered
        state = search.alpha_optimizer.state[alpha]
        for old, new in zip(before, (alpha.detach(), state['exp_avg'], state['exp_avg_sq']), strict=True):
            assert old is None or torch.equal(old[out], new[out]), f'step {number}'
        assert (alpha[search.live] != before[0][search.live]).all() and int(out.sum()) == 1
        left.add(out.nonzero().tolist()[0][1])
    assert left == {0, 1, 2}


def test_sampled_gradient_estimates_that_of_the_expected_loss():
    """Against enumeration of the 9 architectures; with K draws the estimator's mean is (K - 1) / K of it. Rejects the
    other sign, uniform draws, and the training batch."""
    made, search = prepared({**HOOK, 'arch_mode': 'sampled', 'arch_samples': 5, 'init_std': 1.0}, **PLAIN)
    batch, held_out = batches(made, search)
    alpha, losses, archs = search.distribution.alpha, [], []
    for indices in product(range(3), range(3)):
        archs.append(search.space.decode(indices))
        with torch.no_grad(), batch_statistics(search.bare), search.searchable.use(archs[-1]):
            losses.append(float(search.bare(**held_out, mode='loss')['loss_cls']))
    mean = (search.distribution.log_prob(archs).exp() * torch.tensor(losses)).sum()
    (expected,) = torch.autograd.grad(mean, [alpha])
    draws = 600
    found = sum(search.arch_gradient(batch, held_out, made.optim_wrapper)[0] for _ in range(draws)) / draws
    assert (found - 0.8 * expected).norm() < 0.2 * expected.norm() and expected.norm() > 0.01


def test_sampled_networks_leave_the_statistics_alone():
    """Rejects α's held-out batches in BatchNorm's running statistics, and scores by these."""
    made, search = prepared({**HOOK, 'arch_mode': 'sampled', 'init_std': 1.0})
    batch, held_out = batches(made, search)
    norm, found = made.model.backbone.norm, []
    for mean in (0.0, 7.0):
        norm.running_mean.fill_(mean)
        before = copy.deepcopy(norm.state_dict())
        search.rng.seed(1)
        found.append(search.arch_gradient(batch, held_out, made.optim_wrapper)[0])
        assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    assert torch.equal(*found) and found[0].any() and made.model.training


# ---------------------------------------------------------------------------- what a step runs
def test_what_is_sampled_and_mixed(monkeypatch):
    """Rejects sampling from α where Algorithm 1 says uniform (and the reverse), and modes that are ignored."""
    for weight_mode, arch_mode, sampling in (
        ('sampled', 'mixed', 'uniform'),
        ('sampled', 'mixed', 'alpha'),
        ('mixed', 'mixed', 'uniform'),
        ('sampled', 'sampled', 'uniform'),
    ):
        hook = {**HOOK, 'weight_mode': weight_mode, 'arch_mode': arch_mode, 'sampling': sampling}
        made, search = prepared(hook, epochs=9)
        with torch.no_grad():  # α on the side of one architecture
            search.distribution.alpha[0, 2] = search.distribution.alpha[1, 1] = 9.0
        kinds, trained = [], []
        made.model.backbone.register_forward_pre_hook(lambda m, _, kinds=kinds: kinds.append(type(m.arch)))
        original = search.sampled_step
        monkeypatch.setattr(
            search,
            'sampled_step',
            lambda archs, *args, original=original, trained=trained: (trained.extend(archs), original(archs, *args))[1],
        )
        for batch in [batch for _ in range(3) for batch in made.train_dataloader]:
            made.model.train_step(batch, made.optim_wrapper)
        steps = 1 + (4 if arch_mode == 'sampled' else 1)
        assert kinds == [
            Mixture if weight_mode == 'mixed' else Arch,
            *[Mixture if arch_mode == 'mixed' else Arch] * (steps - 1),
        ] * len(trained)
        if weight_mode == 'sampled':
            assert len(set(trained)) > 5 if sampling == 'uniform' else Counter(trained).most_common(1)[0][1] > 12


def test_accumulated_steps_unite_what_was_drawn():
    """α moves once for two batches, at all that either of them drew and nowhere else. Rejects a mask of the last draw
    alone."""
    optim = dict(type='OptimWrapper', accumulative_counts=2, optimizer=dict(type='SGD', lr=0.1))
    made, search = prepared({**HOOK, 'drawn': {'width': 2}, 'init_std': 0.5}, optim_wrapper=optim, **PLAIN)
    unions = set()
    for pair in zip(*[iter([batch for _ in range(2) for batch in made.train_dataloader])] * 2, strict=True):
        start, live = search.distribution.alpha.detach().clone(), []
        for batch in pair:
            assert torch.equal(search.distribution.alpha, start)
            made.model.train_step(batch, made.optim_wrapper)
            live.append(search.live)
        assert torch.equal(search.distribution.alpha.detach() != start, live[0] | live[1])
        unions.add(int((live[0] | live[1]).sum()) - int(live[1].sum()))
    assert unions == {0, 1}


GROUPS = SearchSpace(
    'groups',
    [
        Choice('depth', (2, 3)),
        Choice('tube1.kernel', tuple(range(7))),
        Choice('tube1.stride', tuple(range(5))),
        Choice('tube1.offset', (1,)),
        Choice('tube2.kernel', tuple(range(11))),
    ],
)


@pytest.mark.parametrize(('number', 'shapes'), [(1, {(1, 1, 1)}), (4, {(4, 1, 1), (2, 2, 1), (1, 4, 1)})])
def test_draws(number, shapes):
    """Rejects combinations whose number is not the one asked for, a choice that never has two values (its α would have
    no gradient), values that are never drawn, and groups that share one draw."""
    drawn, rng = DrawnValues(GROUPS, {'tube*': number}, 'Hook.drawn'), random.Random(0)
    tables = [drawn.draw(rng) for _ in range(400)]
    assert {tuple(table[1:4].sum(1).tolist()) for table in tables} == shapes
    assert {int(table[4].sum()) for table in tables} == {number}
    assert all(table[0].sum() == 2 for table in tables)
    assert torch.equal(sum(table.long() for table in tables) > 0, drawn.all)
    assert len({tuple(map(tuple, table.tolist())) for table in tables}) > 30


def test_draws_of_a_choice_with_as_many_values():
    """Rejects a choice that is passed over where the number would take all of its values."""
    space = SearchSpace('pair', [Choice('tube1.kernel', (1, 2)), Choice('tube1.stride', (1, 2, 3))])
    drawn, rng = DrawnValues(space, {'tube*': 2}, 'Hook.drawn'), random.Random(0)
    assert {tuple(drawn.draw(rng).sum(1).tolist()) for _ in range(40)} == {(2, 1), (1, 2)}
    assert drawn.draw(rng).shape == (2, 3)


def test_strongest_of_a_group():
    """Rejects combinations of several choices at once, and the weakest values."""
    weights = {choice.name: [(i * 3 % 7) / 7 for i in range(len(choice))] for choice in GROUPS}
    drawn = DrawnValues(GROUPS, {'tube*': 3}, 'Hook.drawn')
    table = drawn.strongest(weights, 'tube1.kernel')
    assert [row.nonzero().flatten().tolist() for row in table] == [[0, 1], [2, 4, 6], [2], [0], [2]]
    assert drawn.strongest(weights, 'depth').sum(1).tolist() == [2, 1, 1, 1, 1]


# ---------------------------------------------------------------------------- what it names
def test_perturbation_against_argmax():
    """Trained weights and an α on the side of an operation that sees nothing. Rejects a selection that reads α where it
    should look at the accuracy, and the reverse; and a value without weight that is kept since nothing is lost."""
    for selection, value in (('argmax', 'noise'), ('perturbation', 'signal')):
        hook = {**HOOK, 'selection': selection, 'weight_mode': 'mixed', 'drawn': {'view': 2}, 'eval_batches': 4}
        made, search = prepared({**hook, 'arch_dataloader': loader(1, 15, 60, sampler=False)}, epochs=9, **PLANTED)
        for batch in [batch for _ in range(8) for batch in made.train_dataloader]:
            made.model.train_step(batch, made.optim_wrapper)
        with torch.no_grad():
            search.distribution.alpha[0].copy_(torch.tensor([0.5, 0.2, 0.0]))
        assert search.select(made)['view'] == value


def test_masks_of_tuning_are_of_the_rank_and_the_call(monkeypatch):
    """Rejects dropout masks that all ranks share, that every call repeats, and that follow from what was drawn before
    (a resume would have others)."""

    def drawn(rank, calls):
        monkeypatch.setattr('mmnas_video.search.tuning.get_rank', lambda: rank)
        tuning = Tuning.__new__(Tuning)
        tuning.hook, tuning.calls = SimpleNamespace(seed=3, device=torch.device('cpu')), calls
        with tuning._own_masks():
            return tuple(torch.rand(7).tolist())

    found = [drawn(rank, calls) for rank in (0, 1) for calls in (0, 1)]
    assert len({*found}) == 4 and drawn(0, 0) == found[0]


def test_a_selection_mixes_the_heaviest_values():
    """Rejects the values that the last step has drawn, and those of the choice at hand in the mixture of the next."""
    _, search = prepared({**HOOK, 'drawn': {'width': 2}})
    with torch.no_grad():
        search.distribution.alpha[SPACE.names.index('width'), :3] = torch.tensor([0.3, 0.9, 0.5])
    for current, live in (('width', [1, 2]), (None, [1]), ('scale', [1])):
        mixture = search.selected_from(SimpleNamespace(current=current))
        assert mixture['width'].nonzero().flatten().tolist() == live
        assert mixture['scale'].all()  # of which all take part


@pytest.mark.parametrize(('own', 'expected'), [(None, 2), (3, 3)])
def test_batches_that_a_selection_scores_on(own, expected):
    """Rejects ``eval_batches`` that are taken and ignored, and a selection without it on other clips than an epoch."""
    _, search = prepared({**HOOK, 'score_batches': 2, 'eval_batches': own})
    assert [len(batches) for batches in search.selection_score()._batches.values()] == [expected]
    assert [len(batches) for batches in search._scorer._batches.values()] == [2]


def test_a_value_without_weight_is_no_candidate():
    """Rejects a mask over nothing, whose score is that of the whole network: lower than those without a bad value."""
    space = SearchSpace('one', [Choice('a', (2, 3, 5))])
    weights = {'a': torch.tensor([0.6, 0.0, 0.4])}
    selection = PerturbationSelection(space, lambda: weights, random.Random(0))
    lost = torch.tensor([0.3, 0.0, 0.2])
    line = selection.fix_next(lambda mixture: 0.1 + float(((mixture['a'] == 0) * lost).sum()))
    assert line['value'] == 5 and line['without'][1] is None


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(w_mode='mixed'), "unknown key 'w_mode'"),
        (dict(weight_mode='mix'), r"weight_mode: found 'mix', expected one of \['sampled', 'mixed'\]"),
        (dict(order=2), 'EntanglementSearchHook.order: found 2'),
        (dict(hessain='exact'), r"unknown key 'hessain', expected one of (?!.*'(order|hessian|virtual_lr|score)')"),
        (dict(score='mixture'), "score: found 'mixture'"),
        (dict(arch_samples=1), 'arch_samples: found 1, expected a whole number from 2'),
        (dict(eval_batches=0), 'eval_batches: found 0'),
        (dict(stop_when=dict(value='skip')), 'EntanglementSearchHook.stop_when: found'),
        (dict(tune_iters=-1), 'EntanglementSearchHook.tune_iters: found -1'),
        (dict(weight_mode='mixed', freeze_unsampled=True), 'freeze_unsampled: found True with'),
    ],
)
def test_refused_options(options, message):
    """Rejects options that are taken and ignored."""
    with pytest.raises(ConfigError, match=message):
        EntanglementSearchHook(**options)


def test_refused_draws():
    """Rejects a pattern that fits nothing, unless it is the default, and an error of a hook that the config has not."""
    with pytest.raises(ConfigError, match=r"EntanglementSearchHook\.watch: found 'skip'"):
        prepared({**HOOK, 'watch': 'skip'})
    for drawn, message in (({'tubes*': 4}, r"drawn: the pattern 'tubes\*'"), ({'width': 0}, 'found 0, expected')):
        with pytest.raises(ConfigError, match=message):
            prepared({**HOOK, 'drawn': drawn})
    _, search = prepared(HOOK)
    assert torch.equal(search.values.draw(random.Random(0)), search.distribution.offered)
