"""VIM-NAS's published joint search, at its real sizes, on generated data in the published layouts."""

import json
import math

from .conftest import ROOT

#: The published config with tubes of few tokens, so that it is over in half a minute.
CONFIG = """\
_base_ = [{base!r}]
model = dict(backbone=dict(fixed={{'tube*.stride': '32x32x32'}}))
"""
SETS = ('in1k', 'k400', 'k600', 'ssv2')


def test_the_published_joint_search_trains(tool, tmp_path):
    """Two epochs, images alone and then all four sets, through tools/train.py with nothing but ``--cfg-options``.
    Rejects a joint config whose lists, pipelines, heads, overlap check or schedule do not fit together at their real
    sizes, and a search that does not end with a network and every set's validation."""
    config = tmp_path / 'few_tokens.py'
    config.write_text(CONFIG.format(base=str(ROOT / 'configs/vimnas/tiny_joint.py')))
    short = ('--steps', 2, '--clips', 10, '--cfg-options', 'custom_hooks.0.drawn.tube*=1')
    words = ('--config', config, '--root', tmp_path, '--json', tmp_path / 'losses.json', *short)
    done = tool('tools/benchmarks/joint_run.py', *words).ok()
    rows = json.loads((tmp_path / 'losses.json').read_text())['rows']
    assert len(rows) == 4 and all(math.isfinite(float(x)) for row in rows for x in row[1:])
    arch = json.loads((tmp_path / 'work_dir/search/arch.json').read_text())
    assert arch['space']['name'] == 'vimnas-tiny' and arch['arch']['tube3.stride'] == '32x32x32'
    table = [line for line in (done.out + done.err).splitlines() if 'Epoch(val) [2]' in line]
    assert table and all(f'{name}/top1:' in table[-1] and f'{name}/top5:' in table[-1] for name in (*SETS, 'mean'))
