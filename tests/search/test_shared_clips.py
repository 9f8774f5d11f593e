"""One, two and three real processes (gloo) that load held-out clips together: what each gets, decodes and keeps."""

import copy
import tempfile
from collections import Counter

import pytest
import torch

from mmnas_video.search.shared_clips import ClipFile

from .clip_ranks import BATCH, CASES, COUNTS, MEGABYTES, WORLDS
from .forked import run_worlds

SEVERAL = WORLDS[1:]
GOOD = ('one machine', 'workers', 'two machines', 'containers', 'a few bad')
BAD = [name for name in CASES if name not in GOOD]


@pytest.fixture(scope='module')
def ended(tmp_path_factory):
    """The folder, and number of ranks to what each of them has got; what they leave for temporary files is in
    ``temporary``."""
    folder = tmp_path_factory.mktemp('clips')
    (folder / 'temporary').mkdir()
    temporary = str(folder / 'temporary')
    return folder, run_worlds('tests.search.clip_ranks', folder, WORLDS, TMPDIR=temporary)


def decoded(folder, ranks, name):
    """How often each clip has been loaded, rank by rank."""
    files = [folder / f'notes-{ranks}-{[*CASES].index(name)}-{rank}' for rank in range(ranks)]
    return [Counter(file.read_text(encoding='utf-8').split()) for file in files]


def same(one, other):
    """Whether two batches hold the same, tensors bit for bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.parametrize('ranks', WORLDS)
@pytest.mark.parametrize('name', GOOD)
def test_every_rank_gets_what_one_alone_would_get(name, ranks, ended):
    """Rejects batches in the order in which ranks deal with them, of one rank's share, of another type or with other
    strides, labels that are left behind, and names of unreadable clips that stay in the batches."""
    ((one,), several) = ended[1][1], ended[1][ranks]
    for rank in several:
        assert 'error' not in rank[name], rank[name]
        assert {key: len(batches) for key, batches in rank[name]['batches'].items()} == COUNTS
        assert same(one[name]['batches'], rank[name]['batches']) and one[name]['strides'] == rank[name]['strides']
    clip = one['one machine']['batches']['videos'][0]['inputs'][0]
    assert (
        clip.dtype == torch.uint8
        and not clip.is_contiguous()
        and set(one[name]['batches']['videos'][0])
        == {
            'inputs',
            'data_samples',
        }
    )


@pytest.mark.parametrize('ranks', SEVERAL)
@pytest.mark.parametrize('name', GOOD)
def test_a_clip_is_decoded_once_on_a_machine(name, ranks, ended):
    """Rejects ranks that each decode everything, two machines that share the work, workers that decode ahead what
    nobody asks for, and one that does most; where files cannot be opened each has to do all."""
    (alone,) = decoded(ended[0], 1, name)
    assert sum(alone.values()) == BATCH * sum(COUNTS.values())
    parts = decoded(ended[0], ranks, name)
    if name == 'containers':
        assert parts == [alone] * ranks
        return
    machines = list(CASES[name][1][:ranks])
    for machine in set(machines):
        own = [part for part, letter in zip(parts, machines, strict=True) if letter == machine]
        assert sum(own, Counter()) == alone
        most, least = (chosen(sum(part.values()) for part in own) for chosen in (max, min))
        assert most - least <= BATCH * len(COUNTS)


@pytest.mark.parametrize('ranks', SEVERAL)
@pytest.mark.parametrize('name', BAD)
def test_all_ranks_end_with_the_same_error(name, ranks, ended):
    """A clip that cannot be read is counted as one rank would; a mistake is one rank's alone. Rejects ranks that wait
    for the one that has ended (30 s), that count their own part only, and one that tells another story."""
    ((one,), several) = ended[1][1], ended[1][ranks]
    if name.startswith('too many bad'):
        assert 'found 4 of 37 clips that cannot be read' in one[name]['error'], one[name]
        assert [rank[name] for rank in several] == [one[name]] * ranks
        return
    assert all('no such step for 4' in rank[name]['error'] for rank in several)
    own = [rank[name]['error'].startswith('TypeError: ') for rank in several]
    assert any(own) and all(
        mine or rank[name]['error'].startswith(f'RunError: rank {own.index(True)}: TypeError: ')
        for mine, rank in zip(own, several, strict=True)
    )


@pytest.mark.parametrize('ranks', SEVERAL)
def test_memory_holds_the_clips_once(ranks, ended):
    """Rejects a copy on every rank (each page counts by the share that a process has in it), and a write of one rank
    into its clips that the others see."""
    found = [rank['memory'] for rank in ended[1][ranks]]
    assert [rank['bytes'] for rank in found] == [MEGABYTES * 2**20] * ranks
    assert sum(rank['pages'] for rank in found) < 1.5 * MEGABYTES * 2**20, found
    assert found[0]['first'] == 0 and all(rank['first'] == rank['was'] > 0 for rank in found[1:])
    assert all(rank['others'] for rank in found)


def test_nothing_is_left(ended):
    """After errors, and after a SIGKILL of all ranks that hold clips. Rejects files with a name, and an open one for
    each clip: there may be 1,024."""
    assert list((ended[0] / 'temporary').glob('*clip*')) == []
    assert not [path for path in (ended[0] / 'temporary').rglob('*') if path.is_file()]
    for ranks in WORLDS:
        for rank in ended[1][ranks]:
            assert rank['workers']['opened'] <= ranks + 2 < BATCH * sum(COUNTS.values())


@pytest.mark.parametrize('ranks', SEVERAL)
def test_scores_are_those_of_one_rank(ranks, ended):
    """Rejects scores of a share of the clips, and clips that each rank decodes for an evolution."""
    folder, ends = ended
    for rank in ends[ranks]:
        assert rank['scores'] == ends[1][0]['scores'] and len({*rank['scores']}) > 1
    notes = [(folder / f'toys-{ranks}-{rank}').read_text(encoding='utf-8').split() for rank in range(ranks)]
    alone = (folder / 'toys-1-0').read_text(encoding='utf-8').split()
    assert Counter(clip for part in notes for clip in part) == Counter(alone) and len(alone) == 4 * 5


@pytest.mark.parametrize('dtype', [torch.uint8, torch.bool, torch.bfloat16, torch.float64, torch.int64])
def test_tensors_come_back_as_they_were(dtype):
    """Rejects another type, order of memory or value, numbers that begin between two addresses of their type, a type
    that numpy has not, tensors without values, gaps that are kept, and a tensor whose copy copies all that was
    written."""
    values = torch.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7).to(dtype)
    tensors = [
        values,
        values.movedim(1, -1),
        values[:, 1:2, ::2],
        values[0, 0, 0, 3],
        values[:0],
        values.expand(2, 2, 3, 5, 7),
    ]
    with tempfile.TemporaryFile() as file:
        kept = ClipFile(file)
        places = [kept.append({'inputs': [tensor], 'name': str(n)}) for n, tensor in enumerate(tensors)]
        found = [kept.read(*place) for place in places]
    for number, (batch, tensor) in enumerate(zip(found, tensors, strict=True)):
        (back,) = batch['inputs']
        assert batch['name'] == str(number) and back.dtype == dtype and torch.equal(back, tensor)
        assert not back.numel() or back.data_ptr() % 64 == 0
        assert back.stride() == tensor.clone().stride()
        assert copy.deepcopy(back).untyped_storage().nbytes() == tensor.clone().untyped_storage().nbytes()
