"""Mixup and CutMix against their definitions; each dataset's own; a function of the batch alone."""

import numpy as np
import pytest
import torch
from mmaction.structures import ActionDataSample
from mmengine.registry import init_default_scope

from mmnas_video.errors import ConfigError
from mmnas_video.models.heads import TaskBlending, dense_targets
from mmnas_video.registry import MODELS


@pytest.fixture(autouse=True)
def in_mmaction():
    init_default_scope('mmaction')


def batch(task='a', start=0, size=7):
    """Clip i holds the value i everywhere, and is of class i."""
    made = [ActionDataSample().set_gt_label(i) for i in range(size)]
    for i, sample in enumerate(made):
        sample.set_metainfo(dict(task=task, draw=start * 1009 + i))
    return torch.arange(size).float().view(-1, 1, 1, 1, 1, 1).expand(-1, 1, 3, 2, 37, 53), made


def shares(blending, task='a', count=200):
    """(share, images, samples) of ``count`` batches."""
    out = []
    for start in range(count):
        imgs, made = blending(*batch(task, start))
        out.append((getattr(made[0], 'blended_share', None), imgs, made))
    return out


def test_mixup_is_a_blend_of_two_clips_and_their_labels():
    """The mean of clip i is then Σ_k k · target_k, by construction. Rejects images and labels that are blended with
    different shares or partners, and one partner for all."""
    for share, imgs, made in shares(TaskBlending(dict(a=dict(mixup=0.8))), count=20):
        targets = dense_targets(made, 7, 0.0, torch.device('cpu'))
        assert 0 <= share <= 1
        torch.testing.assert_close(imgs.mean((1, 2, 3, 4, 5)), targets @ torch.arange(7.0))
        assert imgs[0].min() == imgs[0].max()
        assert sorted(int(sample.blended_label) for sample in made) == list(range(7))


def test_cutmix_is_a_rectangle_in_all_frames_whose_area_is_the_share():
    """Rejects a share that is not mended at the edges, a box that changes from frame to frame, axes that are swapped,
    and a batch that is written to in place."""
    for share, imgs, made in shares(TaskBlending(dict(a=dict(cutmix=1.0))), count=40):
        targets = dense_targets(made, 7, 0.0, torch.device('cpu'))
        torch.testing.assert_close(imgs.mean((1, 2, 3, 4, 5)), targets @ torch.arange(7.0))
        index = next((i for i, s in enumerate(made) if int(s.blended_label) != i), None)
        if index is None or not 0 < share < 1:
            continue
        changed = imgs[index, 0] != index  # C T H W
        assert (changed == changed[:1, :1]).all()
        rows, columns = changed[0, 0].any(1).nonzero(), changed[0, 0].any(0).nonzero()
        height, width = (int(axis.max() - axis.min()) + 1 for axis in (rows, columns))
        assert height * width == int(changed[0, 0].sum()) == round(share * 37 * 53)
    assert torch.equal(batch()[0][3], torch.full((1, 3, 2, 37, 53), 3.0))


def test_a_rectangle_has_the_share_that_was_drawn():
    """A share of 1/2 (α is so large) of 37 x 53 is 26 x 37 where no edge is in the way, and less at an edge: a side of
    s, its centre anywhere, keeps s - s²/4 of the picture's on average. Rejects sides that are the share and not its
    root, and a centre that is always in the middle."""
    found = np.array([share for share, _, _ in shares(TaskBlending(dict(a=dict(cutmix=1e6))))])
    assert found.max() == pytest.approx(26 * 37 / (37 * 53))
    assert found.mean() == pytest.approx((0.5**0.5 - 0.5 / 4) ** 2, abs=0.03)


def test_shares_are_beta():
    """Mean 1/2 and variance 1/(4(2α + 1)) over 200 batches. Rejects α in the place of 1/α, a uniform share, one share
    for all batches."""
    for alpha in (0.3, 2.0):
        found = np.array([share for share, _, _ in shares(TaskBlending(dict(a=dict(mixup=alpha))))])
        assert abs(found.mean() - 0.5) < 0.09
        assert found.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.25)


def test_each_dataset_its_own():
    """Rejects one blending for all: Tab. 10 has mixup and CutMix on ImageNet, mixup on SSv2, none on Kinetics."""
    blending = TaskBlending(dict(in1k=dict(mixup=0.8, cutmix=1.0), ssv2=dict(mixup=0.3)))
    assert all(share is None for share, _, _ in shares(blending, 'k400', 20))
    assert all(imgs[0].min() == imgs[0].max() for _, imgs, _ in shares(blending, 'ssv2', 40))
    cut = [bool(imgs[0].min() != imgs[0].max()) for _, imgs, _ in shares(blending, 'in1k')]
    assert 0.3 < np.mean(cut) < 0.6  # half, less the rectangles that cover nothing or come from the clip itself


def test_prob_and_cutmix_share():
    """Rejects options that are ignored."""
    some = TaskBlending(dict(a=dict(mixup=1.0, prob=0.25)))
    assert abs(np.mean([share is not None for share, _, _ in shares(some)]) - 0.25) < 0.1
    cut = TaskBlending(dict(a=dict(mixup=1.0, cutmix=1.0, cutmix_share=0.0)))
    assert all(imgs[0].min() == imgs[0].max() for _, imgs, _ in shares(cut, count=20))


def test_a_function_of_the_batch():
    """Rejects draws from the global generators: after a resume another batch would come out, and dropout would depend
    on how many batches were blended."""
    blending = TaskBlending(dict(a=dict(mixup=0.8, cutmix=1.0)))
    state, np_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    once = blending(*batch(start=5))[0]
    assert torch.equal(torch.get_rng_state(), state) and (np.random.get_state()[1] == np_state).all()
    torch.manual_seed(1), np.random.seed(1)
    assert torch.equal(once, blending(*batch(start=5))[0])
    assert not torch.equal(once, blending(*batch(start=6))[0])


def test_inside_mmactions_preprocessor():
    """Rejects a signature that ActionDataPreprocessor does not call, and blending in evaluation."""
    tasks = dict(a=dict(mixup=1.0))
    pre = MODELS.build(
        dict(
            type='ActionDataPreprocessor', mean=[0.0] * 3, std=[1.0] * 3, format_shape='NCTHW',
            blending=dict(type='TaskBlending', tasks=tasks),
        )
    )  # fmt: skip
    imgs, made = batch()
    out = pre(dict(inputs=list(imgs), data_samples=made), training=False)
    assert torch.equal(out['inputs'], imgs) and 'blended_share' not in made[0]
    out = pre(dict(inputs=list(imgs), data_samples=made), training=True)
    assert 'blended_share' in out['data_samples'][0] and not torch.equal(out['inputs'], imgs)


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (dict(mixup=-1), 'blending.tasks.a.mixup: found -1'),
        (dict(alpha=1), "blending.tasks.a: found the option 'alpha'"),
        (dict(prob=2), 'blending.tasks.a.prob: found 2'),
    ],
)
def test_wrong_options_are_named(options, words):
    """Rejects an option that is misspelt and then ignored."""
    with pytest.raises(ConfigError, match=words):
        TaskBlending(dict(a=options))
