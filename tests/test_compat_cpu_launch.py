"""Two processes on a CPU: MMEngine's own Runner under ``launcher='pytorch'``."""

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from mmnas_video import compat

ROOT = Path(__file__).parents[1]

SCRIPT = """
import sys
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmnas_video import compat


class Slope(BaseModel):
    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(3, 1, bias=False)

    def forward(self, *samples, mode="loss"):
        return {"loss": self.line(torch.stack(samples)).sum()}


assert compat.init_cpu_process_group()
assert not compat.init_cpu_process_group()  # there is one now
runner = Runner(
    model=Slope(),
    work_dir=sys.argv[1],
    train_dataloader=dict(
        dataset=[torch.full((3,), 2.0**i) for i in range(4)],
        batch_size=2,
        sampler=dict(type="DefaultSampler", shuffle=False),
        collate_fn=dict(type="pseudo_collate"),
    ),
    train_cfg=dict(by_epoch=True, max_epochs=1),
    optim_wrapper=dict(optimizer=dict(type="SGD", lr=1.0)),
    cfg=dict(model_wrapper_cfg=compat.cpu_model_wrapper_cfg()),
    launcher="pytorch",
    randomness=dict(seed=7),
    log_level="ERROR",
)
before = runner.model.module.line.weight.detach().clone()
runner.train()
moved = (before - runner.model.module.line.weight).flatten().tolist()
print("RESULT", runner.world_size, type(runner.model).__name__, *(round(m, 4) for m in moved))
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason='on a GPU the launcher works as it is')
def test_two_ranks_train_one_model(tmp_path):
    """Rejects a launcher that starts two models that never talk, and MMEngine's default device_ids on a CPU.

    Rank 0 sees the values 1 and 4, rank 1 sees 2 and 8: with the loss a sum the gradients are 5 and 10, their
    mean 7.5. Ranks that do not talk would move by 5 and by 10.
    """
    script = tmp_path / 'train.py'
    script.write_text(textwrap.dedent(SCRIPT))
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    ranks = []
    for rank in range(2):
        place = {'RANK': rank, 'LOCAL_RANK': rank, 'WORLD_SIZE': 2, 'MASTER_PORT': port}
        environment = os.environ | {key: str(value) for key, value in place.items()}
        environment |= {'MASTER_ADDR': '127.0.0.1'}
        environment |= {'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
        command = [sys.executable, str(script), str(tmp_path / 'work')]
        ranks.append(subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True))
    outputs = [process.communicate(timeout=600) for process in ranks]
    results = [line for out, _ in outputs for line in out.splitlines() if line.startswith('RESULT')]
    assert results == ['RESULT 2 MMDistributedDataParallel 7.5 7.5 7.5'] * 2, outputs


def test_without_a_launcher_no_group_is_made(monkeypatch):
    """Rejects waiting for ranks that nobody started."""
    monkeypatch.delenv('RANK', raising=False)
    assert compat.init_cpu_process_group() is False
    assert not torch.distributed.is_initialized()


def test_the_wrapper_takes_more_arguments():
    """Rejects a shared dict: a change for one Runner would reach the next."""
    assert compat.cpu_model_wrapper_cfg(find_unused_parameters=True)['find_unused_parameters'] is True
    assert compat.cpu_model_wrapper_cfg() == {
        'type': 'MMDistributedDataParallel',
        'device_ids': None,
        'broadcast_buffers': False,
    }
