"""tools/data: the demo data and the smaller Kinetics lists, as a person calls them."""

from pathlib import Path

import pytest

from tests.helpers import load_data_tool

TOOLS = Path(__file__).parents[2] / 'tools/data'


make_demo, mini_kinetics = load_data_tool('make_demo'), load_data_tool('mini_kinetics')


def test_make_demo_hands_every_option_on(tmp_path, capsys):
    """Rejects an option of the library that the tool lacks, drops or mixes up with its neighbour."""
    text = '--height 18 --width 22 --min-frames 2 --max-frames 3 --seed 5 --fps 7 --noise 2.5 --motion-classes 2'
    text += ' --motion-clips 2 1 1 --scene-clips 1 1 1 --image-clips 1 1 1 --scene-classes 3 --sets motion'
    assert make_demo.main([*text.split(), '--out', str(tmp_path)]) == 0
    assert 'motion: 8 of 8 clips' in capsys.readouterr().out
    manifest = (tmp_path / 'motion/manifest.json').read_text()
    for line in ('"height": 18', '"width": 22', '"fps": 7', '"noise": 2.5', '"seed": 5', '"max_frames": 3'):
        assert line in manifest
    assert not (tmp_path / 'scene').exists()
    assert {*make_demo.HELP} == {field.name for field in make_demo.fields(make_demo.DemoOptions)}


def test_the_union_goes_with_its_sets(tmp_path, capsys):
    """Rejects lists of the union that still name the clips of a set that has been made anew by itself."""
    text = '--height 18 --width 22 --min-frames 2 --max-frames 3 --motion-clips 1 1 1 --scene-clips 1 1 1'
    options = [*text.split(), '--scene-classes', '3', '--out', str(tmp_path)]
    for classes, sets in ((2, ['motion']), (2, ['scene']), (4, ['motion'])):
        assert make_demo.main([*options, '--motion-classes', str(classes), '--sets', *sets]) == 0
        said = 'lists of the union' in capsys.readouterr().out
        assert said == (tmp_path / 'scene').exists(), sets
        if said:
            listed = (tmp_path / 'motion_scene/train.txt').read_text().splitlines()
            assert len(listed) == classes + 3
            assert all((tmp_path / 'motion_scene' / line.split(' ')[0]).is_file() for line in listed)


def test_make_demo_says_what_is_wrong(tmp_path, capsys):
    """Rejects a traceback for a wrong option."""
    assert make_demo.main(['--height', '33', '--out', str(tmp_path)]) == 2
    assert 'height: found 33, expected an even number' in capsys.readouterr().err


NAMES = ['abseiling', 'archery', 'busking', 'passing American football (in game)', 'yoga']


def text_list(path, counts, folders=True):
    """A MMAction2 list of ``counts[c]`` clips of class c, classes interleaved."""
    rows = [(number, label) for label, count in enumerate(counts) for number in range(count)]
    folder = [name.replace(' ', '_') + '/' if folders else '' for name in NAMES]
    path.write_text(''.join(f'{folder[label]}{label}x{n}.mp4 {label}\n' for n, label in sorted(rows)))
    return str(path)


def csv_list(path, counts):
    """The official csv of the same."""
    rows = [f'"{NAMES[c]}",id{c}x{n},{n},{n + 10},train,0\n' for c, count in enumerate(counts) for n in range(count)]
    path.write_text('label,youtube_id,time_start,time_end,split,is_cc\n' + ''.join(rows))
    return str(path)


def run(tmp_path, train, val, *options):
    out = tmp_path / 'out'
    assert mini_kinetics.main(['--train', train, '--val', val, '--out', str(out), *options]) == 0
    return {path.name: path.read_text().splitlines() for path in out.iterdir()}


def test_given_classes(tmp_path, capsys):
    """Rejects labels that follow the class file's order, names that must match to the letter, and old
    labels."""
    (tmp_path / 'classes.txt').write_text('Yoga\n\npassing american_football (in game)\n1\n')
    train, val = (
        text_list(tmp_path / 't.txt', (3, 2, 4, 2, 3)),
        text_list(tmp_path / 'v.txt', (1, 1, 1, 1, 1)),
    )
    files = run(tmp_path, train, val, '--classes', str(tmp_path / 'classes.txt'))
    football = 'passing_American_football_(in_game)'
    assert files["mini3_train.txt"] == [
        "archery/1x0.mp4 0", f"{football}/3x0.mp4 1", "yoga/4x0.mp4 2",
        "archery/1x1.mp4 0", f"{football}/3x1.mp4 1", "yoga/4x1.mp4 2", "yoga/4x2.mp4 2",
    ]  # fmt: skip
    assert files['mini3_val.txt'] == ['archery/1x0.mp4 0', f'{football}/3x0.mp4 1', 'yoga/4x0.mp4 2']
    assert files['mini3_classes.txt'] == ['archery', football.lower(), 'yoga']
    assert files['mini3_class_map.csv'][1:] == ['0,1,archery', f'1,3,{football.lower()}', '2,4,yoga']
    assert '3 of 5 classes, 7 train and 3 val clips' in capsys.readouterr().out
    assert not [name for name in files if name.startswith('.')]


def test_official_csv(tmp_path):
    """Rejects paths that MMAction2's download scripts do not give: folders keep capitals, times have six
    digits."""
    train, val = csv_list(tmp_path / 't.csv', (1, 1, 1, 2, 1)), csv_list(tmp_path / 'v.csv', (1, 1, 1, 1, 1))
    files = run(tmp_path, train, val, '--num-classes', '1', '--largest', '--name', 'one')
    football = 'passing_American_football_(in_game)'
    assert files["one_train.txt"] == [
        f"{football}/id3x0_000000_000010.mp4 0", f"{football}/id3x1_000001_000011.mp4 0"
    ]  # fmt: skip
    assert files['one_class_map.csv'][1:] == [f'0,3,{football.lower()}']


def test_drawn_classes_are_a_function_of_the_seed_and_the_names(tmp_path):
    """Rejects a draw that depends on the order of the list, or not on the seed."""
    train, val = (
        text_list(tmp_path / 't.txt', (3, 2, 4, 2, 3)),
        text_list(tmp_path / 'v.txt', (1, 1, 1, 1, 1)),
    )
    options = ['--num-classes', '2', '--seed']
    drawn = [run(tmp_path / s, train, val, *options, s)['mini2_classes.txt'] for s in '012345678']
    assert len({tuple(d) for d in drawn}) > 3
    lines = Path(train).read_text().splitlines()
    (tmp_path / 'r.txt').write_text('\n'.join(reversed(lines)))
    for seed, classes in enumerate(drawn):
        again = run(tmp_path / 'r', str(tmp_path / 'r.txt'), val, *options, str(seed))
        assert again['mini2_classes.txt'] == classes


def test_largest_and_most_clips(tmp_path):
    """Rejects the smallest classes, ties that move, a cap over all classes, and a cap that takes the first
    lines."""
    train, val = (
        text_list(tmp_path / 't.txt', (3, 9, 8, 2, 3)),
        text_list(tmp_path / 'v.txt', (1, 1, 3, 1, 1)),
    )
    options = ['--num-classes', '3', '--largest', '--clips', '3', '2']
    files = run(tmp_path, train, val, *options)
    assert files['mini3_classes.txt'] == ['abseiling', 'archery', 'busking']
    labels = [line.split(' ')[1] for line in files['mini3_train.txt']]
    assert sorted(labels) == list('000111222')
    assert [line.split(' ')[1] for line in files['mini3_val.txt']].count('2') == 2
    kept = [run(tmp_path / s, train, val, *options, '--seed', s)['mini3_train.txt'] for s in '0123']
    assert kept[0] == files['mini3_train.txt'] and len({tuple(k) for k in kept}) > 1


def test_labels_are_in_the_order_of_numbers(tmp_path):
    """Rejects that of their digits, in which 10 comes before 9."""
    for split in 'tv':
        (tmp_path / f'{split}.txt').write_text(''.join(f'c{label}/{split}.mp4 {label}\n' for label in (10, 2, 9)))
    files = run(tmp_path, *(str(tmp_path / f'{split}.txt') for split in 'tv'), '--num-classes', '3')
    assert files['mini3_class_map.csv'][1:] == ['0,2,c2', '1,9,c9', '2,10,c10']


def test_lists_that_cannot_be_written(tmp_path, capsys):
    """Rejects a traceback, and the status of a mistake for a disk that is full."""
    train = text_list(tmp_path / 't.txt', (1, 2))
    assert mini_kinetics.main(['--train', train, '--val', train, '--num-classes', '2', '--out', f'{train}/x']) == 3
    said = capsys.readouterr().err
    assert 'mini2_train.txt' in said and 'cannot be written (Not a directory)' in said and 'Traceback' not in said


def test_lists_without_class_folders(tmp_path):
    """Rejects a class name taken from a folder that is none; --label-map gives the names."""
    counts = (2, 1, 1, 1, 2)
    train, val = (text_list(tmp_path / f'{split}.txt', counts, folders=False) for split in 'tv')
    (tmp_path / 'classes.txt').write_text('yoga\n')
    (tmp_path / 'map.txt').write_text('\n'.join(NAMES))
    options = ['--classes', str(tmp_path / 'classes.txt')]
    files = run(tmp_path, train, val, *options, '--label-map', str(tmp_path / 'map.txt'))
    assert files['mini1_train.txt'] == ['4x0.mp4 0', '4x1.mp4 0']
    flat = Path(train).read_text().splitlines()
    (tmp_path / 'flat.txt').write_text(''.join(f'all/{line}\n' for line in flat))
    (tmp_path / 'classes.txt').write_text('4\n')
    files = run(tmp_path / 'f', str(tmp_path / 'flat.txt'), str(tmp_path / 'flat.txt'), *options)
    assert files['mini1_classes.txt'] == ['4']


@pytest.mark.parametrize(
    'train, options, words',
    [
        ('none', ['--num-classes', '2'], 'none.txt: found no file'),
        ('t', ['--num-classes', '6'], '--num-classes: found 6, expected 1 to 5'),
        ('t', ['--num-classes', '0'], '--num-classes: found 0'),
        ('t', ['--num-classes', '5'], 'v.txt: found no clip of class 3'),
        ('t', ['--num-classes', '2', '--clips', '0', '1'], '--clips: found [0, 1]'),
        ('bad', ['--num-classes', '2'], "bad.txt: found 'busking/x.mp4' in line 2, expected 'path label'"),
        ('empty', ['--num-classes', '2'], 'empty.txt: found no clip'),
        ('t', ['--classes', 'unknown'], 'unknown.txt: found 1 unknown classes (skating)'),
        ('t', ['--classes', 'twice'], 'twice.txt: found classes more than once: 0, Abseiling'),
        ('t', ['--classes', 'empty'], 'empty.txt: found no class'),
        ('t', ['--classes', 'none'], '--classes: found no file'),
        ('t', ['--num-classes', '2', '--label-map', 'twice'], 'twice.txt: found 2 names'),
        ('nocolumn.csv', ['--num-classes', '2'], 'nocolumn.csv: found no column time_end, time_start'),
        ('notime.csv', ['--num-classes', '2'], "notime.csv: found times 'x' and '9' in line 2"),
        ('good.csv', ['--num-classes', '2'], '--val: found'),
        ('latin', ['--num-classes', '2'], "latin.txt' (invalid continuation byte), expected text in UTF-8"),
        ('latin.csv', ['--num-classes', '2'], '--train: cannot read'),
        ('t', ['--classes', 'latin'], '--classes: cannot read'),
        ('t', ['--num-classes', '2', '--label-map', 'latin'], '--label-map: cannot read'),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, train, options, words):
    """Rejects a traceback, and lists that are half written when the error comes."""
    text_list(tmp_path / 't.txt', (3, 2, 4, 2, 3))
    text_list(tmp_path / 'v.txt', (1, 1, 1, 0, 1))
    csv_list(tmp_path / 'good.csv', (1, 1, 1, 1, 1))
    (tmp_path / 'bad.txt').write_text('busking/x.mp4 1\nbusking/x.mp4\n')
    (tmp_path / 'empty.txt').write_text('\n')
    (tmp_path / 'unknown.txt').write_text('yoga\nskating\n')
    (tmp_path / 'twice.txt').write_text('0\nAbseiling\n')
    for name in ('latin.txt', 'latin.csv'):
        (tmp_path / name).write_bytes(b'caf\xe9.mp4 0\n')
    (tmp_path / 'nocolumn.csv').write_text('label,youtube_id\na,b\n')
    (tmp_path / 'notime.csv').write_text('label,youtube_id,time_start,time_end\na,b,x,9\n')

    def path(name):
        return str(tmp_path / (name if '.' in name else f'{name}.txt'))

    options = [path(option) if not option.startswith('-') and option.isalpha() else option for option in options]
    argv = ['--train', path(train), '--val', path('v'), '--out', str(tmp_path / 'out'), *options]
    assert mini_kinetics.main(argv) == 2
    error = capsys.readouterr().err
    assert words in error and error.startswith('error: ') and len(error.splitlines()) == 1, error
    assert not (tmp_path / 'out').exists()
