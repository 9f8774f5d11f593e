"""tools/data/from_folders.py: your own videos, from a folder for each class to a search on them."""

import json
import os
import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from mmengine.registry import DATASETS, init_default_scope

import mmnas_video  # noqa: F401
from mmnas_video.launch import load_config
from tests.helpers import load_data_tool

from_folders = load_data_tool('from_folders')
ROOT = Path(__file__).parents[2]
SPLITS = ('train', 'val', 'test')


def make(root, counts):
    """Folders of empty files: class name to how many, at two depths, with blanks and other alphabets."""
    for name, count in counts.items():
        for number in range(count):
            place = root / name / ('', 'naïve camera 2')[number % 2] / f'clip {number} ü.{("mp4", "MOV")[number % 2]}'
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
    return root


def lists(out):
    """Path and label of each line, by split."""
    read = {part: (out / f'{part}.txt').read_text(encoding='utf-8').splitlines() for part in SPLITS}
    return {part: [tuple(line.split('\t')) for line in lines] for part, lines in read.items()}


def run(root, out, *options):
    assert from_folders.main([str(root), '--out', str(out), *map(str, options)]) == 0
    return lists(out)


def test_each_class_is_split_in_the_same_shares(tmp_path):
    """Rejects a split of the whole list, in which a small class may have nothing to test on; a video in two lists or in
    none; labels in the order of the disk; and a suffix in capitals that is overlooked."""
    root = make(tmp_path / 'r', {'zumba': 19, 'Ärger b': 7, 'bow': 4})
    found = run(root, tmp_path / 'o', '--val-share', 0.2, '--test-share', 0.1)
    assert (tmp_path / 'o/classes.txt').read_text(encoding='utf-8') == 'bow\nzumba\nÄrger b\n'
    counts = {part: Counter(label for _, label in rows) for part, rows in found.items()}
    assert counts == {
        'train': {'0': 2, '1': 13, '2': 5},
        'val': {'0': 1, '1': 4, '2': 1},
        'test': {'0': 1, '1': 2, '2': 1},
    }
    listed = [path for rows in found.values() for path, _ in rows]
    assert sorted(listed) == sorted(path.relative_to(root).as_posix() for path in root.rglob('*.*'))
    assert all(
        path.startswith(('bow/', 'zumba/', 'Ärger b/')[int(label)]) for rows in found.values() for path, label in rows
    )
    assert [path for path, _ in found['train']] != sorted(listed)[: len(found['train'])], 'the first ones, not drawn'


def test_the_split_is_a_function_of_seed_and_path(tmp_path):
    """Rejects a split that depends on the order of the disk, on other classes or on how a machine spells accents, and
    one that the seed does not change."""
    counts = {'a': 13, 'b é': 11}
    first = run(make(tmp_path / 'r', counts), tmp_path / 'o')
    more = run(make(tmp_path / 'm', {**counts, '0 new': 5}), tmp_path / 'o2')
    assert [[path for path, label in more[part] if label != '0'] for part in SPLITS] == [
        [path for path, _ in first[part]] for part in SPLITS
    ]
    apart = make(tmp_path / 'n', {unicodedata.normalize('NFD', name): n for name, n in counts.items()})
    spelt = run(apart, tmp_path / 'o3')
    assert {unicodedata.normalize('NFC', path) for path, _ in spelt['test']} == {path for path, _ in first['test']}
    assert run(tmp_path / 'r', tmp_path / 'o4', '--seed', 1) != first == run(tmp_path / 'r', tmp_path / 'o5')


def test_what_is_left_out_is_counted(tmp_path, capsys):
    """Rejects files that vanish without a word, and AppleDouble files (._x.mp4) that are taken for videos."""
    root = make(tmp_path / 'r', {'a': 4, 'b': 4})
    for name in ('a/notes.txt', 'a/.DS_Store', 'b/._clip.mp4', 'b/more.TXT', 'b/raw', 'list.csv', '.git'):
        (root / name).touch()
    (root / '.cache').mkdir()
    run(root, tmp_path / 'o')
    said = capsys.readouterr().out
    assert '2 classes, 4 train, 2 val, 2 test videos' in said
    assert 'left out: 2 .txt, 3 hidden, 1 no suffix, 1 not in the folder of a class' in said


def test_links_to_folders_are_followed_once(tmp_path, capsys):
    """Rejects videos behind a link that are left out without a word, a walk without end, and a video in two lists."""
    root = make(tmp_path / 'r', {'a': 4, 'b': 4})
    elsewhere = make(tmp_path / 'disk', {'more': 6}) / 'more'
    for name, target in (('more', elsewhere), ('more again', elsewhere), ('up', root / 'a'), ('top', root)):
        (root / 'a' / name).symlink_to(target)
    found = run(root, tmp_path / 'o')
    listed = [path for rows in found.values() for path, label in rows if label == '0']
    assert sorted(listed) == sorted(
        [str(path.relative_to(root)) for path in (root / 'a').rglob('*.*')]
        + [f'a/more/{path.relative_to(elsewhere)}' for path in elsewhere.rglob('*.*')]
    )
    assert 'left out: 3 linked folder a second time' in capsys.readouterr().out


def wrong(case, tmp_path):
    root, options = tmp_path / 'r', []
    make(root, {'a': 4, 'b': 4})
    if case == 'no folder':
        root = tmp_path / 'none'
    elif case == 'empty class':
        (root / 'empty one').mkdir()
        (root / 'empty one/x.gif').touch()
    elif case == 'one class':
        root = make(tmp_path / 'one', {'a': 9})
    elif case == 'no class':
        root = root / 'a'
    elif case == 'split already':
        root = make(tmp_path / 's', {'Train/a': 4, 'val/a': 4})
    elif case == 'too few':
        make(root, {'c d': 3})
    elif case == 'shares leave none':
        options = ['--val-share', '0.5', '--test-share', '0.4']
    elif case == 'no share':
        options = ['--test-share', '0']
    elif case == 'out inside':
        return root, ['--out', str(root / 'lists')]
    elif case == 'tab':
        (root / 'a/x\ty.mp4').touch()
    elif case == 'line':
        (root / 'a/x\u2028y.mp4').touch()
    elif case == 'blank':
        make(root, {' c': 4})
    elif case == 'not UTF-8':
        Path(os.fsdecode(os.fsencode(root) + b'/a/\xff.mp4')).touch()
    return root, options


CASES = {
    'no folder': 'ROOT: found no folder',
    'empty class': "ROOT: found no video in 'empty one', but 1 .gif",
    'one class': 'found 1 class folders',
    'no class': 'found no video|found 1 class',
    'split already': 'split already (Train, val)',
    'too few': "found 3 videos of the class 'c d', expected at least 4",
    'shares leave none': "found 4 videos of the class 'a', expected at least 6: 2 to validate and 2 to test",
    'no share': '--test-share: found 0',
    'out inside': '--out: found',
    'tab': r"found 'a/x\ty.mp4'",
    'line': r"found 'a/x\u2028y.mp4'",
    'blank': "found ' c/",
    'not UTF-8': r"found 'a/\udcff.mp4'",
}


@pytest.mark.parametrize('case', CASES)
def test_what_cannot_be_is_said(case, tmp_path, capsys):
    """Rejects a traceback, a list that VideoDataset reads wrongly, and lists that are written before the error."""
    root, options = wrong(case, tmp_path)
    assert from_folders.main([str(root), '--out', str(tmp_path / 'o'), *options]) == 2
    said = capsys.readouterr().err
    assert said.startswith('error: ') and len(said.splitlines()) == 1 and 'Traceback' not in said
    assert any(words in said for words in CASES[case].split('|')), said
    assert not (tmp_path / 'o').exists()


def test_stock_datasets_read_the_lists(tmp_path):
    """Rejects lists that VideoDataset splits at a blank, classes that the head does not know, a batch that is larger
    than the list (an epoch without a step), places that hold only where the tool was called, quotes in the name of
    --out that end a string, a training of another network than the search has found, and one in the search's folder."""
    init_default_scope('mmaction')
    root, out = make(tmp_path / "it's mine", {'a b': 5, 'ç': 4, 'd': 4}), tmp_path / 'bob\'s "lists"'
    found = run(root, out)
    for name, batch, epochs in (('search', 4, 400), ('train', 7, 400)):
        cfg = load_config(str(out / f'{name}.py'))
        assert cfg.model.cls_head.num_classes == 3 and cfg.model.type == 'Recognizer3D'
        assert (cfg.train_dataloader.batch_size, cfg.train_cfg.max_epochs) == (batch, epochs), name
        for part in SPLITS:
            dataset = DATASETS.build(cfg[f'{part}_dataloader'].dataset)
            rows = [(str(root / path), int(label)) for path, label in found[part]]
            infos = [dataset.get_data_info(i) for i in range(len(dataset))]
            read = [(info['filename'], info['label']) for info in infos]
            held = part == 'train' and name == 'search'
            assert (len(read) == len(rows) - 3 and set(read) < set(rows)) if held else read == rows
    search, train = (load_config(str(out / f'{name}.py')) for name in ('search', 'train'))
    folder = f'work_dirs/{out.name}'
    assert search.retrain.config == str(out / 'train.py') and 'retrain' not in train
    assert (search.work_dir, train.work_dir) == (folder, f'{folder}_train')
    assert train.model.backbone.arch == f'{folder}/search/arch.json' and not search.model.backbone.get('arch')


def test_the_report_is_there_while_the_search_runs():
    """Rejects a first report that comes when the search ends: the quick start says to open it before."""
    cfg = load_config(str(from_folders.CONFIGS / 'own_videos.py'))
    (interval,) = [hook.interval for hook in cfg.custom_hooks if hook.type == 'ReportHook']
    said = re.search(r'written anew every (\d+) epochs', (ROOT / 'docs/quickstart.md').read_text(encoding='utf-8'))
    assert interval == int(said[1]) <= from_folders.EPOCHS[0] // 2
    assert interval % cfg.default_hooks.checkpoint.interval == 0


FITTED = {1: (1, 400), 7: (7, 400), 80: (8, 100), 97: (8, 84), 9999: (8, 40)}


@pytest.mark.parametrize('videos', FITTED)
def test_small_folders_get_more_epochs(videos):
    """Rejects a training on a few videos that ends before it has begun, and one whose time grows with every video."""
    assert from_folders.fitted(videos) == FITTED[videos]


@pytest.mark.slow
def test_from_a_folder_to_a_report(tool, videos, tmp_path):
    """Rejects configs that start and do not run: real videos with blanks and accents in their paths, searched, trained
    and shown by the commands that the tool prints."""
    root, out, work = tmp_path / 'mes vidéos', tmp_path / 'mine', tmp_path / 'work'
    rows = [line.rsplit(' ', 1) for part in SPLITS for line in (videos / f'{part}.txt').read_text().splitlines()]
    for label in '0123':
        for path in [path for path, of in rows if of == label][:4]:
            place = root / f'clåss {label}' / f'clip {Path(path).name}'
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(videos / 'videos' / path)
    said = tool('tools/data/from_folders.py', root, '--out', out).ok().out
    assert f'tools/search.py {out}/search.py' in said and '4 classes, 8 train, 4 val, 4 test videos' in said
    short = ['train_cfg.max_epochs=1', 'custom_hooks.0.warmup_epochs=0', 'custom_hooks.0.num_archs=2']
    options = [*short, 'custom_hooks.0.mode=joint', 'custom_hooks.0.calibration_clips=4']
    tool('tools/search.py', out / 'search.py', '--no-retrain', '--work-dir', work, '--cfg-options', *options).ok()
    assert json.loads((work / 'search/arch.json').read_text())['search']['final']
    (work / 'search/report.html').unlink()
    arch = f'model.backbone.arch={work}/search/arch.json'
    options = ['--cfg-options', 'train_cfg.max_epochs=1', arch]
    assert 'acc/top1' in tool('tools/train.py', out / 'train.py', '--work-dir', tmp_path / 't', *options).ok().out
    tool('tools/report.py', work).ok()
    assert (work / 'search/report.html').is_file()
