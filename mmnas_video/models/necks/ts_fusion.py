"""TSFusion: dense features join sparse ones, inside a two-stream backbone or behind any that gives two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmnas_video.entangle import Window, whole
from mmnas_video.errors import ConfigError
from mmnas_video.registry import MODELS
from mmnas_video.space import Value

from ..blocks import SuperFusion

Features = Tensor | Sequence[Tensor]


class FusionSite(NamedTuple):
    """What may meet at one site: each stream's widths with their windows, and the fusions that are offered."""

    sparse: Mapping[Value, Window]
    dense: Mapping[Value, Window]
    fusions: tuple[str, ...]


@MODELS.register_module()
class TSFusion(BaseModule):
    """Fusion of a sparse and a dense stream, dense to sparse.

    A two-stream backbone builds it from ``fusion=dict(type='TSFusion', ...)``, gives it its sites, and calls them one
    by one between its groups. As a stock ``neck=`` it takes the pair (sparse, dense) that a backbone returns, a feature
    map or a list of them each, and returns the pair with the dense features joined to the sparse ones at every level::

        neck=dict(type='TSFusion', in_channels=[(61, 7)], fusions=['time_strided_conv'])

    Source: Auto-TSNet (Gong et al., ICCV 2021), Sec. 3.2. Operations: :class:`~mmnas_video.models.blocks.SuperFusion`.

    Args:
        in_channels: as a neck, per level the channels (sparse, dense).
        fusions: as a neck, per level the fusion, or one for all.
        ratio: alpha, dense frames to one sparse frame.
        merge: ``'concat'`` or ``'sum'``.
        kernel_size: frames that the time-strided convolution sees, odd.
        sites: given by a backbone in the place of ``in_channels`` and ``fusions``.
        init_cfg: as everywhere in MMEngine.

    Raises:
        ConfigError: an unknown fusion, or another number of fusions than levels.
    """

    def __init__(
        self,
        in_channels: Sequence[tuple[int, int]] = (),
        fusions: str | Sequence[str] = 'time_strided_conv',
        ratio: int = 8,
        merge: str = 'concat',
        kernel_size: int = 5,
        sites: Sequence[FusionSite] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.ratio = ratio
        if sites is None:
            sites = _levels(in_channels, fusions)
        self.sites = nn.ModuleList(SuperFusion(*site, ratio, merge, kernel_size) for site in sites)

    def forward(
        self, features: tuple[Features, Features], data_samples: Any = None
    ) -> tuple[tuple[Features, Features], dict]:
        """As a neck: (sparse, dense) to ((fused, dense), no further losses).

        Each is ``(B, C, T, H, W)``, or a list with one such per level; the dense T is ``ratio`` times the sparse T.

        Raises:
            ConfigError: another number of levels, or frames that do not fit.
        """
        sparse, dense = features
        single = isinstance(sparse, Tensor)
        pairs = [(sparse, dense)] if single else list(zip(sparse, dense, strict=True))
        if len(pairs) != len(self.sites):
            raise ConfigError(f'neck.in_channels: found {len(self.sites)} levels, the backbone gives {len(pairs)}')
        fused = []
        for site, (slow, fast) in zip(self.sites, pairs, strict=True):
            if slow.shape[1] not in site.sparse or fast.shape[1] not in site.dense:
                raise ConfigError(
                    f'neck.in_channels: found ({", ".join(map(str, (*site.sparse, *site.dense)))}), '
                    f'the backbone gives ({slow.shape[1]}, {fast.shape[1]})'
                )
            if fast.shape[2] != self.ratio * slow.shape[2]:
                raise ConfigError(
                    f'neck.ratio: found {fast.shape[2]} dense and {slow.shape[2]} sparse frames, '
                    f'expected {self.ratio} times as many'
                )
            fused.append(site(slow, fast, site.at(site.fusions[0], slow.shape[1], fast.shape[1])))
        return (fused[0] if single else fused, dense), {}


def _levels(in_channels: Sequence[tuple[int, int]], fusions: str | Sequence[str]) -> list[FusionSite]:
    names = [fusions] * len(in_channels) if isinstance(fusions, str) else list(fusions)
    if not in_channels or len(names) != len(in_channels):
        raise ConfigError(
            f'neck.fusions: found {len(names)} fusions and {len(in_channels)} levels (neck.in_channels), expected one '
            'fusion for each level, and at least one level'
        )
    return [
        FusionSite({sparse: whole(sparse)}, {dense: whole(dense)}, (name,))
        for (sparse, dense), name in zip(in_channels, names, strict=True)
    ]
