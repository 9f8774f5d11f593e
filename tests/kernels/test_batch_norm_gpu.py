"""What the interpreter runs in CI, by the compiled kernels; and CUDA graphs."""

import copy

import pytest
import torch

from mmnas_video.entangle import SuperBatchNorm3d, whole
from tests.kernels.batch_norm_oracle import clip
from tests.kernels.interpreted import test_batch_norm as same

pytestmark = pytest.mark.gpu
globals().update({name: value for name, value in vars(same).items() if name.startswith('test_')})


@pytest.fixture(autouse=True)
def full_precision(monkeypatch):
    """cuDNN's convolutions of float32 round to ten bits by default: more than what is compared here."""
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)


def test_cuda_graph():
    """Rejects a launch that waits for the device, or memory that a replay does not find again."""
    norm = SuperBatchNorm3d(54).cuda()
    x = clip((2, 54, 5, 13, 11))
    expected = copy.deepcopy(norm)(x, whole(54), 'swish')
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        copy.deepcopy(norm)(x, whole(54), 'swish')  # compiles
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = norm(x, whole(54), 'swish')
    for _ in range(2):
        graph.replay()
    assert torch.equal(y, expected) and norm.num_batches_tracked == 2
