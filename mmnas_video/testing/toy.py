"""A search small enough to enumerate: 3 x 3 architectures on vectors, run by MMEngine's own Runner.

Everything is in float64 and on the CPU. Importing this registers ``ToyRecognizer`` and its parts; the
library itself does not.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.utils.data import Dataset

from mmnas_video.cost import Cost
from mmnas_video.entangle import MixedWindow, Mixture, Searchable, Slice, Window, add_local_weights, mix_windows, take
from mmnas_video.registry import DATASETS, METRICS, MODELS
from mmnas_video.runner_state import build_training
from mmnas_video.search import SearchHook
from mmnas_video.search.config_text import unformatted
from mmnas_video.space import Arch, Choice, SearchSpace, Value

FEATURES, CLASSES = 7, 3
SPACE = SearchSpace('toy', [Choice('scale', (0.5, 1.0, 2.0)), Choice('width', (2, 3, 5))])


@MODELS.register_module()
class ToyBackbone(Searchable, nn.Module):
    """``scale * W[:width] x``, zero-padded to the largest width, then BatchNorm.

    Args:
        arch: values to pin; None for the supernet.
        norm: whether there is the BatchNorm.
        fixed: choices to pin in a supernet, by name or pattern.
        local_weights: see :class:`~mmnas_video.entangle.LocalWeights`.
    """

    def __init__(
        self,
        arch: Mapping[str, Value] | None = None,
        norm: bool = True,
        fixed: Mapping[str, Value] | None = None,
        local_weights: Mapping[str, Any] | None = None,
    ) -> None:
        nn.Module.__init__(self)
        Searchable.__init__(self, SPACE.fix({**SPACE.match(fixed or {}), **(arch or {})}))
        width = max(self.space['width'].values)
        generator = torch.Generator().manual_seed(11)
        self.weight = nn.Parameter(torch.randn(width, FEATURES, generator=generator, dtype=torch.float64) / 3)
        self.norm = nn.BatchNorm1d(5).double() if norm else nn.Identity()
        self.forwards = 0
        add_local_weights(self, local_weights)

    def window(self, arch: Mapping[str, Value]) -> Window:
        """Rows of the weight that ``arch`` uses."""
        return Window(0, int(arch['width']), self.weight.shape[0])

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 7)`` to ``(B, 5)``."""
        self.forwards += 1
        window, scale = self._at(self.arch)
        y = x @ take(self.weight, 0, window).T * scale
        return self.norm(nn.functional.pad(y, (0, 5 - y.shape[1])))

    def _at(self, arch: Mapping[str, Value] | Mixture) -> tuple[Window | MixedWindow, Any]:
        """Rows and factor of an architecture, or their mixture: the width in weight space, the scale at the outputs."""
        if not isinstance(arch, Mixture):
            return self.window(arch), arch['scale']
        windows = [Window(0, int(width), self.weight.shape[0]) for width in self.space['width'].values]
        scale = sum(weight * value for value, weight in arch.terms('scale').items())
        return mix_windows(windows, arch['width']), scale

    def slices(self, arch: Mapping[str, Value]) -> Iterator[Slice]:
        """As :meth:`Searchable.slices`."""
        yield Slice('weight', (self.window(arch), None))
        yield from (Slice(f'norm.{name}') for name in self.norm.state_dict())

    def cost(self, arch: Mapping[str, Value], shape: tuple[int, ...]) -> Cost:
        """MACs and parameters on one vector."""
        return Cost(int(arch['width']) * FEATURES, int(arch['width']) * FEATURES + 10)

    def cost_range(self, shape: tuple[int, ...]) -> dict[str, tuple[tuple[int, Arch], tuple[int, Arch]]]:
        """As :meth:`Searchable.cost_range`."""
        low, high = self.space.smallest, self.space.largest
        return {
            q: ((getattr(self.cost(low, shape), q), low), (getattr(self.cost(high, shape), q), high))
            for q in Cost._fields
        }


@MODELS.register_module()
class ToyPreprocessor(BaseDataPreprocessor):
    """Stacks the vectors."""

    def __init__(self, dtype: str = 'float64') -> None:
        super().__init__()
        self.dtype = getattr(torch, dtype)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """List of (7,) to (B, 7)."""
        return {
            'inputs': torch.stack(list(data['inputs'])).to(self.dtype),
            'data_samples': data['data_samples'],
        }


@MODELS.register_module()
class ToyRecognizer(BaseModel):
    """Backbone, dropout, and a linear head 5 -> 3, with the modes of a MMAction2 recognizer."""

    def __init__(self, backbone: dict, data_preprocessor: dict | None = None, dropout: float = 0.0) -> None:
        super().__init__(data_preprocessor=data_preprocessor or dict(type='ToyPreprocessor'))
        self.backbone = MODELS.build(backbone)
        self.dropout = nn.Dropout(dropout)
        generator = torch.Generator().manual_seed(13)
        self.head = nn.Linear(5, CLASSES).double()
        with torch.no_grad():
            self.head.weight.copy_(torch.randn(CLASSES, 5, generator=generator, dtype=torch.float64))
            self.head.bias.zero_()

    def forward(self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor', **_: Any) -> Any:
        """Loss, samples with ``pred_score``, or logits."""
        inputs = inputs.view(-1, FEATURES)  # the cost counter adds leading dimensions
        logits = self.head(self.dropout(self.backbone(inputs)))
        if mode == 'loss':
            labels = torch.tensor([s.gt_label for s in data_samples], device=logits.device)
            return {'loss_cls': nn.functional.cross_entropy(logits, labels)}
        if mode == 'predict':
            for sample, row in zip(data_samples, logits, strict=True):
                sample.pred_score = row
            return data_samples
        return logits


@DATASETS.register_module()
class ToyDataset(Dataset):
    """Vectors whose class is the argmax of a fixed linear map."""

    reproducible = True
    metainfo: ClassVar[dict[str, Any]] = {}

    def __init__(self, size: int = 30, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(size, FEATURES, generator=generator, dtype=torch.float64)
        self.y = (self.x[:, :CLASSES] * 2).argmax(1).tolist()
        self.seed = seed

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, item: Any) -> dict[str, Any]:
        index = item[1] if isinstance(item, tuple) else item
        sample = BaseDataElement()
        sample.set_field(self.y[index], 'gt_label')
        return {'inputs': self.x[index], 'data_samples': sample}


@METRICS.register_module()
class ToyMetric(BaseMetric):
    """Top-1."""

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Whether each sample is right."""
        for sample in data_samples:
            score = sample['pred_score'] if isinstance(sample, dict) else sample.pred_score
            label = sample['gt_label'] if isinstance(sample, dict) else sample.gt_label
            self.results.append(int(score.argmax()) == label)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Their mean."""
        return {'top1': sum(results) / len(results)}


def loader(seed: int, batch: int = 5, size: int = 30, sampler: bool = True, workers: int = 0) -> dict[str, Any]:
    """A DataLoader config on its own toy data; without a sampler for a search's own stream."""
    cfg = dict(batch_size=batch, num_workers=workers, dataset=dict(type='ToyDataset', size=size, seed=seed))
    if workers:
        cfg['persistent_workers'] = True
    return {**cfg, 'sampler': dict(type='SeededSampler')} if sampler else cfg


def config(hook: Mapping[str, Any], epochs: int = 2, work_dir: str | None = None, **changes: Any) -> Config:
    """A complete config; ``hook`` is the search hook."""
    hook = {'arch_dataloader': loader(1, sampler=False), 'calibration_clips': 10, **hook}
    cfg = dict(
        default_scope='mmaction',
        work_dir=work_dir or tempfile.mkdtemp(),
        cost_shape=(FEATURES,),
        log_level='WARNING',
        model=dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone')),
        train_dataloader=loader(0),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        randomness=dict(seed=3),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(
            checkpoint=dict(type='AtomicCheckpointHook', interval=1, max_keep_ckpts=2),
            reproducible=dict(type='ReproducibleHook'),
        ),
        custom_hooks=[hook],
    )
    cfg.update(changes)
    return unformatted(Config(cfg))


def runner(hook: Mapping[str, Any], **changes: Any) -> Runner:
    """A Runner of :func:`config`."""
    return Runner.from_cfg(config(hook, **changes))


def checkpoint() -> str:
    """File with the weights of the toy's supernet as it is initialised, for searches that start from a trained one."""
    file = Path(tempfile.mkdtemp()) / 'supernet.pth'
    model = ToyRecognizer(dict(type='ToyBackbone'), ToyPreprocessor())
    torch.save({'state_dict': model.state_dict()}, file)
    return str(file)


def prepared(hook: Mapping[str, Any], **changes: Any) -> tuple[Runner, SearchHook]:
    """A runner up to the point where its training loop would start, and its search hook."""
    made = runner(hook, **changes)
    build_training(made)
    made.optim_wrapper = made.build_optim_wrapper(made.optim_wrapper)
    made.call_hook('before_run')
    made.optim_wrapper.initialize_count_status(made.model, 0, made.train_loop.max_iters)
    made.call_hook('before_train')
    made.model.train()
    search = next(h for h in made.hooks if isinstance(h, SearchHook))
    return made, search
