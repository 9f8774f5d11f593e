"""Load torchcodec, with the FFmpeg of the machine or, where there is none, with the one inside PyAV's wheel.

torchcodec brings no FFmpeg and asks the linker for ``libavcodec.so.62`` and its kin. PyAV, which we need anyway,
brings them under names of its own (``libavcodec-5e6b81c2.so.62.28.102``), which the linker takes for other libraries.
What is missing is only the name. :func:`alias_library` makes a library without content that has the wanted name and
depends on the real one: whoever asks for the name then finds the real one's symbols among its dependencies. No
environment variable, no file of another package is touched. (ELF, hence Linux with glibc.)
"""

import ctypes
import importlib
import re
import struct
import sys
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType

from mmnas_video.errors import StackError

NAMES = ('avutil', 'swresample', 'swscale', 'avcodec', 'avformat', 'avfilter', 'avdevice')  # each after what it needs
BUNDLED = re.compile(r'lib(?P<name>\w+)-[0-9a-f]+\.so\.(?P<major>\d+)')  # as auditwheel renames them
HINT = (
    'Run: pip install torchcodec, in the version that fits torch (0.11 for torch 2.11); where it finds no FFmpeg, also '
    'pip install av, or install FFmpeg 4 to 8 with shared libraries (apt install ffmpeg, conda install ffmpeg). '
    'DecordInit and DecordDecode need neither.'
)
LOAD, DYNAMIC, STACK = 1, 2, 0x6474E551  # program header types
READ_WRITE = 6
NEEDED, HASH, STRTAB, SYMTAB, STRSZ, SYMENT, SONAME = 1, 4, 5, 6, 10, 11, 14  # entries of the dynamic section


@cache
def load_torchcodec() -> ModuleType:
    """Return ``torchcodec.decoders``.

    Raises:
        StackError: it is not installed, does not fit torch, or finds no FFmpeg: what to install.
    """
    try:
        return _import()
    except ImportError as error:
        raise StackError(f'torchcodec: not installed. {HINT}') from error
    except (RuntimeError, OSError):
        _forget()  # FFmpeg is missing, in all likelihood
    try:
        use_ffmpeg_of_pyav()
        return _import()
    except (ImportError, RuntimeError, OSError) as error:
        lines = str(error).strip().splitlines()
        found = next((line.strip() for line in lines if 'cannot open' in line or 'symbol' in line), lines[0])
        raise StackError(f'torchcodec: installed, but does not load ({found}). {HINT}') from error


def _import() -> ModuleType:
    decoders = importlib.import_module('torchcodec.decoders')
    # From 0.17 on a missing FFmpeg is an error of the first decoder only: here it must be known now.
    loading = importlib.import_module('torchcodec._internally_replaced_utils')
    getattr(loading, 'load_core_libraries', lambda: None)()
    return decoders


def _forget() -> None:
    """Remove what a failed import leaves behind, so that the next one starts anew."""
    for name in [name for name in sys.modules if name.partition('.')[0] == 'torchcodec']:
        del sys.modules[name]


def use_ffmpeg_of_pyav() -> None:
    """Load PyAV's FFmpeg libraries, and give each the name that other programs know it by.

    Raises:
        ImportError: PyAV is not installed, or brings no FFmpeg (a build against that of the machine).
        OSError: the linker refuses.
    """
    import av

    found = {}
    for path in (Path(av.__file__).parents[1] / 'av.libs').glob('lib*'):
        match = BUNDLED.match(path.name)
        if match:
            found[match['name']] = (path, f'lib{match["name"]}.so.{match["major"]}')
    if sys.platform != 'linux' or not set(NAMES) <= set(found):
        raise ImportError(f'PyAV {av.__version__} brings no FFmpeg libraries that could serve')
    with tempfile.TemporaryDirectory() as folder:  # a loaded library needs its file no longer
        for name in NAMES:
            path, soname = found[name]
            ctypes.CDLL(str(path))
            alias = Path(folder) / soname
            alias.write_bytes(alias_library(soname, path.name, path.read_bytes()[:64]))
            ctypes.CDLL(str(alias))


def alias_library(soname: str, needed: str, header: bytes) -> bytes:
    """A 64-bit shared library called ``soname`` that holds nothing and needs ``needed``.

    Args:
        soname: name that others ask for.
        needed: name (DT_SONAME) of the library that is really meant.
        header: first 64 bytes of that one; tells the processor.
    """
    strings = b'\0' + soname.encode() + b'\0' + needed.encode() + b'\0'
    start = 64 + 3 * 56  # behind the ELF header and three program headers
    symbols, hashes = start, start + 24  # one empty symbol; a hash table of 1 bucket and 1 chain
    dynamic = hashes + 16
    table = dynamic + 8 * 16
    entries = (
        (SONAME, 1), (NEEDED, 2 + len(soname)), (STRTAB, table), (STRSZ, len(strings)),
        (SYMTAB, symbols), (SYMENT, 24), (HASH, hashes), (0, 0),
    )  # fmt: skip
    size = table + len(strings)
    elf = struct.pack('<16sHHIQQQIHHHHHH', header[:16], 3, *struct.unpack_from('<H', header, 18), 1,
                      0, 64, 0, 0, 64, 56, 3, 64, 0, 0)  # fmt: skip
    programs = b''.join(
        struct.pack('<IIQQQQQQ', kind, READ_WRITE, at, at, at, length, length, align)
        for kind, at, length, align in (
            (LOAD, 0, size, 0x10000),
            (DYNAMIC, dynamic, 8 * 16, 8),
            (STACK, 0, 0, 16),  # without it the linker would ask for an executable stack
        )
    )
    tables = bytes(24) + struct.pack('<4I', 1, 1, 0, 0) + b''.join(struct.pack('<QQ', *entry) for entry in entries)
    return elf + programs + tables + strings
