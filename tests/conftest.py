"""What every test runs under: one thread, no display, and nothing left over from the test before it."""

import gc
import os
import sys

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch; xdist runs several of us on few cores
os.environ.setdefault('MPLBACKEND', 'Agg')

import pytest
import torch

torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked ``gpu`` where there is none."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker('gpu'):
            item.add_marker(pytest.mark.skip(reason='needs a CUDA device'))


def pytest_collection_finish() -> None:
    """Take what is imported by now out of the garbage collector's sight: MMEngine asks it to look at everything
    whenever it has read an annotation list, a quarter of a second each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def same_draws():
    """Give every test the same initial weights each time: torch begins each process with another seed, and a test that
    compares to some digits must not depend on it."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def fresh_mmengine_globals():
    """Forget MMEngine's global loggers, message hubs and visualizers after each test.

    They are found again by name, and a Runner's name holds the time in seconds: a second Runner in the same
    second would write to the first one's files and count on from its numbers.
    """
    yield
    if 'mmengine' in sys.modules:
        forget_runs()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.fixture
def no_pictures(monkeypatch):
    """A report takes longer than a search of a toy; tests/visualization has its own."""
    monkeypatch.setattr('mmnas_video.visualization.report.write_report', lambda *args, **options: None)


def forget_runs() -> None:
    """As after a test, for the next run in the same one."""
    from mmengine.logging import MessageHub, MMLogger
    from mmengine.registry import DefaultScope
    from mmengine.visualization import Visualizer

    for logger in MMLogger._instance_dict.values():
        for handler in list(logger.handlers):
            handler.close()
            logger.removeHandler(handler)
    for owner in (MMLogger, MessageHub, DefaultScope, Visualizer, *Visualizer.__subclasses__()):
        owner._instance_dict.clear()
