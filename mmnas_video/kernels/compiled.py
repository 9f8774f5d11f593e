"""What a kernel becomes on a GPU that is not there: registers, spills, instructions, by Triton's own compiler."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

HOPPER = GPUTarget('cuda', 90, 32)
_BIN = Path(triton.__file__).parent / 'backends/nvidia/bin'


class Resources(NamedTuple):
    """Of one compiled kernel.

    Attributes:
        registers: a thread.
        stack: bytes a thread; more than 0 where registers spill.
        shared: bytes a program.
        instructions: by name, without modifiers (``FFMA``, ``LDG``, ...), each place in the code once.
    """

    registers: int
    stack: int
    shared: int
    instructions: Counter[str]


def resources(kernel, types: Mapping[str, str], constants: Mapping[str, object], warps: int) -> Resources:
    """Compile ``kernel`` for Hopper and read what the assembler made of it.

    Args:
        kernel: the ``@triton.jit`` function, not under the interpreter.
        types: Triton's type of each argument that is no constant, ``'*bf16'``, ``'i32'``; pointers are 16-aligned.
        constants: the ``constexpr`` arguments.
    """
    names = kernel.arg_names
    signature = {name: 'constexpr' if name in constants else types[name] for name in names}
    attributes = {(i,): [['tt.divisibility', 16]] for i, n in enumerate(names) if signature[n].startswith('*')}
    source = ASTSource(fn=kernel, signature=signature, constexprs=dict(constants), attrs=attributes)
    built = triton.compile(source, target=HOPPER, options={'num_warps': warps, 'num_stages': 1})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / 'kernel.cubin'
        file.write_bytes(built.asm['cubin'])
        usage = _tool('cuobjdump', '-res-usage', file)
        listing = _tool('nvdisasm', '-c', file)
    found = re.search(r'REG:(\d+) STACK:(\d+)', usage)
    names = re.findall(r'^\s+(?:/\*[0-9a-f]+\*/)?\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_]*)[ .;]', listing, re.MULTILINE)
    return Resources(int(found[1]), int(found[2]), built.metadata.shared, Counter(names))


def _tool(name: str, *arguments: object) -> str:
    command = [str(_BIN / name), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
