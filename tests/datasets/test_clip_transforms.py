"""An image becomes a clip; what is random in a pipeline is the same in all frames of a clip."""

import numpy as np
import pytest

from mmnas_video.datasets import ClipRandomErasing, seeded
from mmnas_video.errors import ConfigError
from mmnas_video.registry import TRANSFORMS


def frames(count=7, height=37, width=53):
    rng = np.random.default_rng(0)
    return [rng.integers(100, 110, (height, width, 3)).astype(np.uint8) for _ in range(count)]


def erase(seed=0, clip=None, **options):
    results = dict(imgs=clip or frames())
    with seeded(seed):
        return ClipRandomErasing(**options)(results)['imgs']


def test_an_image_is_a_clip_of_one_frame():
    """Rejects BGR handed on as RGB, swapped axes, a lost label, and T in the place of the views."""
    image = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    results = dict(img=image, gt_label=11)
    for step in (
        dict(type='ImageAsClip'),
        dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs'),
    ):
        results = TRANSFORMS.build(step)(results)
    assert results['inputs'].shape == (1, 3, 1, 5, 7)
    assert (results['inputs'][0, :, 0].permute(1, 2, 0).numpy() == image[..., ::-1]).all()
    assert results['data_samples'].gt_label.tolist() == [11]
    kept = TRANSFORMS.build(dict(type='ImageAsClip', to_rgb=False))(dict(img=image))
    assert (kept['imgs'][0] == image).all() and 'label' not in kept


def test_one_rectangle_and_one_noise_for_all_frames():
    """Rejects a box, or noise, drawn anew for each frame, and frames that are written to in place."""
    clip = frames()
    copies = [frame.copy() for frame in clip]
    erased = erase(3, clip, prob=1.0)
    changed = [(new != old).any(2) for new, old in zip(erased, clip, strict=True)]
    rows, columns = np.nonzero(changed[0])
    box = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
    assert all((frame[box] == erased[0][box]).all() for frame in erased)
    outside = np.ones(changed[0].shape, bool)
    outside[box] = False
    assert not any(mask[outside].any() for mask in changed)
    assert all((new == old).all() for new, old in zip(clip, copies, strict=True))
    assert len(np.unique(erased[0][box])) > 50
    assert (erase(3, clip, prob=1.0, fill='mean')[2][box] == 128).all()


def test_share_and_area_are_as_asked():
    """Rejects a probability that is turned round, areas of the box's side instead of its area, an aspect that is
    always one, one that is width / height, and boxes and noise that do not reach the last row and white."""
    clip = [np.full((101, 103, 3), 7, np.uint8)]
    areas, ratios, hit, ends = [], [], 0, []
    for seed in range(300):
        mask = (erase(seed, clip, prob=0.7, area=(0.05, 0.25), aspect=(0.5, 2.0), fill='mean')[0] == 128).all(2)
        if mask.any():
            hit += 1
            height, width = (np.ptp(axis) + 1 for axis in np.nonzero(mask))
            areas.append(height * width / mask.size), ratios.append(height / width)
            ends.append([mask[0].any(), mask[-1].any(), mask[:, 0].any(), mask[:, -1].any()])
    assert abs(hit / 300 - 0.7) < 0.09 and np.any(ends, 0).all()
    assert 0.045 < min(areas) < 0.06 and 0.235 < max(areas) < 0.26 and abs(np.mean(areas) - 0.15) < 0.02
    assert 0.48 < min(ratios) < 0.6 and 1.7 < max(ratios) < 2.1 and abs(np.mean(np.log(ratios))) < 0.1
    tall = (erase(0, clip, prob=1.0, area=(0.1, 0.1), aspect=(3, 3), fill='mean')[0] == 128).all(2)
    height, width = (np.ptp(axis) + 1 for axis in np.nonzero(tall))
    assert height / width == pytest.approx(3, rel=0.05)
    noise = erase(0, clip, prob=1.0, area=(0.9, 0.9), aspect=(1, 1))[0]
    assert (noise.min(), noise.max()) == (0, 255)


def test_randaugment_is_the_same_for_all_frames():
    """Rejects an augmentation that is drawn anew for each frame: that would be a motion of its own. (The same picture
    in all frames has to stay the same picture.)"""
    augment = TRANSFORMS.build(dict(type='TorchVisionWrapper', op='RandAugment', num_ops=2, magnitude=9))
    picture, changed = frames(1)[0], 0
    picture[5:20, 9:30] = 200
    for seed in range(40):
        with seeded(seed):
            clip = augment(dict(imgs=[picture.copy() for _ in range(5)]))['imgs']
        assert all((frame == clip[0]).all() for frame in clip), seed
        changed += not (clip[0] == picture).all()
    assert changed > 20


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (dict(prob=1.5), 'ClipRandomErasing.prob: found 1.5'),
        (dict(area=(0.4, 0.2)), 'ClipRandomErasing.area: found'),
        (dict(area=(0.0, 0.2)), 'ClipRandomErasing.area: found'),
        (dict(aspect=(-1, 2)), 'ClipRandomErasing.aspect: found'),
        (dict(fill='black'), "ClipRandomErasing.fill: found 'black'"),
    ],
)
def test_wrong_options_are_named(options, words):
    """Rejects an error in a worker, in the middle of an epoch."""
    with pytest.raises(ConfigError, match=words):
        ClipRandomErasing(**options)
