"""The script of docs/reuse.md that needs no tool and no data; tests/host runs the projects of the page."""

import json
import re
import runpy
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]


def test_a_small_network_in_python_alone(tmp_path, monkeypatch):
    """Rejects a script that does not run, files that do not belong together, a head as wide as the supernet's, and
    scores that are not those of the supernet at the architecture."""
    blocks = re.findall(r'```python\n(# small_vit.py\n.*?)```', (ROOT / 'docs/reuse.md').read_text('utf-8'), re.DOTALL)
    (tmp_path / 'small_vit.py').write_text(*blocks)
    monkeypatch.chdir(tmp_path)
    made = runpy.run_path('small_vit.py')
    supernet, small, arch = made['supernet'], made['again'], made['arch']
    assert json.loads(Path('arch.json').read_text())['arch'] == dict(arch) == dict(small.backbone.arch)
    width = arch['embed_dim']
    assert small.cls_head.fc_cls.in_features == width < supernet.cls_head.fc_cls.in_features
    saved = torch.load('small.pth', weights_only=True)
    assert sum(map(torch.Tensor.numel, saved.values())) < sum(map(torch.Tensor.numel, supernet.state_dict().values()))
    with torch.no_grad(), supernet.backbone.use(arch):
        expected, found = (m(made['clips'], stage='head') for m in (supernet, small))
    assert expected.std() > 0 and torch.allclose(found, expected, atol=1e-6)
