"""How to go on from a search: the exact commands, with this search's own paths."""

from __future__ import annotations

import ast
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmnas_video.search import find_checkpoint

from .recorded import RecordedSearch

PACKAGE = Path(__file__).resolve().parents[1]
#: Where the tools lie: in the ``.mim`` of an installed package (of a linked one that leads to the clone), or beside it.
TOOLS = (PACKAGE / '.mim' / 'tools' if (PACKAGE / '.mim').is_dir() else PACKAGE.parent / 'tools').resolve()


def next_commands(record: RecordedSearch) -> list[tuple[str, str]]:
    """(what it does, command) pairs, to be run in the order given from the current directory.

    What cannot be told from the work directory stands in capitals (CONFIG, CHECKPOINT).
    """
    searched = record.work_dir
    if record.stages and isinstance(record.stages[-1].get('folder'), str):
        searched = searched / record.stages[-1]['folder']  # whose arch.json the search's own is
    config, checkpoint = find_config(searched), find_checkpoint(searched)
    search = 'CONFIG' if config is None else near(config)
    weights = 'CHECKPOINT' if checkpoint is None else near(checkpoint)
    folder, again = record.work_dir / 'search', near(record.work_dir / 'retrain')
    arch, pinned = near(folder / 'arch.json'), near(folder / 'extracted.py')
    retrain = _retraining(record.retrain) or (read_retrain(config) if config else {})
    base, options = (
        (retrain['config'], {**retrain['options'], 'model.backbone.arch': arch}) if retrain else (pinned, {})
    )
    changed = ['--cfg-options', *(option(key, value) for key, value in options.items())] if options else []
    fresh = changed or ['--cfg-options', 'load_from=None']
    trained = find_checkpoint(record.work_dir / 'retrain')
    if trained and trained.name == 'within_epoch.pth':  # of a training that has not ended
        trained = None
    # Until there is one: the training leaves its path in that file.
    newest = typed(trained) if trained else f'"$(cat {shlex.quote(again + "/last_checkpoint")})"'
    extract = [*_tool('extract'), search, weights, '--arch', arch]
    commands = [
        ('Train the chosen network from scratch', _line(*_tool('train'), base, '--work-dir', again, *fresh)),
        (
            'Test what was trained',
            f'{_line(*_tool("test"), base)} {newest}' + (f' {_line(*changed)}' if changed else ''),
        ),
        (
            'Export what was trained for onnxruntime, and for torch.export.load',
            f'{_line(*_tool("extract"), base)} {newest} '
            + _line('--out', again, '--onnx', f'{again}/net.onnx', '--export', f'{again}/net.pt2', *changed),
        ),
        (
            'Cut it out of the supernet with its inherited weights (extracted.py and .pth beside arch.json)',
            _line(*extract),
        ),
        (
            'Test it with the inherited weights',
            _line(*_tool('test'), pinned, near(folder / 'extracted.pth')),
        ),
        ('Count its parameters and multiply-adds', _line(*_tool('cost'), search, '--arch', arch)),
        ('Draw this report again', _line(*_tool('report'), near(record.work_dir))),
    ]
    if not record.final:
        resume = (*_tool('search'), search, '--work-dir', near(record.work_dir), '--resume')
        commands.insert(0, ('Go on with the search', _line(*resume)))
    return commands


def _tool(name: str) -> tuple[str, str]:
    return 'python', near(TOOLS / f'{name}.py')


def _line(*words: str) -> str:
    return shlex.join(words)


def option(key: str, value: Any) -> str:
    """A word for ``--cfg-options`` that is read as this value: text that would be read as something else has quotes."""
    text = isinstance(value, str) and not set(value) & {*',()[]{}\'"'} and not _is_literal(value)
    return f'{key}={value if text else repr(value)}'


def _is_literal(text: str) -> bool:
    if text.strip().lower() in ('true', 'false', 'none'):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def find_config(work_dir: Path) -> Path | None:
    """The config that MMEngine's Runner has dumped into the work directory, if there is exactly one."""
    found = sorted(path for path in work_dir.glob('*.py') if path.is_file())
    return found[0] if len(found) == 1 else None


def read_retrain(config: Path) -> dict[str, Any]:
    """``config`` and ``options`` of a dumped config's ``retrain``; empty if it has none.

    The file is parsed, not run: a report may be made of a work directory that came from elsewhere.
    """
    try:
        tree = ast.parse(config.read_text(encoding='utf-8'))
    except (OSError, ValueError, SyntaxError, RecursionError):
        return {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'retrain':
            return _retraining(_data(node.value))
    return {}


def _retraining(retrain: Any) -> dict[str, Any]:
    if not isinstance(retrain, Mapping) or not isinstance(retrain.get('config'), str):
        return {}
    options = retrain.get('cfg_options')
    return {'config': near(Path(retrain['config'])), 'options': dict(options) if isinstance(options, Mapping) else {}}


def _data(node: ast.expr) -> Any:
    """A literal, ``dict(name=literal, ...)`` or ``dict({...})``, as MMEngine writes them; None for anything else."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == 'dict':
        found = [_data(argument) for argument in node.args] + [{k.arg: _data(k.value)} for k in node.keywords if k.arg]
        return {key: value for part in found if isinstance(part, dict) for key, value in part.items()}
    if isinstance(node, ast.Dict):
        return {_data(key): _data(value) for key, value in zip(node.keys, node.values, strict=True) if key}
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def near(path: Path | str) -> str:
    """The path relative to the current directory if it lies below it, else absolute."""
    absolute = Path(os.path.abspath(path))
    try:
        return absolute.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return absolute.as_posix()


def typed(path: Path | str) -> str:
    """The same as one types it: quoted where a shell would take it apart."""
    return shlex.quote(near(path))
