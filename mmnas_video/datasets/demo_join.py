"""One video set out of several demo sets: the union of their classes, as lists that name the sets' own files.

    ROOT/motion_scene/{train,val,test}.txt     "../motion/videos/name.mp4 label"

Labels go on where those of the set before end. No file is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmnas_video.errors import ConfigError

from .demo import SPLITS

#: The video sets, in the order of their labels.
SETS = ('motion', 'scene')


def join_demo(root: str | Path) -> Path:
    """Write the lists of the union of demo video sets, and return their folder, ``ROOT/motion_scene``.

    With ``data_root`` this folder and ``data_prefix=dict(video='')`` a ``VideoDataset`` reads them.

    Args:
        root: folder of the sets, as :func:`~mmnas_video.datasets.make_demo` made them.

    Raises:
        ConfigError: a set that is not there.
    """
    root, folder = Path(root), Path(root) / '_'.join(SETS)
    folder.mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[str]] = {split: [] for split in SPLITS}
    classes: list[str] = []
    for name in SETS:
        if not (root / name / 'classes.txt').is_file():
            raise ConfigError(
                f'{root / name}: found no demo set {name!r}, expected one; make it with '
                f'python tools/data/make_demo.py --out {root}'
            )
        for split in SPLITS:
            for line in (root / name / f'{split}.txt').read_text().splitlines():
                path, label = line.rsplit(' ', 1)
                lines[split].append(f'../{name}/videos/{path} {int(label) + len(classes)}')
        classes += (root / name / 'classes.txt').read_text().splitlines()
    for split in SPLITS:
        _write(folder / f'{split}.txt', lines[split])
    _write(folder / 'classes.txt', classes)
    return folder


def _write(path: Path, lines: Sequence[str]) -> None:
    text = '\n'.join(lines) + '\n'
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)
