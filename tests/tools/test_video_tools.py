"""tools/data/transcode.py and check_videos.py, as a person calls them."""

import json
from pathlib import Path

import pytest

from mmnas_video.datasets.video_list import Line, read_lines
from tests.datasets.videos import sound, write
from tests.helpers import load_data_tool

TOOLS = Path(__file__).parents[2] / 'tools/data'


transcode, check_videos = load_data_tool('transcode'), load_data_tool('check_videos')
GOOD = ('one.mp4', 'ünï and blanks/two.mp4', 'three.webm')
BAD = {'sound.mp4': 'video stream', 'text.mp4': '', 'missing.mp4': 'no such file', 'cut.mp4': ''}
LABELS = (5, 3, 2, 7, 0, 1, 4)


@pytest.fixture(scope='module')
def originals(tmp_path_factory):
    """Three good videos and four bad ones, the third named without suffix in nobody's list, and their list."""
    root = tmp_path_factory.mktemp('originals')
    write(root / 'one.mp4', count=11)
    (root / 'ünï and blanks').mkdir()
    write(root / 'ünï and blanks/two.mp4', count=7)
    write(root / 'three.webm', count=5, codec='libvpx-vp9', **{'cpu-used': '8'})
    sound(root / 'sound.mp4')
    (root / 'text.mp4').write_text('no video ' * 99)
    data = write(root / 'cut.mp4', count=41, muxer={'movflags': 'faststart'}).read_bytes()
    (root / 'cut.mp4').write_bytes(data[: len(data) // 2])
    names = [GOOD[0], *list(BAD)[:2], GOOD[1], *list(BAD)[2:], GOOD[2]]
    lines = [f'{name} {label}\n' for name, label in zip(names, LABELS, strict=True)]
    (root / 'train.txt').write_text(''.join(lines), encoding='utf-8')
    return root


def run(originals, out, *options):
    return transcode.main(
        [f'{originals}/train.txt', '--root', str(originals), '--out', str(out), '--processes', '2', *options]
    )


def test_transcode(originals, tmp_path, capfd):
    """Rejects labels that slip when a bad file is left out, originals that are touched, reasons that are not said, and
    a status that hides bad files."""
    before = {path: path.read_bytes() for path in originals.rglob('*') if path.is_file()}
    assert run(originals, tmp_path, '--short-side', '46', '--preset', 'ultrafast') == 1
    assert {path: path.read_bytes() for path in originals.rglob('*') if path.is_file()} == before
    expected = 'one.mp4 5\nünï and blanks/two.mp4 7\nthree.mp4 4\n'
    assert (tmp_path / 'train.txt').read_text(encoding='utf-8') == expected
    said = capfd.readouterr()
    assert '3 of 7 clips' in said.out and '7 / 7 videos, 4 bad' in said.err
    for name, reason in BAD.items():
        assert any(line.startswith(f'{name}: ') and reason in line for line in said.out.splitlines())
    rows = [json.loads(line) for line in (tmp_path / 'transcode.jsonl').read_text(encoding='utf-8').splitlines()]
    assert rows[0]['recipe']['short_side'] == 46
    assert {row['path']: row.get('frames') for row in rows[1:]} == dict(
        zip(GOOD, (11, 7, 5), strict=True)
    ) | dict.fromkeys(BAD)
    assert run(originals, tmp_path / 'all', '--keep-bad', '--preset', 'ultrafast') == 1
    assert len((tmp_path / 'all/train.txt').read_text(encoding='utf-8').splitlines()) == 7


def test_names_beyond_ascii_in_the_manifest(originals, tmp_path, capfd):
    """Rejects a line cut off within a letter that no later run can read, and a name in which lines end elsewhere."""
    root, recipe = tmp_path / 'root', transcode.Recipe(preset='ultrafast')
    root.mkdir()
    names = ('n\u2028l.mp4', 'ü.mp4')
    for name in names:
        (root / name).write_bytes((originals / 'one.mp4').read_bytes())
    (root / 'train.txt').write_text(''.join(f'{name}\t0\n' for name in names), encoding='utf-8')
    manifest = tmp_path / 'transcode.jsonl'
    assert run(root, tmp_path, '--delimiter', '\t', '--preset', 'ultrafast') == 0
    assert set(transcode.read_manifest(tmp_path, recipe)) == set(names)
    with manifest.open('ab') as file:
        file.write('{"path": "ü'.encode()[:-1])
    assert set(transcode.read_manifest(tmp_path, recipe)) == set(names)
    capfd.readouterr()
    assert run(root, tmp_path, '--delimiter', '\t', '--preset', 'ultrafast') == 0
    assert '2 of 2 videos are there already' in capfd.readouterr().out


def test_a_full_disk_ends_with_its_own_status(originals, tmp_path, monkeypatch, capfd):
    """Rejects the status of a mistake (2) or of bad videos (1) for a disk that is full, whoever meets it: a process
    that writes a video, or the one that writes manifest and lists."""

    def full(descriptor):
        raise OSError(28, 'No space left on device')

    assert run(originals, tmp_path / 'begun', '--preset', 'ultrafast') == 1
    (tmp_path / 'begun/videos/one.mp4').unlink()
    monkeypatch.setattr('os.fsync', full)
    for folder, said in (('begun', "--out: cannot write '"), ('new', "transcode.jsonl'")):
        capfd.readouterr()
        assert run(originals, tmp_path / folder, '--preset', 'ultrafast') == 3
        error = capfd.readouterr().err
        assert said in error and 'No space left on device' in error
    assert '3 for a disk that is full' in transcode.__doc__


def test_transcode_goes_on(originals, tmp_path, capfd):
    """Rejects a run that starts anew after a kill, trusts half a file or a torn line of the manifest, keeps what was
    made from another original, or mixes two recipes."""
    assert run(originals, tmp_path, '--preset', 'ultrafast') == 1
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / 'videos').rglob('*.mp4')}
    manifest = tmp_path / 'transcode.jsonl'
    lines = manifest.read_text(encoding='utf-8').splitlines(keepends=True)
    kept = [line for line in lines if 'three' not in line]
    torn = next(line for line in lines if 'three' in line)
    manifest.write_text(''.join([*kept, torn[: len(torn) // 2]]), encoding='utf-8')  # as a kill leaves it
    found = transcode.read_manifest(tmp_path, transcode.Recipe(preset='ultrafast'))
    assert set(found) == {GOOD[0], GOOD[1], *BAD}
    assert manifest.read_text(encoding='utf-8').endswith('\n')  # or the next line would be torn too
    (tmp_path / 'videos/one.mp4').write_bytes(b'half')
    capfd.readouterr()
    assert run(originals, tmp_path, '--preset', 'ultrafast') == 1
    assert '1 of 7 videos are there already' in capfd.readouterr().out
    new = {path.name: path.stat().st_mtime_ns for path in (tmp_path / 'videos').rglob('*.mp4')}
    assert {name for name in new if new[name] != times[name]} == {'one.mp4', 'three.mp4'}
    assert (tmp_path / 'videos/one.mp4').stat().st_size > 999
    assert run(originals, tmp_path, '--preset', 'ultrafast', '--gop', '5') == 2
    assert "--out: found videos made with {'short_side': 256, 'gop': 48" in capfd.readouterr().err


def test_one_frame_of_three(originals, tmp_path, capfd):
    """Rejects a folder in which some videos have every frame and some every third, a manifest of before there was
    ``--every`` that is refused, and a pipeline whose clips become longer without a word."""
    quick = ('--preset', 'ultrafast')
    assert run(originals, tmp_path, *quick, '--every', '3') == 1
    said = capfd.readouterr().out
    assert 'One frame of 3 was kept' in said and 'divide frame_interval by 3' in said
    manifest = tmp_path / 'transcode.jsonl'
    rows = [json.loads(line) for line in manifest.read_text(encoding='utf-8').splitlines()]
    assert {row['path']: row['frames'] for row in rows if 'frames' in row} == dict(zip(GOOD, (4, 3, 2), strict=True))
    assert run(originals, tmp_path, *quick) == 2
    assert "'every': 3" in capfd.readouterr().err
    manifest.write_text(manifest.read_text(encoding='utf-8').replace('"every": 3, ', ''), encoding='utf-8')
    assert run(originals, tmp_path, *quick, '--every', '3') == 2
    assert run(originals, tmp_path, *quick) == 1
    said = capfd.readouterr().out
    assert '3 of 7 videos are there already' in said and 'One frame of' not in said


@pytest.mark.parametrize('tool', [transcode, check_videos], ids=['transcode', 'check_videos'])
def test_processes_and_time_are_those_that_are_asked_for(tool, originals, tmp_path, monkeypatch):
    """Rejects the defaults in their place: half an hour for each video that hangs."""
    asked = []
    monkeypatch.setattr(tool, 'run_jobs', lambda job, paths, *rest: asked.append(rest) or [])
    args = [f'{originals}/train.txt', '--root', str(originals), '--out', str(tmp_path / 'o'), '--processes', '3']
    assert tool.main([*args, '--timeout', '7']) == 0 and asked == [(3, 7.0)]


@pytest.mark.parametrize('delimiter', ['\t', '\\t'], ids=['a tab', 'backslash t'])
def test_a_tab_is_a_tab_however_it_is_typed(delimiter, tmp_path):
    """Rejects a whole line taken for a path, where a shell hands on what Python writes for a tab."""
    (tmp_path / 'x.txt').write_text('a 7.mp4\t3\n\nb.mp4\t5 2\n')
    assert read_lines(tmp_path / 'x.txt', 'LIST', delimiter) == [Line('a 7.mp4', '\t3'), Line('b.mp4', '\t5 2')]


@pytest.mark.parametrize(
    ('list_text', 'options', 'message'),
    [
        ('a.mp4 0\n', ['--gop', '0'], 'gop: found 0'),
        ('a.mp4 0\n', ['--every', '0'], 'every: found 0, expected 1 to 1000'),
        ('a.mp4 0\n', ['--processes', '0'], '--processes'),
        ('a.mp4 0\na.webm 1\n', [], "found 'a.mp4' and 'a.webm'"),
        ('/etc/a.mp4 0\n', [], 'expected paths below --root'),
        ('../a.mp4 0\n', [], 'expected paths below --root'),
        ('\n', [], 'found no clip'),
        ('a b.mp4,0\nb.mp4;0\n', ['--delimiter', ','], "--delimiter: found 'b.mp4;0' in line 2"),
        ('a b.mp4 0\n', ['--delimiter', '\\t'], r"found 'a b.mp4 0' in line 1"),
        ('a b.mp4 0\n', ['--delimiter', ''], "--delimiter: found ''"),
    ],
)
def test_transcode_says_what_is_wrong(tmp_path, capsys, list_text, options, message):
    """Rejects a mistake that is met after an hour, and one video that is written over by another."""
    (tmp_path / 'x.txt').write_text(list_text)
    args = [f'{tmp_path}/x.txt', '--root', str(tmp_path), '--out', f'{tmp_path}/new', *options]
    assert transcode.main(args) == 2
    assert message in capsys.readouterr().err and not (tmp_path / 'new').exists()


def test_check_videos(originals, tmp_path, capfd):
    """Rejects a scan that stops at the first bad file, takes a good one for bad, counts one of two lists twice, or says
    nothing by its status."""
    options = [f'{originals}/train.txt', '--root', str(originals), '--processes', '2']
    out, clean = tmp_path / 'bad.jsonl', tmp_path / 'clean.txt'
    assert check_videos.main([*options, '--out', str(out), '--clean', str(clean)]) == 1
    said = capfd.readouterr()
    assert '4 of 7 videos cannot be read' in said.out and '7 / 7 videos, 4 bad' in said.err
    rows = [json.loads(line) for line in out.read_text(encoding='utf-8').splitlines()]
    assert [Path(row['path']).name for row in rows] == list(BAD)
    assert all(reason in row['reason'] for row, reason in zip(rows, BAD.values(), strict=True))
    assert clean.read_text(encoding='utf-8') == 'one.mp4 5\nünï and blanks/two.mp4 7\nthree.webm 4\n'
    assert check_videos.main([str(clean), str(clean), *options[1:], '--frames', '0']) == 0
    assert '0 of 3 videos cannot be read' in capfd.readouterr().out
    assert check_videos.main([*options, '--out', str(tmp_path / 'bad.txt')]) == 1
    assert (tmp_path / 'bad.txt').read_text().split() == [row['path'] for row in rows]
    assert check_videos.main([f'{tmp_path}/none.txt']) == 2
    assert check_videos.main([*options, '--frames', '-1']) == 2


@pytest.mark.parametrize('option', ['--out', '--clean'])
@pytest.mark.parametrize(('place', 'words'), [('file/x.txt', 'cannot write to'), ('folder', 'found the folder')])
def test_what_cannot_be_written_is_said_before_the_scan(option, place, words, originals, tmp_path, capfd):
    """Rejects hours of reading whose result has no place to go."""
    (tmp_path / 'file').write_text('')
    (tmp_path / 'folder').mkdir()
    args = [f'{originals}/train.txt', '--root', str(originals), option, str(tmp_path / place)]
    assert check_videos.main(args) == 2
    said = capfd.readouterr().err
    assert f'{option}: {words}' in said and 'videos' not in said


@pytest.mark.parametrize('option', ['--out', '--clean'])
def test_the_list_is_not_written_over(option, originals, tmp_path, monkeypatch, capfd):
    """Rejects a list that is gone, also by another name of it."""
    monkeypatch.chdir(tmp_path)
    Path('x.txt').write_text('gone.mp4 0\n')
    Path('other.txt').symlink_to('x.txt')
    for name in ('x.txt', 'other.txt'):
        assert check_videos.main([f'{tmp_path}/x.txt', '--root', str(originals), option, name]) == 2
        assert f"{option}: found the list '{name}' itself" in capfd.readouterr().err
    assert Path('x.txt').read_text() == 'gone.mp4 0\n'


def test_a_clean_list_is_not_left_empty(originals, tmp_path, capfd):
    """Rejects an empty list in the place of a wrong --root's error, or of the one that stood there; and reasons that
    are not said then."""
    (tmp_path / 'x.txt').write_text('gone.mp4 0\n')
    (tmp_path / 'clean.txt').write_text('kept.mp4 0\n')
    args = [f'{tmp_path}/x.txt', '--root', str(originals), '--clean', str(tmp_path / 'clean.txt')]
    assert check_videos.main(args) == 2
    said = capfd.readouterr()
    assert '--clean: found no video that can be read' in said.err and 'gone.mp4: no such file' in said.out
    assert (tmp_path / 'clean.txt').read_text() == 'kept.mp4 0\n'
