"""Which lists a run has read stands in what it leaves."""

import hashlib
import json

import numpy as np
from mmengine.config import Config

from mmnas_video.search.data_lists import data_lists
from tests.search import toy


def test_every_list_is_named_once_with_the_hash_of_its_bytes(tmp_path):
    """Rejects: lists of wrapped and joint datasets left out, data_root ignored, a list of two loaders twice, a hash of
    the name or of the text with other line ends, a failure for a list that is not there."""
    files = {'a/train.txt': b'x.mp4 0\r\n', 'a/val.txt': b'', 'b/train.txt': b'y.mp4 1\n', 'own.txt': b'z 2\n'}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    one = dict(ann_file='train.txt', data_root=f'{tmp_path}/a/')
    two = dict(ann_file=f'{tmp_path}/b/train.txt', data_root='elsewhere')
    cfg = Config(
        dict(
            train_dataloader=dict(dataset=dict(dataset=dict(datasets=dict(one=one, two=two)))),
            val_dataloader=dict(dataset=dict(ann_file='val.txt', data_root=str(tmp_path / 'a'))),
            test_dataloader=dict(dataset=[one, dict(ann_file='gone.txt', data_root=str(tmp_path)), dict(ann_file='')]),
            custom_hooks=[dict(type='X', arch_dataloader=dict(dataset=dict(ann_file=str(tmp_path / 'own.txt'))))],
        )
    )
    names = ('a/train.txt', 'b/train.txt', 'a/val.txt', 'own.txt')
    assert data_lists(cfg) == [
        {'file': (tmp_path / name).as_posix(), 'sha256': hashlib.sha256(files[name]).hexdigest()} for name in names
    ]


def test_the_search_leaves_its_lists_and_sends_tensorboard_what_it_records(tmp_path):
    """Rejects: an arch.json without the lists, scalars of another epoch or step than the history's, entropies of the
    choices that are in the report alone."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    listed = tmp_path / 'list.txt'
    listed.write_text('x.mp4 0\n')
    visualizer = dict(type='Visualizer', name='board', vis_backends=[dict(type='TensorboardVisBackend')])
    hook = dict(type='PARSECSearchHook', num_archs=3, budget=dict(macs=1e9))
    runner = toy.runner(hook, work_dir=str(tmp_path / 'run'), epochs=2, visualizer=visualizer)
    runner.cfg.custom_hooks[0]['ann_file'] = str(listed)  # the toy's data has no list of its own
    runner.train()
    runner.visualizer.close()
    search = json.loads((tmp_path / 'run' / 'search' / 'arch.json').read_text())['search']
    assert search['data'] == [{'file': str(listed), 'sha256': hashlib.sha256(b'x.mp4 0\n').hexdigest()}]
    lines = [json.loads(line) for line in (tmp_path / 'run' / 'search' / 'history.jsonl').read_text().splitlines()]
    epochs = [line for line in lines if line['kind'] == 'epoch']
    steps = [max(line['step'] for line in lines if line['kind'] == 'step' and line['epoch'] == e) for e in (1, 2)]
    (folder,) = {path.parent for path in tmp_path.rglob('events.out.tfevents*')}
    events = EventAccumulator(str(folder)).Reload()
    for key in ('entropy', 'score', 'macs', 'target', 'smallest_share'):
        found = events.Scalars(f'search/{key}')
        assert [event.step for event in found] == steps
        assert [event.value for event in found] == [float(np.float32(line[key])) for line in epochs]
    for name in epochs[0]['entropies']:
        found = [event.value for event in events.Scalars(f'search/entropy/{name}')]
        assert found == [float(np.float32(line['entropies'][name])) for line in epochs]
