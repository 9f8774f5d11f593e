"""A found network in formats that run without this library: ONNX, and torch.export's programs.

Either is checked where it will run: against the network itself, on other clips than those it was traced with, at other
batch sizes and, where the network takes any, at another number of frames.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from mmnas_video.entangle import find_searchable
from mmnas_video.errors import RunError, StackError

#: What the exported network may be off, relative to its largest score.
TOLERANCE = 1e-4
#: What ONNX needs beside torch; the extra ``export`` installs them.
PACKAGES = ('onnx', 'onnxruntime', 'onnxscript')
#: Weights of more bytes than this go to a file beside the model: protobuf takes 2 GB.
MAX_INLINE = 1_900_000_000


class Scorer(nn.Module):
    """A recognizer as a function: normalised clips ``(B, C, T, H, W)`` to the scores ``(B, K)`` of each of its heads.

    Scores are logits, before any softmax or averaging over clips. Clips are what the data preprocessor gives.

    Args:
        model: the recognizer of one architecture; a copy is kept, on the CPU, in float32 and eval mode.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        model = copy.deepcopy(model).cpu().float().eval()
        self.backbone, self.head = model.backbone, model.cls_head
        self.neck = model.neck if model.with_neck else None
        #: Names of the outputs: ``scores``, or of several heads their datasets.
        self.outputs: tuple[str, ...] = tuple(getattr(self.head, 'tasks', ('scores',)))

    def forward(self, clips: Tensor) -> tuple[Tensor, ...]:
        """One tensor of scores for each of :attr:`outputs`."""
        features = self.backbone(clips)
        if self.neck is not None:
            features, _ = self.neck(features)
        if hasattr(self.head, 'tasks'):
            return tuple(self.head(features, task=task) for task in self.outputs)
        return (self.head(features),)


class Exporter:
    """One found network, to be written in several formats.

    Args:
        model: the recognizer of one architecture.
        shape: (C, T, H, W) of a clip. Rows and columns are fixed; the batch is free, and so are frames (two or
            more) where the backbone takes any number (``any_frames``).
    """

    def __init__(self, model: Any, shape: Sequence[int]) -> None:
        self.scorer, self.shape = Scorer(model).eval(), tuple(shape)
        _, searchable = find_searchable(model)
        # torch.export takes a size of 1 for a constant.
        self.any_frames: bool = searchable.any_frames and self.shape[1] > 1
        self._arch = dict(searchable.arch)
        self._space = searchable.space.identity
        self._mean, self._std = (
            [float(x) for x in getattr(model.data_preprocessor, name, torch.zeros(0)).flatten()]
            for name in ('mean', 'std')
        )

    @cached_property
    def program(self) -> ExportedProgram:
        """The network as torch.export traces it."""
        dims: dict[int, Any] = {0: Dim('batch', min=1, max=4096)}
        if self.any_frames:
            dims[2] = Dim('frames', min=2, max=4096)
        with torch.no_grad():
            return torch.export.export(self.scorer, (self._clips(2, 0),), dynamic_shapes={'clips': dims}, strict=False)

    def write_program(self, path: str | os.PathLike[str]) -> float:
        """Write a ``.pt2`` for ``torch.export.load``; returns the largest difference found, see :data:`TOLERANCE`.

        Raises:
            RunError: the program gives other scores.
        """

        def write(to: Path) -> None:
            torch.export.save(self.program, str(to), extra_files={'network.json': json.dumps(self.about())})

        def run() -> Callable[[Tensor], Sequence[Tensor]]:
            return torch.export.load(str(path)).module()

        return self._written(Path(path), write, run)

    def write_onnx(self, path: str | os.PathLike[str]) -> float:
        """Write an ONNX model; returns the largest difference found in onnxruntime, see :data:`TOLERANCE`.

        Input ``clips``, outputs :attr:`Scorer.outputs`; :meth:`about` stands in the model's metadata.

        Raises:
            StackError: a package is missing.
            RunError: the model gives other scores.
        """
        check_packages()
        import onnxruntime

        def run() -> Callable[[Tensor], Sequence[Tensor]]:
            session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
            return lambda clips: [torch.from_numpy(y) for y in session.run(None, {'clips': clips.numpy()})]

        return self._written(Path(path), self._write_onnx, run)

    def _write_onnx(self, to: Path) -> None:
        program = torch.onnx.export(
            self.program,
            input_names=['clips'],
            output_names=[*self.scorer.outputs],
            dynamo=True,
            verbose=False,
        )
        properties = {
            key: value if isinstance(value, str) else json.dumps(value) for key, value in self.about().items()
        }
        program.model.metadata_props.update(properties)
        size = sum(p.numel() * p.element_size() for p in self.scorer.state_dict().values())
        program.save(str(to), external_data=size > MAX_INLINE)

    def about(self) -> dict[str, Any]:
        """What a user of the file must know: architecture, clip, and how its pixels are normalised."""
        c, t, h, w = self.shape
        clip = ['batch', c, 'frames' if self.any_frames else t, h, w]
        return {
            'space': self._space,
            'arch': self._arch,
            'clips': clip,
            'mean': self._mean,
            'std': self._std,
            'outputs': list(self.scorer.outputs),
        }

    # ------------------------------------------------------------------ checking
    def _clips(self, batch: int, seed: int, frames: int | None = None) -> Tensor:
        c, t, h, w = self.shape
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(batch, c, frames or t, h, w, generator=generator)

    def _written(self, path: Path, write: Callable[[Path], None], run: Callable[[], Callable]) -> float:
        """Write, then run what was written; a file that is wrong does not stay."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # torch's, about its own inner parts
            write(path)
            error = self._difference(run())
        if not error <= TOLERANCE:
            path.unlink()
            raise RunError(
                f'{str(path)!r}: the exported network gives other scores than the network itself (off by {error:.2g} '
                f'of the largest, expected at most {TOLERANCE:.0e}); it was removed'
            )
        return error

    @torch.no_grad()
    def _difference(self, run: Callable[[Tensor], Sequence[Tensor]]) -> float:
        frames = self.shape[1]
        cases = [(1, frames), (3, frames), *([(2, frames + 3)] if self.any_frames else [])]
        worst = 0.0
        for seed, (batch, length) in enumerate(cases, start=1):
            clips = self._clips(batch, seed, length)
            for found, expected in zip(run(clips), self.scorer(clips), strict=True):
                if found.shape != expected.shape:
                    return float('inf')
                off = (found - expected).abs().max() / expected.abs().max().clamp_min(1e-12)
                worst = max(worst, float(off)) if off.isfinite() else float('inf')
        return worst


def check_packages() -> None:
    """Demand what ONNX needs, before anything is computed.

    Raises:
        StackError: names what is missing and what to install.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise StackError(
            f"--onnx: found no {', '.join(missing)}, expected them installed: pip install 'mmnas-video[export]'"
        )


def export_files(
    model: Any, shape: Sequence[int], files: Mapping[str, str | os.PathLike[str] | None]
) -> dict[str, float]:
    """Write a network in the formats that have a file: ``onnx``, ``program``; per file the difference found."""
    exporter = Exporter(model, shape)
    writers = {'onnx': exporter.write_onnx, 'program': exporter.write_program}
    return {str(path): writers[kind](path) for kind, path in files.items() if path}
