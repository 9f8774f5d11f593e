"""How to go on from a search: the exact commands, with this search's own paths."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from .records import SearchRecord


def next_commands(record: SearchRecord) -> list[tuple[str, str]]:
    """(what it does, command) pairs, to be run in the order given from the repository's root.

    What cannot be told from the work directory stands in capitals (CONFIG, CHECKPOINT).
    """
    config, checkpoint = find_config(record.work_dir), find_checkpoint(record.work_dir)
    search = "CONFIG" if config is None else _shown(config)
    weights = "CHECKPOINT" if checkpoint is None else _shown(checkpoint)
    arch, out = _shown(record.work_dir / "search" / "arch.json"), record.work_dir / "extracted"
    pinned, retrained = _shown(out / "config.py"), record.work_dir / "retrained"
    commands = [
        (
            "Extract the chosen network: its own config and weights",
            ["python", "tools/extract.py", search, weights, "--arch", arch, "--out", _shown(out)],
        ),
        ("Train it from scratch", ["python", "tools/train.py", pinned, "--work-dir", _shown(retrained)]),
        ("Test what was trained", ["python", "tools/test.py", pinned, _shown(retrained / "CHECKPOINT.pth")]),
        ("Count its parameters and multiply-adds", ["python", "tools/cost.py", search, "--arch", arch]),
        ("Draw this report again", ["python", "tools/report.py", _shown(record.work_dir)]),
    ]
    if record.arch_source != "arch.json":
        commands.insert(
            0,
            (
                "Go on with the search",
                ["python", "tools/search.py", search, "--work-dir", _shown(record.work_dir), "--resume"],
            ),
        )
    return [(what, shlex.join(words)) for what, words in commands]


def find_config(work_dir: Path) -> Path | None:
    """The config that MMEngine's Runner has dumped into the work directory, if there is exactly one."""
    found = sorted(path for path in work_dir.glob("*.py") if path.is_file())
    return found[0] if len(found) == 1 else None


def find_checkpoint(work_dir: Path) -> Path | None:
    """The newest checkpoint by MMEngine's ``last_checkpoint`` file, if it names a file that is there."""
    try:
        named = Path((work_dir / "last_checkpoint").read_text(encoding="utf-8").strip())
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
