"""Evolution as a user does it: tools/search.py with --checkpoint, on real mp4 files."""

import json

import pytest
import torch
from mmengine.config import Config

from mmnas_video.launch import load_config
from mmnas_video.registry import MODELS

CONFIG = 'configs/demo/autox3d_evolution.py'
SMALL = (
    'custom_hooks.0.population=4',
    'custom_hooks.0.top_k=3',
    'custom_hooks.0.eval_batches=1',
    'custom_hooks.0.arch_dataloader.batch_size=4',
    'custom_hooks.0.calibration_clips=4',
)


@pytest.fixture(scope='module')
def supernet(tmp_path_factory):
    """A checkpoint of the demo's supernet, as a search leaves it."""
    model = MODELS.build(load_config(CONFIG, {'model.cls_head.num_classes': 4}).model)
    file = tmp_path_factory.mktemp('supernet') / 'supernet.pth'
    torch.save({'state_dict': model.state_dict(), 'search': {'space': model.backbone.space.identity}}, file)
    return file


def test_evolution_of_a_checkpoint(supernet, tool, tiny, tmp_path):
    """Rejects --checkpoint that does not reach the hook, weights that move, an extracted network that is not the
    supernet's, candidates over the budget, and a report without them."""
    options = ['--cfg-options', *tiny(epochs=2), *SMALL]
    done = tool('tools/search.py', CONFIG, '--checkpoint', supernet, '--work-dir', tmp_path, *options).ok()
    lines = [json.loads(line) for line in (tmp_path / 'search/history.jsonl').read_text().splitlines()]
    candidates = [line for line in lines if line['kind'] == 'candidate']
    assert len(candidates) == 8 and all(line['macs'] <= 4e6 for line in candidates)
    assert len({tuple(line['arch']) for line in candidates}) == 8
    weights, saved = (torch.load(f, weights_only=True)['state_dict'] for f in (supernet, tmp_path / 'epoch_2.pth'))
    assert all(torch.equal(weights[name], saved[name]) for name in weights)
    found = json.loads((tmp_path / 'search/arch.json').read_text())
    assert found['search']['score'] == max(line['score'] for line in candidates)
    assert dict(Config.fromfile(tmp_path / 'search/extracted.py').model.backbone.arch) == found['arch']
    assert (
        list((tmp_path / 'search/front').glob('*.json'))
        and 'Candidates' in (tmp_path / 'search/report.html').read_text()
    )
    assert f'arch: {tmp_path}/search/arch.json' in done.out


def test_a_dry_run_says_the_cost_of_whole_generations(supernet, tool, tiny, tmp_path):
    """Rejects a dry run that times two candidates and calls that a generation."""
    options = ['--no-retrain', '--dry-run', '--cfg-options', *tiny(epochs=3), *SMALL]
    done = tool('tools/search.py', CONFIG, '--checkpoint', supernet, '--work-dir', tmp_path, *options).ok()
    assert 'full search: 3 epochs of 1 steps' in done.out
    lines = (tmp_path / 'dry_run/search/history.jsonl').read_text().splitlines()
    assert sum(json.loads(line)['kind'] == 'candidate' for line in lines) == 4


@pytest.mark.parametrize(
    ('config', 'options', 'words'),
    [
        (CONFIG, [], ['EvolutionSearchHook.checkpoint: found none', '--checkpoint']),
        (CONFIG, ['--checkpoint', 'nowhere.pth'], ['nowhere.pth', 'no such file']),
        ('configs/demo/autox3d.py', ['--checkpoint', 'nowhere.pth'], ['--checkpoint', 'PARSECSearchHook']),
    ],
    ids=['none', 'missing', 'another method'],
)
def test_checkpoints_that_cannot_be(config, options, words, tool, tiny, tmp_path):
    """Rejects a traceback, a search over random weights, and a flag that is ignored."""
    tool('tools/search.py', config, *options, '--no-retrain', '--work-dir', tmp_path, '--cfg-options', *tiny()).refused(
        *words
    )
