"""Repairs of Triton's interpreter (seen in 3.6), so that on a CPU the kernels compute what a GPU computes."""

from __future__ import annotations

import numpy as np
import triton.language as tl
from triton.runtime import interpreter


def repair() -> None:
    """Apply what is missing; nothing where the interpreter has no such place any more."""
    _repair_loop_bounds()
    _repair_bf16()


def _repair_loop_bounds() -> None:
    """Let a scalar be a loop bound: it is an array of shape (1,), on which numpy 2.4 refuses ``int``."""
    patch_tensor = getattr(interpreter, '_patch_lang_tensor', None)
    if patch_tensor is None or getattr(patch_tensor, 'repaired', False):
        return

    def patch_tensor_and_index(tensor, scope) -> None:
        patch_tensor(tensor, scope)
        scope.set_attr(tensor, '__index__', lambda self: self.handle.data.item())

    patch_tensor_and_index.repaired = True
    interpreter._patch_lang_tensor = patch_tensor_and_index


def _repair_bf16() -> None:
    """Round fp32 to the nearest bf16, ties to even, as hardware does: the interpreter cuts off."""
    convert = getattr(interpreter, '_convert_float', None)
    if convert is None or getattr(convert, 'repaired', False):
        return

    def convert_float(values: np.ndarray, source, target, rounding) -> np.ndarray:
        if source == tl.float32 and target == tl.bfloat16:
            bits = np.ascontiguousarray(values).view(np.uint32)
            rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
            return np.where(np.isnan(values.view(np.float32)), 0x7FC0, rounded).astype(np.uint16)
        if source == tl.bfloat16 and target == tl.float32:
            return values.view(np.uint16).astype(np.uint32) << 16
        return convert(values, source, target, rounding)

    convert_float.repaired = True
    interpreter._convert_float = convert_float
