"""In-place distillation: the largest network's scores as labels of the others.

Source: Yu and Huang, "Universally Slimmable Networks and Improved Training Techniques", ICCV 2019, Sec. 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmaction.models.heads import BaseHead
from mmaction.models.losses import BCELossWithLogits, CrossEntropyLoss
from torch import Tensor, nn

from mmnas_video.errors import ConfigError

from .indicator import batch_loss

#: Loss of a head to what makes labels of the scores (B, K) under it.
SOFTENED = {CrossEntropyLoss: lambda scores: scores.softmax(-1), BCELossWithLogits: torch.sigmoid}


class SoftLabels:
    """Losses of networks that share a head (or several, one for each dataset): of the teacher's by the labels of the
    batch, of the students' by what the teacher has said on it.

    A student's loss is its heads' own (``loss_cls``, weights included) against the teacher's probabilities, in place of
    all losses that it has by the labels.

    Args:
        model: the bare recognizer.

    Raises:
        ConfigError: there is no MMAction2 head, or one with another loss than cross-entropy, plain or binary.
    """

    def __init__(self, model: nn.Module) -> None:
        self.heads = {name: module for name, module in model.named_modules() if isinstance(module, BaseHead)}
        losses = {name: type(head.loss_cls) for name, head in self.heads.items()}
        for name, found in losses.items() or [('cls_head', None)]:
            if found not in SOFTENED:
                raise ConfigError(
                    f'distill: found model.{name} with the loss {found and found.__name__}, expected a head of '
                    f'MMAction2 with one of {", ".join(loss.__name__ for loss in SOFTENED)}'
                )
        self._labels: dict[str, Tensor] = {}

    def teach(self, model: nn.Module, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """As :func:`~mmnas_video.search.indicator.batch_loss`; what the heads say of the batch is kept."""
        with self._scores() as scores:
            result = batch_loss(model, batch)
        self._labels = {name: self._soften(name, score.detach()) for name, score in scores.items()}
        return result

    def learn(self, model: nn.Module, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss by what the last teacher has said of the same batch, and the values to log."""
        with self._scores() as scores:
            _, logged = batch_loss(model, batch)
        terms = [self.heads[name].loss_cls(score.float(), self._labels[name]) for name, score in scores.items()]
        loss = torch.stack(terms).sum()
        return loss, {**logged, 'loss': loss}

    def _soften(self, name: str, scores: Tensor) -> Tensor:
        return SOFTENED[type(self.heads[name].loss_cls)](scores.float())

    @contextmanager
    def _scores(self) -> Iterator[dict[str, Tensor]]:
        """What each head returns meanwhile, (B, K), by its name; a head that is not run is not in it."""
        scores: dict[str, Tensor] = {}
        handles = [
            head.register_forward_hook(lambda module, inputs, output, name=name: scores.update({name: output}))
            for name, head in self.heads.items()
        ]
        try:
            yield scores
        finally:
            for handle in handles:
                handle.remove()
