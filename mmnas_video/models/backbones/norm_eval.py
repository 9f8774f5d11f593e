"""Backbones that keep BatchNorm in eval mode while they train."""

from __future__ import annotations

from torch.nn.modules.batchnorm import _BatchNorm


class NormEval:
    """Stands before a ``torch.nn.Module`` among the bases of one that has ``norm_eval``."""

    norm_eval: bool

    def train(self, mode: bool = True) -> NormEval:
        """Training mode, with BatchNorm left in eval mode if ``norm_eval``."""
        super().train(mode)
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
