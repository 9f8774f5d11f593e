"""The demo of images and videos together, end to end on a few clips."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
import torch
from mmengine import load
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

import mmnas_video
from mmnas_video.registry import MODELS

SETS = ('image', 'scene', 'motion')
HOST_TEST = Path(importlib.util.find_spec('mmaction').origin).parent / '.mim' / 'tools' / 'test.py'


@pytest.fixture(scope='module')
def demo(process, tmp_path_factory):
    """Where a run of the demo has worked, and what it has left."""
    folder = tmp_path_factory.mktemp('demo')
    args = ('--smoke', '--work-dir', folder / 'w', '--data', folder / 'd', '--random', 2)
    return folder / 'w', process('tools/demo_vimnas.py', *args).ok()


@pytest.mark.slow
def test_the_demo(demo):
    """Rejects a table of one network under several names, random networks of another cost, an evolution that ignores
    its budget, generations that are no epochs, a mean that is not that of the sets, and a report without the tubes."""
    work_dir, done = demo
    rows = json.loads((work_dir / 'search/table.json').read_text())['rows']
    assert [row['name'] for row in rows] == ['searched', 'evolved, half the MACs', 'random 1', 'random 2']
    searched, evolved, *others = rows
    assert len({json.dumps(row['arch'], sort_keys=True) for row in rows}) == 4
    assert evolved['macs'] <= searched['macs'] / 2
    assert all(abs(row['macs'] / searched['macs'] - 1) <= 0.03 for row in others)
    for row in rows:
        assert row['top1'] == pytest.approx(sum(row['sets'][name] for name in SETS) / 3)
        assert all(0 <= row['sets'][name] <= 1 for name in SETS)
    assert json.loads((work_dir / 'search/arch.json').read_text())['arch'] == searched['arch']
    shown = re.search(r'^searched +([\d,]+) +([\d.]+)((?: +[\d.]+){4})$', done.out, re.M)
    assert shown[1] == f'{searched["params"]:,}'
    assert shown[3].split() == [f'{100 * searched["sets"][name]:.1f}' for name in (*SETS, 'mean')]
    report = Path(re.search(r'^report: (.+)$', done.out, re.M)[1])
    assert report.is_file() and 'tube' in report.read_text()
    fixed = [json.loads(line) for line in (work_dir / 'search/history.jsonl').read_text().splitlines()]
    assert sum(line['kind'] == 'perturbation' for line in fixed) > 10
    scored = [json.loads(line) for line in (work_dir / 'evolution/search/history.jsonl').read_text().splitlines()]
    assert [line['generation'] for line in scored if line['kind'] == 'candidate'] == [1] * 4


def predictions(config, weights):
    """Dataset to (scores, class) of each clip of its test list, by a plain loop."""
    mmnas_video.register()
    init_default_scope('mmaction')
    cfg = Config.fromfile(config)
    model = MODELS.build(cfg.model)
    model.load_state_dict(torch.load(weights, weights_only=True)['state_dict'], strict=True)
    model.eval()
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    found = {name: [] for name in SETS}
    for batch in Runner.build_dataloader(cfg.test_dataloader):
        with torch.no_grad():
            samples = model(**model.data_preprocessor(batch, False), mode='predict')
        for sample in samples:
            found[sample.task].append((sample.pred_score, int(sample.gt_label)))
    return found


@pytest.mark.slow
def test_the_hosts_own_test_tool_tests_the_joint_network(demo, process, tmp_path):
    """MMAction2's own test.py, by path, on the files that the search leaves, against a plain loop: every clip's scores,
    and the top-1 of every set and their mean that it prints. Rejects an extracted joint config that only our tools can
    run, heads that get each other's clips there, weights that are loaded in part, and sets that are left out."""
    search = demo[0] / 'search'
    files = search / 'extracted.py', search / 'extracted.pth'
    expected = predictions(*files)
    dump = tmp_path / 'scores.pkl'
    done = process(HOST_TEST, *files, '--work-dir', tmp_path / 'w', '--dump', dump).ok()
    found = load(dump)
    assert len(found) == sum(map(len, expected.values())) == 3 * 24
    right = {}
    for name, clips in expected.items():
        theirs = torch.stack([sample['pred_score'] for sample in found if sample['task'] == name])
        ours = torch.stack([scores for scores, _ in clips])
        torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5)
        assert ours.std(1).min() > 1e-3, 'nothing to tell apart'
        right[name] = sum(int(scores.argmax()) == label for scores, label in clips) / len(clips)
    right['mean'] = sum(right.values()) / 3
    for name, share in right.items():
        assert float(re.search(rf'\b{name}/top1: ([\d.]+)', done.out + done.err)[1]) == pytest.approx(share, abs=1e-4)
