"""How to go on from a search: the exact commands, with this search's own paths."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from .recorded import RecordedSearch


def next_commands(record: RecordedSearch) -> list[tuple[str, str]]:
    """(what it does, command) pairs, to be run in the order given from the repository's root.

    What cannot be told from the work directory stands in capitals (CONFIG, CHECKPOINT).
    """
    config, checkpoint = find_config(record.work_dir), find_checkpoint(record.work_dir)
    search = 'CONFIG' if config is None else _shown(config)
    weights = 'CHECKPOINT' if checkpoint is None else _shown(checkpoint)
    folder, again = record.work_dir / 'search', record.work_dir / 'retrain'
    arch, pinned = _shown(folder / 'arch.json'), _shown(folder / 'extracted.py')
    train = [
        'python',
        'tools/train.py',
        pinned,
        '--work-dir',
        _shown(again),
        '--cfg-options',
        'load_from=None',
    ]
    commands = [
        (
            'Extract the chosen network with its inherited weights (search/extracted.py and .pth)',
            ['python', 'tools/extract.py', search, weights, '--arch', arch],
        ),
        ('Train it from scratch', train),
        ('Test what was trained', ['python', 'tools/test.py', pinned, _shown(again / 'CHECKPOINT.pth')]),
        ('Count its parameters and multiply-adds', ['python', 'tools/cost.py', search, '--arch', arch]),
        ('Draw this report again', ['python', 'tools/report.py', _shown(record.work_dir)]),
    ]
    if not record.final:
        resume = ['python', 'tools/search.py', search, '--work-dir', _shown(record.work_dir), '--resume']
        commands.insert(0, ('Go on with the search', resume))
    return [(what, shlex.join(words)) for what, words in commands]


def find_config(work_dir: Path) -> Path | None:
    """The config that MMEngine's Runner has dumped into the work directory, if there is exactly one."""
    found = sorted(path for path in work_dir.glob('*.py') if path.is_file())
    return found[0] if len(found) == 1 else None


def find_checkpoint(work_dir: Path) -> Path | None:
    """The newest checkpoint by MMEngine's ``last_checkpoint`` file, if it names a file that is there."""
    try:
        named = Path((work_dir / 'last_checkpoint').read_text(encoding='utf-8').strip())
    except (OSError, UnicodeDecodeError):
        return None
    # The file holds the path of the time of writing; the directory may have been moved since.
    return next((path for path in (work_dir / named.name, named) if named.name and path.is_file()), None)


def _shown(path: Path) -> str:
    """The path relative to the current directory if it lies below it, else absolute."""
    absolute = Path(os.path.abspath(path))
    try:
        return absolute.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return absolute.as_posix()
