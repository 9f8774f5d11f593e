"""The public conformance suites: every plug-in of the library passes, and a wrong one of each kind does not.

A new layer, space, searchable module or search method is one line in one of the four lists below.
"""

import math
import random
import time
from contextlib import contextmanager
from functools import partial

import pytest
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.visualization import Visualizer

from mmnas_video.entangle import (
    HeadsAt,
    MixedWindow,
    Mixture,
    Searchable,
    Slice,
    SuperAttention,
    SuperBatchNorm3d,
    SuperConv3d,
    SuperDepthwiseConv3d,
    SuperLayerNorm,
    SuperLinear,
    TubeAt,
    TubeEmbed,
    Window,
    lay_windows,
    tube_grid,
    whole,
)
from mmnas_video.models.backbones import SuperMBConv3D, SuperP3D, SuperViT
from mmnas_video.models.blocks import SuperGloRe, SuperNonLocal, SuperSqueezeExcite
from mmnas_video.registry import HOOKS
from mmnas_video.search import PARSECSearchHook, UniformSearchHook
from mmnas_video.search.base import SearchHook
from mmnas_video.space import (
    Arch,
    Choice,
    SearchSpace,
    cell_space,
    mbconv3d_groups,
    mbconv3d_space,
    vit_space,
    vit_table,
    vit_tubes,
)
from mmnas_video.testing import check_layer, check_mixture, check_search_method, check_searchable, check_space
from mmnas_video.testing.toy import SPACE, ToyBackbone, checkpoint

SIZE = (3, 5, 7)  # T, H, W
FIRST, MIDDLE, WRAPPED = Window(0, 2, 11), Window(3, 5, 11), Window(9, 7, 11)  # of 11 channels
SMALL = dict(
    stages=(((3, 9, 3), (1, 2)), ((5, 15, 5), (2,))),
    spatial_strides=(1, 2),
    expansions=(1.5, 2.25, 3.0),
    attentions=('none', 'glore', 'nonlocal'),
    stem_channels=7,
    out_channels=11,
    se_ratio=0.5,
    glore_nodes=(3, 5),
    nonlocal_widths=(3, 2),
    zero_init_residual=False,
)
VIT = dict(
    table=dict(embed_dims=(7, 11), depths=(1, 2), heads=(2, 3), qkv_dims=(7, 11), mlp_ratios=(1.5, 2.5)),
    tubes=(
        dict(kernels=('1x2x3', '1x3x3'), strides=('2x5x3', '3x3x4'), offsets=('0x0x0', '1x0x1')),
        dict(kernels=('2x2x3', '3x5x4'), strides=('1x4x3', '2x3x5'), offsets=('0x1x0', '1x0x2')),
    ),
)


def channels_first(window, *_):
    """Shape of an input of as many channels."""
    return (window.length, *SIZE)


#: Name to the arguments of check_layer: make, largest, ats, shape, cost.
#: Kernels of a tube; all lie in the first.
TUBES = ((3, 5, 4), (1, 2, 3), (2, 5, 2))
LAYERS = {
    'SuperConv3d': (
        lambda out, inp: SuperConv3d(inp.length, out.length, (1, 3, 3), (1, 2, 2), bias=True),
        (whole(11), whole(13)),
        [(FIRST, Window(8, 7, 13)), (WRAPPED, Window(2, 5, 13)), (MIDDLE, whole(13))],
        lambda out, inp: (inp.length, *SIZE),
        lambda layer, out, inp: layer.cost(out.length, inp.length, SIZE),
    ),
    'SuperDepthwiseConv3d': (
        lambda at, kernel: SuperDepthwiseConv3d(at.length, kernel, 2),
        (whole(11), (5, 5)),
        [(FIRST, (3, 3)), (WRAPPED, (1, 5)), (MIDDLE, (5, 3))],
        channels_first,
        lambda layer, at, kernel: layer.cost(at.length, kernel, SIZE),
    ),
    'SuperBatchNorm3d': (
        lambda at: SuperBatchNorm3d(at.length),
        (whole(11),),
        [(FIRST,), (WRAPPED,), (MIDDLE,)],
        channels_first,
        lambda layer, at: layer.cost(at.length),
    ),
    'SuperSqueezeExcite': (
        lambda at, inner: SuperSqueezeExcite(at.length, inner.length),
        (whole(11), whole(5)),
        [(FIRST, Window(4, 3, 5)), (WRAPPED, Window(1, 2, 5))],
        channels_first,
        lambda layer, at, inner: layer.cost(at.length, inner.length),
    ),
    'SuperGloRe': (
        lambda at: SuperGloRe(at.length, 3),
        (whole(11),),
        [(FIRST,), (WRAPPED,)],
        channels_first,
        lambda layer, at: layer.cost(at.length, SIZE),
    ),
    'SuperNonLocal': (
        lambda at: SuperNonLocal(at.length, 3),
        (whole(11),),
        [(FIRST,), (WRAPPED,)],
        channels_first,
        lambda layer, at: layer.cost(at.length, SIZE),
    ),
    'SuperLinear': (
        lambda out, inp: SuperLinear(inp.length, out.length),
        (whole(11), whole(13)),
        [(FIRST, Window(8, 7, 13)), (WRAPPED, Window(2, 5, 13)), (MIDDLE, whole(13))],
        lambda out, inp: (5, inp.length),
        lambda layer, out, inp: layer.cost(out.length, inp.length, 5),
    ),
    'SuperLayerNorm': (
        lambda at: SuperLayerNorm(at.length),
        (whole(11),),
        [(FIRST,), (WRAPPED,), (MIDDLE,)],
        lambda at: (5, at.length),
        lambda layer, at: layer.cost(at.length),
    ),
    'SuperAttention': (
        lambda embed, at: SuperAttention(embed.length, at.heads.length, at.dim.length),
        (whole(11), HeadsAt(whole(5), whole(3))),
        [(FIRST, HeadsAt(Window(4, 2, 5), whole(3))), (WRAPPED, HeadsAt(Window(1, 3, 5), Window(2, 2, 3)))],
        lambda embed, at: (7, embed.length),
        lambda layer, embed, at: layer.cost(embed.length, at.heads.length, at.dim.length, 7),
    ),
    'TubeEmbed': (
        lambda out, at: TubeEmbed(2, out.length, TUBES if at.kernel == TUBES[0] else [at.kernel]),
        (whole(11), TubeAt(TUBES[0], (1, 2, 3), (0, 0, 0))),
        [(FIRST, TubeAt(TUBES[1], (2, 1, 2), (1, 0, 2))), (WRAPPED, TubeAt(TUBES[2], (2, 3, 5), (0, 1, 1)))],
        lambda out, at: (2, 5, 13, 11),
        lambda layer, out, at: layer.cost(out.length, at.kernel, math.prod(tube_grid((5, 13, 11), at)[1])),
    ),
}
SPACES = {
    'autox3d': mbconv3d_space(mbconv3d_groups()),
    'autox3d with non-local': mbconv3d_space(mbconv3d_groups(attentions=('none', 'glore', 'nonlocal'))),
    'p3d': cell_space(),
    'vimnas-demo': vit_space(vit_table(VIT['table']), vit_tubes(VIT['tubes']), 'vimnas-demo'),
    'toy': SPACE,
}
#: Name to make and the shape of one input.
SEARCHABLES = {
    'SuperMBConv3D fair': (partial(SuperMBConv3D, **SMALL), (3, 5, 13, 11)),
    'SuperMBConv3D prefix': (partial(SuperMBConv3D, **SMALL, sharing='prefix'), (3, 5, 13, 11)),
    # Few operators: ten random architectures must use them all. All eight: tests/models/test_super_p3d.py.
    'SuperP3D': (partial(SuperP3D, nodes=1, channels=3, operators=('zero', 'skip', 'spe_conv_3')), (3, 5, 13, 11)),
    'SuperViT prefix': (partial(SuperViT, **VIT), (3, 5, 13, 11)),
    'SuperViT fair': (partial(SuperViT, **VIT, sharing='fair', pool='mean', patch_grid=(3, 4)), (3, 5, 13, 11)),
    'ToyBackbone': (ToyBackbone, (7,)),
}
METHODS = {
    'PARSEC': dict(type='PARSECSearchHook', num_archs=3),
    'PARSEC alternating': dict(type='PARSECSearchHook', num_archs=2, mode='alternating', cost_term='score'),
    'PARSEC by accuracy': dict(type='PARSECSearchHook', num_archs=3, indicator=dict(type='VideoAccuracy')),
    'DARTS': dict(type='DARTSSearchHook', score_batches=2),
    'DARTS of second order': dict(type='DARTSSearchHook', order=2, score='arch', score_batches=1, derive='last'),
    'DARTS, exact': dict(type='DARTSSearchHook', order=2, hessian='exact', virtual_lr=0.05, score_batches=1),
    'entangled': dict(type='EntanglementSearchHook', score_batches=2, drawn={'width': 2}, tune_iters=2),
    'entangled, sampled': dict(
        type='EntanglementSearchHook', arch_mode='sampled', sampling='alpha', selection='argmax', score_batches=1
    ),
    'uniform': dict(type='UniformSearchHook', num_archs=2, candidates=3, score_batches=2),
    'uniform, frozen': dict(type='UniformSearchHook', candidates=3, score_batches=2, freeze_unsampled=True),
    'conflict-aware': dict(type='ConflictAwareSearchHook', candidates=3, score_batches=2),
    'conflict-aware, as a whole': dict(
        type='ConflictAwareSearchHook', num_archs=1, per='network', candidates=3, score_batches=2, freeze_unsampled=True
    ),
    'evolution': dict(type='EvolutionSearchHook', population=2, top_k=2, eval_batches=2, checkpoint=checkpoint()),
    'evolution, Pareto': dict(
        type='EvolutionSearchHook',
        population=3,
        top_k=2,
        unit='choice',
        pareto='macs',
        indicator=dict(type='Likelihood'),
        checkpoint=checkpoint(),
    ),
}


@pytest.mark.parametrize('name', LAYERS)
def test_layer(name):
    """Every layer obeys the law of shared weights."""
    check_layer(*LAYERS[name])


@pytest.mark.parametrize('name', SPACES)
def test_space(name):
    """Every space can be sampled, walked, written and read."""
    check_space(SPACES[name])


def searchable_case(make, shape, number: int = 10):
    """Arguments of check_searchable: random architectures and inputs."""
    space, rng = make().space, random.Random(1)
    inputs = torch.randn(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    return make, inputs, [space.sample(rng) for _ in range(number)]


@pytest.mark.parametrize('name', SEARCHABLES)
def test_searchable(name):
    """Every module with an active architecture is, at each, the network that is extracted for it."""
    check_searchable(*searchable_case(*SEARCHABLES[name]))


@pytest.mark.parametrize('name', SEARCHABLES)
def test_mixture(name):
    """Every module with an active architecture also runs weights over the values, of which one-hot is the network."""
    check_mixture(*searchable_case(*SEARCHABLES[name], number=5))


@pytest.mark.parametrize('name', METHODS)
def test_search_method(name):
    """Every search method leaves its result, resumes exactly, and draws from its own generators."""
    check_search_method(METHODS[name])


def test_every_hook_is_in_the_list():
    """Rejects a search method that is registered and never put through its suite."""
    tried = {cfg['type'] for cfg in METHODS.values()}
    registered = {
        name
        for name, hook in HOOKS.module_dict.items()
        if isinstance(hook, type) and issubclass(hook, SearchHook) and hook.__module__.startswith('mmnas_video.')
    }
    assert registered - tried == set()


# ---------------------------------------------------------------------------- wrong mixtures
class Averages(ToyBackbone):
    """Takes the mean of the rows' weights for their expected mask."""

    def _at(self, arch):
        window, scale = super()._at(arch)
        return (window._replace(mask=window.mask / 3) if isinstance(window, MixedWindow) else window), scale


class CutsTheGradient(ToyBackbone):
    """Right outputs, weights that do not learn."""

    def _at(self, arch):
        window, scale = super()._at(arch)
        return (window._replace(mask=window.mask.detach()) if isinstance(window, MixedWindow) else window), scale


class HalfTheGradient(ToyBackbone):
    """Right outputs, a gradient of the scale that is too small."""

    def _at(self, arch):
        window, scale = super()._at(arch)
        return window, (scale / 2 + scale.detach() / 2 if isinstance(scale, torch.Tensor) else scale)


class KeepsTheWeights(ToyBackbone):
    """Remembers what the first mixture was made into."""

    def _at(self, arch):
        if not isinstance(arch, Mixture):
            return super()._at(arch)
        if not hasattr(self, 'kept'):
            self.kept = super()._at(arch)
        return self.kept


class TakesAnyMixture(ToyBackbone):
    """Does not look at whose weights they are."""

    @contextmanager
    def use(self, arch):
        previous, self._arch = self._arch, arch
        yield arch
        self._arch = previous


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (Averages, 'output of one-hot weights'),
        (CutsTheGradient, 'weights of width are not used'),
        (HalfTheGradient, 'derivative of the weights of scale'),
        (KeepsTheWeights, 'one-hot weights'),
        (TakesAnyMixture, 'over another space'),
    ],
)
def test_a_wrong_mixture_fails(wrong, message):
    """Each mistake is found, and named."""
    with pytest.raises(AssertionError, match=message):
        check_mixture(*searchable_case(wrong, (7,)))


# ---------------------------------------------------------------------------- wrong layers
class WrongAxis(SuperConv3d):
    """Slices the output channels where the input channels are meant, and the other way round."""

    def slices(self, prefix, out, inp):
        yield Slice(f'{prefix}weight', (inp, out))
        yield Slice(f'{prefix}bias', (out,))


class Prefix(SuperConv3d):
    """Runs the first channels although the window starts elsewhere."""

    def forward(self, x, out, inp):
        return super().forward(x, out._replace(start=0), inp)


class NoBiasCost(SuperConv3d):
    """Forgets the bias in its cost."""

    def cost(self, out, inp, size):
        return super().cost(out, inp, size)._replace(params=out * inp * 9)


class NoBiasSlice(SuperConv3d):
    """Forgets the bias in its slices."""

    def slices(self, prefix, out, inp):
        yield Slice(f'{prefix}weight', (out, inp))


class Detached(SuperConv3d):
    """Right outputs, no gradient of the input window."""

    def forward(self, x, out, inp):
        return super().forward(x.detach(), out, inp)


class LosesStatistics(SuperBatchNorm3d):
    """Its running statistics stay what they were."""

    def forward(self, x, channels):
        kept = self.running_mean.clone()
        y = super().forward(x, channels)
        self.running_mean.data.copy_(kept)
        return y


class WritesAll(SuperBatchNorm3d):
    """Touches the statistics of channels outside the window."""

    def forward(self, x, channels):
        y = super().forward(x, channels)
        if self.training and not channels.full:
            self.running_var.data[(channels.start + channels.length) % channels.total] += 1
        return y


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (WrongAxis, 'cuts dimension 0 of weight as one of 13'),
        (Prefix, 'output: found a difference'),
        (NoBiasCost, 'cost says'),
        (NoBiasSlice, 'slices are not the state'),
        (Detached, 'no gradient reaches the input'),
    ],
)
def test_a_wrong_convolution_fails(wrong, message):
    """Each mistake is found, and named."""
    _, *rest = LAYERS['SuperConv3d']
    with pytest.raises(AssertionError, match=message):
        check_layer(lambda out, inp: wrong(inp.length, out.length, (1, 3, 3), (1, 2, 2), bias=True), *rest)


@pytest.mark.parametrize(('wrong', 'message'), [(WritesAll, 'wrote to running_var outside the slice')])
def test_a_wrong_norm_fails(wrong, message):
    """Statistics that other widths own are not touched."""
    _, *rest = LAYERS['SuperBatchNorm3d']
    with pytest.raises(AssertionError, match=message):
        check_layer(lambda at: wrong(at.length), *rest)


def test_a_norm_that_keeps_its_statistics_only_where_it_is_narrow_fails():
    """A window's statistics go back into the shared buffers."""
    _, *rest = LAYERS['SuperBatchNorm3d']
    with pytest.raises(AssertionError, match='running_mean after the step'):
        check_layer(lambda at: (LosesStatistics if at.length == 11 else SuperBatchNorm3d)(at.length), *rest)


# ---------------------------------------------------------------------------- wrong spaces
class NeverLast(SearchSpace):
    """Samples with an off-by-one."""

    def sample(self, rng):
        return self.decode([rng.randrange(max(len(c) - 1, 1)) for c in self])


class GlobalSample(SearchSpace):
    """Draws from the global generator."""

    def sample(self, rng):
        return super().sample(random)


class Lenient(SearchSpace):
    """Takes anything."""

    def check(self, arch, source='arch'):
        return Arch(arch)

    def __contains__(self, arch):
        return True


class MutatesNothing(SearchSpace):
    """Draws a new value that may be the old one."""

    def mutate(self, arch, rng, probability=0.1):
        return self.sample(rng) if probability else arch


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (NeverLast('n', SPACE.choices), 'never was'),
        (GlobalSample('g', SPACE.choices), 'global generator'),
        (Lenient('l', SPACE.choices), 'contains: took|check: took'),
        (MutatesNothing('m', SPACE.choices), 'mutate: with'),
        (SearchSpace('d', [Choice('width', (5, 3, 2))]), 'do not ascend'),
        (SearchSpace('pinned', [Choice('width', (5,))]), 'nothing is open'),
    ],
)
def test_a_wrong_space_fails(wrong, message):
    """Each mistake is found, and named."""
    with pytest.raises(AssertionError, match=message):
        check_space(wrong)


# ---------------------------------------------------------------------------- wrong searchables
class ForgetsTheNorm(ToyBackbone):
    """Its cost leaves the norm's parameters out."""

    def cost(self, arch, shape):
        found = super().cost(arch, shape)
        return found._replace(params=found.params - 10)


class KeepsTheArch(ToyBackbone):
    """Its use() does not give the arch back."""

    def use(self, arch):
        self._arch = self.space.check(arch)
        return super().use(arch)


class ShiftedSlices(ToyBackbone):
    """Declares other rows than it runs."""

    def slices(self, arch):
        for part in super().slices(arch):
            moved = part.name == 'weight' and arch['width'] < 5 and self.space.size > 1
            yield part._replace(windows=(part.windows[0]._replace(start=1), None)) if moved else part


class DeadParameter(ToyBackbone):
    """Has a parameter that no architecture uses."""

    def __init__(self, arch=None):
        super().__init__(arch)
        if arch is None:
            self.dead = torch.nn.Parameter(torch.ones(3))


class WrongRange(ToyBackbone):
    """Its dearest architecture is not the dearest."""

    def cost_range(self, shape):
        low = self.space.smallest
        return {q: ((v, low), (v, low)) for q, v in self.cost(low, shape)._asdict().items()}


class IgnoresScale(ToyBackbone):
    """A pinned module that computes something else."""

    def forward(self, x):
        return super().forward(x if self.space.size > 1 else x * 1.000001)


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (ForgetsTheNorm, 'cost of the supernet says'),
        (KeepsTheArch, r'use\(\)'),
        (ShiftedSlices, 'output'),
        (DeadParameter, r"uses \['dead'\]"),
        (WrongRange, 'outside the range'),
        (IgnoresScale, 'output: found a difference'),
    ],
)
def test_a_wrong_searchable_fails(wrong, message):
    """Each mistake is found, and named."""
    with pytest.raises(AssertionError, match=message):
        check_searchable(*searchable_case(wrong, (7,)))


def test_a_supernet_with_other_windows_than_its_slices_fails(monkeypatch):
    """The real backbone with the mistake that a fair window invites: forward takes the prefix."""
    make, shape = SEARCHABLES['SuperMBConv3D fair']
    assert any(w.start for w in lay_windows((3, 6, 9)))
    monkeypatch.setattr(
        'mmnas_video.entangle.conv3d.take', lambda weight, dim, window: weight.narrow(dim, 0, window.length)
    )
    with pytest.raises(AssertionError, match='output: found a difference'):
        check_searchable(*searchable_case(make, shape))


# ---------------------------------------------------------------------------- wrong methods
class ForgetsAlpha(PARSECSearchHook):
    """Resumes with a new α."""

    def load_state_dict(self, state):
        pass


class ForgetsTheOptimiser(PARSECSearchHook):
    """Resumes with a new optimiser of α."""

    def load_state_dict(self, state):
        fresh = self.alpha_optimizer.state_dict()
        super().load_state_dict({**state, 'optimizer': fresh})


class OwnSeed(UniformSearchHook):
    """Draws from a generator that does not know the run's seed, and whose state is in no checkpoint."""

    def setup(self, runner):
        self._own = random.Random(0)

    def step(self, batch, optim_wrapper):
        return self.sampled_step([self.space.sample(self._own)], batch, optim_wrapper)


class FixedSeed(UniformSearchHook):
    """Seeds its (resumable) generator with a constant."""

    def setup(self, runner):
        self.rng = random.Random(0)


class GlobalGenerator(UniformSearchHook):
    """Draws from Python's global generator."""

    def step(self, batch, optim_wrapper):
        return self.sampled_step([self.space.sample(random)], batch, optim_wrapper)


class GlobalAtTheEnd(UniformSearchHook):
    """Draws from torch's global generator when it selects."""

    def select(self, runner):
        return self.space.decode([int(torch.randint(3, ())) for _ in self.space])


class KeepsTheStep(UniformSearchHook):
    """Leaves its step in the model."""

    def after_train(self, runner):
        super().after_train(runner)
        runner.model.train_step = self._train_step


class NeverSteps(UniformSearchHook):
    """Puts its step where it is not called."""

    def before_train(self, runner):
        pass


class TakesAnything(UniformSearchHook):
    """Swallows unknown options."""

    def __init__(self, no_such_option=None, **kwargs):
        super().__init__(**kwargs)


class LearnsNothing(UniformSearchHook):
    """Computes gradients and never updates."""

    def step(self, batch, optim_wrapper):
        logged = super().step(batch, optim_wrapper)
        with torch.no_grad():
            for parameter, start in zip(self.bare.parameters(), self._start, strict=True):
                parameter.copy_(start)
        return logged

    def setup(self, runner):
        self._start = [p.detach().clone() for p in self.bare.parameters()]


class LeavesTheArch(UniformSearchHook):
    """Sets the active architecture without giving the old one back."""

    def after_train(self, runner):
        super().after_train(runner)
        self.searchable._arch = self.space.smallest


class OutsideTheSpace(UniformSearchHook):
    """Ends with an architecture that nobody offered."""

    def select(self, runner):
        return self.space.largest.replace({'width': 4})


class SaysTooLittle(UniformSearchHook):
    """Runs more than it says, as a method that says nothing."""

    def step_work(self, ranks):
        return SearchHook.step_work(self, ranks)

    def step(self, batch, optim_wrapper):
        super().step(batch, optim_wrapper)
        return super().step(batch, optim_wrapper)


WRONG = {
    ForgetsAlpha: 'killed and resumed',
    ForgetsTheOptimiser: 'killed and resumed',
    OwnSeed: 'killed and resumed',
    FixedSeed: 'another seed',
    GlobalGenerator: 'GlobalGenerator.step: drew from the global generator of random',
    GlobalAtTheEnd: 'select: drew from the global generator of torch',
    KeepsTheStep: 'train_step back',
    NeverSteps: 'step was never called',
    TakesAnything: 'took an option',
    LearnsNothing: 'do not learn',
    LeavesTheArch: 'left the architecture',
    OutsideTheSpace: 'not of its space',
    SaysTooLittle: 'SaysTooLittle.step_work: found 18 passes in 18 steps, expected the 36',
}


@pytest.mark.parametrize('wrong', WRONG, ids=lambda hook: hook.__name__)
def test_a_wrong_method_fails(wrong):
    """Each mistake is found, and named."""
    options = dict(num_archs=3) if issubclass(wrong, PARSECSearchHook) else dict(candidates=3, score_batches=1)
    HOOKS.register_module(module=wrong, force=True)
    try:
        with pytest.raises(AssertionError, match=WRONG[wrong]):
            check_search_method(dict(type=wrong.__name__, **options))
    finally:
        del HOOKS.module_dict[wrong.__name__]


def test_a_check_after_one_that_failed(monkeypatch):
    """Rejects runs of one name in one second, of which MMEngine takes the second for the first: a method that is mended
    and checked again fails over a folder that is gone. And rejects what stays in MMEngine's lists of a process."""
    now = time.localtime()
    monkeypatch.setattr(time, 'localtime', lambda *seconds: now)
    monkeypatch.setitem(HOOKS.module_dict, 'GlobalGenerator', GlobalGenerator)
    MMLogger.get_instance('own')
    with pytest.raises(AssertionError, match='global generator'):
        check_search_method(dict(type='GlobalGenerator', candidates=3, score_batches=1))
    check_search_method(dict(type='UniformSearchHook', candidates=3, score_batches=1))
    left = {name for owner in (MMLogger, MessageHub, *Visualizer.__subclasses__()) for name in owner._instance_dict}
    assert left == {'own'} and MMLogger.get_current_instance().instance_name == 'own'


@pytest.mark.parametrize('check', [check_searchable, check_mixture])
def test_inputs_of_another_precision_are_taken(check):
    """Rejects torch's error over two dtypes, where an AssertionError says what is wrong with a module."""
    make, inputs, archs = searchable_case(*SEARCHABLES['ToyBackbone'])
    check(make, inputs.float(), archs)


def test_a_searchable_that_is_wrapped_is_refused():
    """Rejects a suite that tests nothing, because what it was given is not the searchable module."""
    with pytest.raises(AssertionError, match='not itself the outermost'):
        check_searchable(lambda **cfg: torch.nn.Sequential(ToyBackbone(**cfg)), torch.zeros(2, 7, dtype=torch.float64))
    assert issubclass(ToyBackbone, Searchable)
