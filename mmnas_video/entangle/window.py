"""Windows: which channels of a super-weight a narrower layer uses.

Source: AutoX3D (WACV 2022), Sec. 4.2 and Fig. 3. The paper shows the fair pattern for five candidates (every part used
by 3/5 of them) and leaves the general one to a supplement; ours is ``lay_windows``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmnas_video.errors import ConfigError, check_one_of

SHARINGS = ('fair', 'prefix')


class Window(NamedTuple):
    """``length`` consecutive channels from ``start`` of ``total``, going round at the end.

    A function of a choice's values and the value alone, so groups that offer the same values have the same windows.
    """

    start: int
    length: int
    total: int

    @property
    def full(self) -> bool:
        """Whether the window is all channels in their own order."""
        return self.length == self.total and self.start == 0

    @property
    def wraps(self) -> bool:
        """Whether the window goes round the end."""
        return self.start + self.length > self.total

    def spans(self) -> tuple[tuple[int, int], ...]:
        """One or two ``(start, length)`` pieces, in the order of the sliced channels."""
        if not self.wraps:
            return ((self.start, self.length),)
        head = self.total - self.start
        return ((self.start, head), (0, self.length - head))


class MixedWindow(NamedTuple):
    """Several windows at once: the expected mask over all channels (zero-padded slices summed in weight space).

    Attributes:
        mask: (total,), the weight of the windows that hold each channel.
        total: number of channels, which is also what comes out: nothing is cut off, unused channels weigh 0.
    """

    mask: Tensor
    total: int

    @property
    def length(self) -> int:
        """All channels."""
        return self.total


class MixedKernel(NamedTuple):
    """Several centred kernel extents at once: the expected mask (T, K, K) of the taps."""

    mask: Tensor


class JoinedWindow(NamedTuple):
    """Input channels from several places, one after another: a layer's own and what is joined to them.

    Attributes:
        own: window of the channels that the layer always has.
        joined: per further place its name and window; each place has a super-weight of its own, so that a network
            without it has the same parameters as one that never could have it.
    """

    own: Window | MixedWindow
    joined: tuple[tuple[str, Window | MixedWindow], ...]

    @property
    def length(self) -> int:
        """All of them together."""
        return self.own.length + sum(window.length for _, window in self.joined)


def whole(channels: int) -> Window:
    """The window of a layer with nothing to choose."""
    return Window(0, channels, channels)


def lay_windows(lengths: Sequence[int], sharing: str = 'fair') -> tuple[Window, ...]:
    """One window for each candidate width, over ``max(lengths)`` channels.

    ``'fair'`` lays the candidates end to end, cyclically, over the unit parts (the greatest common divisor of the
    lengths): how many candidates cover a part then differs by at most one between any two parts, whatever the
    lengths; for widths 1 to 5 parts it is 3 of 5 everywhere (Fig. 3). ``'prefix'`` starts every window at 0, the
    usual sharing, which Sec. 4.2 calls unfair.

    Args:
        lengths: the candidates' widths in channels, in the order of the choice's values; widths may repeat.

    Raises:
        ConfigError: another ``sharing``, or a width that is not positive.
    """
    check_one_of('sharing', sharing, SHARINGS)
    if not lengths or min(lengths) < 1:
        raise ConfigError(f'widths: found {list(lengths)}, expected positive numbers of channels')
    total, unit = max(lengths), math.gcd(*lengths)
    windows, position = [], 0
    for length in lengths:
        # A window over everything covers each part once wherever it starts: it may as well not wrap.
        start = 0 if sharing == 'prefix' or length == total else position
        windows.append(Window(start, length, total))
        if length != total:
            position = (position + length) % total
    assert all(window.start % unit == 0 for window in windows)
    return tuple(windows)


def take(weight: Tensor, dim: int, window: Window | MixedWindow) -> Tensor:
    """The window of ``weight`` along ``dim``: a view where it does not wrap, two views joined where it does.

    Of a mixed window all of ``weight``, each channel times its weight in the mask.
    """
    if isinstance(window, MixedWindow):
        return weight * window.mask.view([-1 if d == dim else 1 for d in range(weight.dim())])
    if window.full:
        return weight
    pieces = [weight.narrow(dim, start, length) for start, length in window.spans()]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim)


def centre_crop(weight: Tensor, kernel: tuple[int, int] | MixedKernel) -> Tensor:
    """The central ``t x k x k`` of a kernel of shape ``(..., T, K, K)``; odd sizes, so the centre stays the centre.

    Of a mixed kernel all of ``weight``, each tap times its weight in the mask.
    """
    if isinstance(kernel, MixedKernel):
        return weight * kernel.mask
    t, k = kernel
    if weight.shape[-3:] == (t, k, k):
        return weight
    dt, dk = (weight.shape[-3] - t) // 2, (weight.shape[-1] - k) // 2
    return weight[..., dt : dt + t, dk : dk + k, dk : dk + k]


class Slice(NamedTuple):
    """Which part of one parameter or buffer an architecture uses.

    Attributes:
        name: name in the module's state dict.
        windows: per leading dimension the window, or None for all of it.
        kernel: the central ``(t, k)`` of the last three dimensions, or None.
    """

    name: str
    windows: tuple[Window | None, ...] = ()
    kernel: tuple[int, int] | None = None

    def __call__(self, tensor: Tensor) -> Tensor:
        """The used part (a view where no window wraps)."""
        for dim, window in enumerate(self.windows):
            if window is not None:
                tensor = take(tensor, dim, window)
        return tensor if self.kernel is None else centre_crop(tensor, self.kernel)

    def whole(self, shape: Sequence[int]) -> bool:
        """Whether it is all of a parameter of this shape."""
        full = all(window is None or window.full for window in self.windows)
        return full and (self.kernel is None or tuple(shape[-3:]) == (self.kernel[0], self.kernel[1], self.kernel[1]))

    def mark(self, mask: Tensor) -> None:
        """Set the used entries of a boolean ``mask`` of the full shape to True."""
        spans = [((0, mask.shape[d]),) if w is None else w.spans() for d, w in enumerate(self.windows)]
        corners: list[list[tuple[int, int]]] = [[]]
        for span in spans:
            corners = [[*corner, piece] for corner in corners for piece in span]
        for corner in corners:
            view = mask
            for dim, (start, length) in enumerate(corner):
                view = view.narrow(dim, start, length)
            (view if self.kernel is None else centre_crop(view, self.kernel)).fill_(True)
