"""Files that are whole or not there, and files that are small or not read."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from mmnas_video.errors import ConfigError, RunError

#: What a person writes, and what names an architecture, is a page of text. Anything larger is refused unread.
MAX_BYTES = 1 << 20
#: End of the name under which a file is written before it is renamed into its place.
UNFINISHED = '.writing'


def write_text_atomic(path: str | os.PathLike[str], text: str) -> None:
    """As :func:`write_atomic`, in UTF-8."""
    write_atomic(path, text.encode('utf-8'))


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` so that a reader sees the old file or the new one, never a part, also after a power cut.

    Raises:
        RunError: the disk is full, or the folder may not be written; what stood at ``path`` stands there still.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.', suffix=UNFINISHED)
        try:
            with os.fdopen(descriptor, 'wb') as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise RunError(
            f'{str(path)!r}: cannot be written ({error.strerror or error}); what stood there before is intact'
        ) from None


def _sync_folder(folder: Path) -> None:
    """Let a rename in ``folder`` outlast a power cut, where the system has a way to say so."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some network file systems refuse it for folders
    finally:
        os.close(descriptor)


def remove_unfinished(folder: str | os.PathLike[str]) -> None:
    """Remove what a killed process had begun to write into ``folder``. A file that cannot be removed stays."""
    for left in Path(folder).glob(f'.*{UNFINISHED}'):
        try:
            left.unlink()
        except OSError:
            continue


def read_text(path: str | os.PathLike[str], source: str, hint: str = '', most: int = MAX_BYTES) -> str:
    """The text of a small file.

    Args:
        path: of the file.
        source: what messages call it.
        hint: where such a file comes from, for the message that there is none.
        most: bytes that it may have.

    Raises:
        ConfigError: the file is missing, larger than ``most``, not UTF-8, or cannot be read.
    """
    path = Path(path)
    try:
        if not path.is_file():  # nor a pipe or a device, which may have no end
            raise ConfigError(f'{source}: not found{hint}')
        size = path.stat().st_size
        if size <= most:
            with open(path, 'rb') as file:
                data = file.read(most + 1)  # it may grow meanwhile
            size = max(size, len(data))
    except OSError as error:
        raise ConfigError(f'{source}: cannot be read ({error.strerror or error}){hint}') from None
    if size > most:
        raise ConfigError(f'{source}: found {size} bytes, expected at most {most}')
    try:
        return data.decode('utf-8')
    except UnicodeDecodeError:
        raise ConfigError(f'{source}: found bytes that are not UTF-8, expected JSON') from None
