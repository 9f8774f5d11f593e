"""Checkpoints under torch's safe unpickling: MMEngine's are read, crafted ones are refused."""

import contextlib
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner, load_checkpoint
from torch import nn
from torch.utils.data import Dataset

from mmnas_video import compat
from mmnas_video.errors import ConfigError
from mmnas_video.search import read_checkpoint
from tests.conftest import forget_runs


class Numbers(Dataset):
    """Seven samples of three features."""

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((3,), float(index))


class Slope(BaseModel):
    """A linear model whose loss is its squared output."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(3, 1)

    def forward(self, *samples: torch.Tensor, mode: str = 'loss') -> dict[str, torch.Tensor]:
        return {'loss': self.line(torch.stack(samples)).square().mean()}


STEPS = {'type': 'MultiStepLR', 'milestones': [1, 2], 'gamma': 0.5}


def runner(work_dir: Path, epochs: int, resume: bool = False, param_scheduler: Mapping[str, Any] = STEPS) -> Runner:
    """MMEngine's own Runner, with momentum so that the optimiser has a state, and a log every iteration."""
    return Runner(
        model=Slope(),
        work_dir=str(work_dir),
        train_dataloader={
            'dataset': Numbers(),
            'batch_size': 2,
            'sampler': {'type': DefaultSampler, 'shuffle': True},
            'collate_fn': {'type': 'pseudo_collate'},
        },
        train_cfg={'by_epoch': True, 'max_epochs': epochs},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 1e-3, 'momentum': 0.9}},
        param_scheduler=dict(param_scheduler),
        default_hooks={'logger': {'type': 'LoggerHook', 'interval': 1}},
        randomness={'seed': 5},
        log_level='ERROR',
        resume=resume,
    )


def test_a_runner_resumes_with_safe_loading_on(tmp_path, monkeypatch):
    """Rejects switching weights_only off, and a list of safe classes that MMEngine's checkpoint exceeds."""
    asked = []
    load = torch.load

    def watched(*args, **options):
        asked.append(options.get('weights_only', True))
        return load(*args, **options)

    monkeypatch.setattr(torch, 'load', watched)
    first = runner(tmp_path / 'a', epochs=1)
    first.train()
    weight = first.model.line.weight.detach().clone()
    resumed = runner(tmp_path / 'a', epochs=1, resume=True)
    resumed.train()  # nothing is left to train: what is there now was read
    assert asked == [True]
    assert (resumed.epoch, resumed.iter) == (1, 4)
    assert torch.equal(resumed.model.line.weight, weight)
    assert resumed.optim_wrapper.optimizer.state_dict()['state'][0]['momentum_buffer'].abs().sum() > 0
    again = runner(tmp_path / 'a', epochs=3, resume=True)
    again.train()
    losses, _ = again.message_hub.get_scalar('train/loss').data
    assert len(losses) == 12  # one history over all runs


@pytest.mark.parametrize('curve', ['cos', 'linear'])
def test_a_one_cycle_schedule_is_resumed(tmp_path, curve):
    """Rejects what refuses a file of such a run: it could not be gone on with, whatever it had cost."""
    schedule = {'type': 'OneCycleLR', 'eta_max': 0.7, 'total_steps': 12, 'end': 12, 'by_epoch': False}
    schedule['anneal_strategy'] = curve

    def rates(name: str, epochs: int, resume: bool = False) -> list[float]:
        forget_runs()
        made = runner(tmp_path / name, epochs, resume, schedule)
        made.train()
        return made.message_hub.get_scalar('train/lr').data[0].tolist()

    whole = rates('whole', 3)
    assert len(set(whole)) == 12
    assert rates('a', 1) == whole[:4] and rates('a', 3, resume=True) == whole


def test_history_buffers_and_numpy_survive_the_trip(tmp_path):
    """Rejects a list without numpy's scalars, or with one dtype only."""
    buffer = HistoryBuffer([2.0, 3.0, 7.0], [1, 1, 1])
    values = {'half': np.arange(5, dtype=np.float16), 'flags': np.array([True, False])}
    values |= {'one': np.float64(0.1), 'count': np.int64(11), 'big': np.array([2**40])}
    values |= {'words': np.array(['ab', 'c'])}
    torch.save({'buffer': buffer, **values}, tmp_path / 'x.pth')
    loaded = torch.load(tmp_path / 'x.pth', weights_only=True)
    assert [loaded['buffer'].statistics(name) for name in ('min', 'max', 'mean', 'current')] == [2, 7, 4, 7]
    for name, value in values.items():
        assert loaded[name].dtype == value.dtype
        np.testing.assert_array_equal(loaded[name], value)


@pytest.mark.parametrize('module', ['numpy.core.multiarray', 'numpy._core.multiarray'])
def test_files_from_either_side_of_numpy_2_are_read(tmp_path, module):
    """Rejects registering the reconstructors under the installed numpy's name only."""
    value = {'x': np.float64(0.25), 'y': np.arange(3)}
    torch.save(value, tmp_path / 'x.pth', _use_new_zipfile_serialization=False)
    ours = np.float64(0).__reduce__()[0].__module__
    data = (tmp_path / 'x.pth').read_bytes().replace(f'c{ours}\n'.encode(), f'c{module}\n'.encode())
    assert data.count(f'c{module}\n'.encode()) == 2
    (tmp_path / 'y.pth').write_bytes(data)
    loaded = torch.load(tmp_path / 'y.pth', weights_only=True)
    assert loaded['x'] == 0.25
    assert loaded['y'].tolist() == [0, 1, 2]


# --- crafted files: pickle's opcodes by hand; each function returns code that leaves one value on the stack -


def text(value: str) -> bytes:
    return b'X' + struct.pack('<I', len(value)) + value.encode()


def name(module: str, attribute: str) -> bytes:
    return f'c{module}\n{attribute}\n'.encode()


def pack(*items: bytes) -> bytes:
    return b'(' + b''.join(items) + b't'


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + pack(*arguments) + b'R'


def attribute(owner: bytes, *names: str, spelling: str = '__builtin__') -> bytes:
    for each in names:
        owner = call(name(spelling, 'getattr'), owner, text(each))
    return owner


def as_object(state: bytes) -> bytes:
    """An OrderedDict whose attributes are the dict's items: so getattr reaches what a dict holds."""
    return call(name('collections', 'OrderedDict')) + state + b'b'


BUFFER = name('mmengine.logging.history_buffer', 'HistoryBuffer')
ONE_CYCLE = name('mmengine.optim.scheduler.param_scheduler', 'OneCycleParamScheduler')


def runs_code(command: str) -> bytes:
    """Puts ``os.system`` where HistoryBuffer's module looks for ``len``, then makes a buffer."""
    spaces = attribute(BUFFER, 'min', '__globals__')
    modules = attribute(as_object(spaces), 'warnings', 'sys', 'modules')
    system = attribute(as_object(modules), 'posix', 'system')
    poisoned = spaces + text('len') + system + b's'
    return pack(poisoned, call(BUFFER, text(command), text(command)))


def checkpoint(file: Path, code: bytes) -> Path:
    """``code`` as a checkpoint in torch's legacy format, which is a row of pickles."""
    head = [torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION, {}]
    parts = [pickle.dumps(part, 2) for part in head] + [b'\x80\x02' + code + b'.'] + [pickle.dumps([], 2)]
    file.write_bytes(b''.join(parts))
    return file


@pytest.fixture
def real_getattr(monkeypatch) -> Iterator[None]:
    """What must never be: the real getattr among torch's safe globals."""
    monkeypatch.setattr(sys.modules[HistoryBuffer.__module__], 'len', len, raising=False)
    registered = torch.serialization.get_safe_globals()
    others = [g for g in registered if not (isinstance(g, tuple) and g[0] is compat.saved_method)]
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals([*others, getattr, (getattr, '__builtin__.getattr')])
    yield
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(registered)


def test_the_attack_is_real(tmp_path, real_getattr):
    """Rejects crafted files below that would be refused anyway, for a slip in how they are made."""
    file = checkpoint(tmp_path / 'x.pth', runs_code(f'touch {tmp_path / "ran"}'))
    with contextlib.suppress(Exception):  # what HistoryBuffer makes of two exit statuses for lengths
        torch.load(file, weights_only=True)
    assert (tmp_path / 'ran').exists()


def test_the_same_attack_is_refused(tmp_path):
    """Rejects registering the real getattr, which lets the file run any code."""
    file = checkpoint(tmp_path / 'x.pth', runs_code(f'touch {tmp_path / "ran"}'))
    with pytest.raises(pickle.UnpicklingError, match='__globals__'):
        torch.load(file, weights_only=True)
    assert not (tmp_path / 'ran').exists()


ANSWERS = ('min', 'max', 'mean', 'current')


@pytest.mark.parametrize('spelling', ['builtins', '__builtin__'])
@pytest.mark.parametrize('asked', ANSWERS)
def test_the_four_statistics_are_answered(tmp_path, spelling, asked):
    """Rejects one spelling of the module only: which one stands in a file depends on the pickle protocol."""
    file = checkpoint(tmp_path / 'x.pth', pack(attribute(BUFFER, asked, spelling=spelling)))
    assert torch.load(file, weights_only=True) == (getattr(HistoryBuffer, asked),)


@pytest.mark.parametrize('spelling', ['builtins', '__builtin__'])
@pytest.mark.parametrize(
    'code',
    [
        pytest.param((BUFFER, 'register_statistics'), id='another method'),
        pytest.param((BUFFER, '__init__'), id='a dunder'),
        pytest.param((BUFFER, '_statistics_methods'), id="the class's own dict"),
        pytest.param((call(BUFFER), 'mean'), id='a bound method'),
        pytest.param((name('numpy', 'ndarray'), 'max'), id='the same name on another class'),
        pytest.param((BUFFER, 'min', '__globals__'), id='an attribute of an answer'),
        pytest.param((ONE_CYCLE, '__init__'), id='a dunder of a schedule'),
        pytest.param((ONE_CYCLE, '_annealing_cos', '__globals__'), id="an attribute of a schedule's curve"),
        pytest.param((ONE_CYCLE, 'mean'), id="another owner's method"),
    ],
)
def test_everything_else_is_refused(tmp_path, code, spelling):
    """Rejects a check of the owner alone, of the name alone, and isinstance in place of identity."""
    file = checkpoint(tmp_path / 'x.pth', pack(attribute(*code, spelling=spelling)))
    with pytest.raises(pickle.UnpicklingError, match='found getattr'):
        torch.load(file, weights_only=True)


def test_an_answer_cannot_be_called(tmp_path):
    """Rejects registering the four statistics themselves: then a file could call them on what it likes."""
    file = checkpoint(tmp_path / 'x.pth', call(attribute(BUFFER, 'min'), call(BUFFER)))
    with pytest.raises(pickle.UnpicklingError, match='unrecognized function'):
        torch.load(file, weights_only=True)


@pytest.mark.parametrize('code', [ONE_CYCLE + pack() + b'R', ONE_CYCLE + pack() + b'\x81'])
def test_a_schedule_can_be_named_alone(tmp_path, code):
    """Called, and made without a call. Rejects declaring its class safe."""
    with pytest.raises(ConfigError, match='not safe to read'):
        compat.safe_load(checkpoint(tmp_path / 'x.pth', code))


def test_curves_cannot_be_called(tmp_path):
    """Rejects registering the curves themselves."""
    file = checkpoint(tmp_path / 'x.pth', call(attribute(ONE_CYCLE, '_annealing_cos')))
    with pytest.raises(pickle.UnpicklingError, match='unrecognized function'):
        torch.load(file, weights_only=True)


# --- the same through every way in which a run loads a file ---------------------------------------------------


class Runs:
    """Pickled, it runs a command when it is loaded."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def chain(folder: Path) -> Path:
    """The ``getattr`` chain through HistoryBuffer."""
    return checkpoint(folder / 'chain.pth', runs_code(f'touch {folder / "ran"}'))


def reduced(folder: Path) -> Path:
    """The plain attack, in today's format, among honest weights."""
    file = folder / 'reduced.pth'
    torch.save({'state_dict': {'line.weight': torch.zeros(1, 3)}, 'meta': Runs(f'touch {folder / "ran"}')}, file)
    return file


def scripted(folder: Path) -> Path:
    """A TorchScript archive, which is code by its nature."""
    file = folder / 'scripted.pth'
    torch.jit.save(torch.jit.script(nn.Linear(3, 1)), str(file))
    return file


WAYS = {
    'read_checkpoint': read_checkpoint,
    'load_from': lambda file: load_checkpoint(nn.Linear(3, 1), str(file)),
    'resume': lambda file: resume(file),
    'asked to run it': lambda file: compat.safe_load(file, weights_only=False),
}


def resume(file: Path) -> None:
    """As ``--resume`` with the last checkpoint of a work dir that someone else has written."""
    (file.parent / 'last_checkpoint').write_text(str(file))
    runner(file.parent, epochs=1, resume=True).train()


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('attack', [chain, reduced, scripted])
def test_no_way_of_loading_runs_a_files_code(attack, way, tmp_path):
    """One ConfigError with the file and the reason, and nothing was run. Rejects a bare UnpicklingError that advises to
    read the file unsafely, a load that leaves ``weights_only`` to torch, and one that an argument makes unsafe."""
    file = attack(tmp_path)
    with pytest.raises(
        ConfigError, match=rf'checkpoint .*{file.name}.: found a file that is broken or not safe'
    ) as error:
        WAYS[way](file)
    assert not (tmp_path / 'ran').exists()
    reason = {'chain': '__globals__', 'reduced': 'system', 'scripted': 'TorchScript'}[attack.__name__]
    assert reason in str(error.value) and 'weights_only' not in str(error.value).partition('(')[0]


@pytest.mark.parametrize('mended', [False, True])
def test_an_address_is_loaded_as_safely(mended, tmp_path, monkeypatch):
    """MMEngine's loader of addresses asks torch for an unsafe load by name: unmended the file's code runs (so the
    attack is real), mended it is refused with the address."""
    file = reduced(tmp_path)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    module = sys.modules['mmengine.runner.checkpoint']
    if not mended:
        monkeypatch.setattr(module, 'load_url', torch.hub.load_state_dict_from_url)
    address = file.as_uri()  # torch's downloader reads these too, so no server is needed
    if mended:
        with pytest.raises(
            ConfigError, match=r'checkpoint .file:.*reduced\.pth.: found a file that is broken or not safe'
        ):
            module.load_from_http(address)
    else:
        module.load_from_http(address)
    assert (tmp_path / 'ran').exists() != mended


def test_an_environment_that_asks_for_unsafe_loads_is_not_heard(tmp_path):
    """torch has a variable that turns its default off for a whole process. Rejects leaving it to the default."""
    file = reduced(tmp_path)
    code = (
        'import sys, torch.nn\nimport mmnas_video\nfrom mmengine.runner import load_checkpoint\n'
        'load_checkpoint(torch.nn.Linear(3, 1), sys.argv[1])'
    )
    environment = {**os.environ, 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD': '1', 'OMP_NUM_THREADS': '1'}
    done = subprocess.run([sys.executable, '-c', code, file], capture_output=True, text=True, env=environment)
    assert 'ConfigError' in done.stderr and not (tmp_path / 'ran').exists(), done.stderr[-500:]


def test_honest_files_load_on_every_way(tmp_path):
    """Rejects a repair that refuses what is fine."""
    file = tmp_path / 'x.pth'
    torch.save({'state_dict': nn.Linear(3, 1).state_dict()}, file)
    assert set(read_checkpoint(file)) == set(WAYS['load_from'](file)) == {'state_dict'}
