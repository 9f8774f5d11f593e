"""AtomicCheckpointHook: the old checkpoint stands until the new one does, and a run that is told to end leaves one."""

from __future__ import annotations

import inspect
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmnas_video.errors import ConfigError, check_number, refuse_unknown, shown
from mmnas_video.registry import HOOKS
from mmnas_video.runner_state import counts_iterations
from mmnas_video.space import remove_unfinished, write_atomic, write_text_atomic

from .early_stopping import EarlyStopping
from .preemption import Preemption
from .ranks import average_statistics, before_checkpoint
from .validated import note_validation, validate_again

#: Name of our storage backend, and of the checkpoints within an epoch and within the selection at the end of a search,
#: which the next regular one replaces.
BACKEND, WITHIN_EPOCH, SELECTION = 'atomic', 'within_epoch.pth', 'selection.pth'


@register_backend(BACKEND)
class AtomicBackend(LocalBackend):
    """MMEngine's files on a disk, each written whole (:func:`~mmnas_video.space.write_atomic`)."""

    def put(self, obj: bytes | memoryview, filepath: str | Path) -> None:
        """Write ``obj``."""
        write_atomic(filepath, bytes(obj))


class _Deferring(AtomicBackend):
    """Notes what is to be removed, and leaves it."""

    def __init__(self) -> None:
        self.removed: list[Path] = []

    def remove(self, filepath: str | Path) -> None:
        """Note ``filepath``."""
        self.removed.append(Path(filepath))


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """MMEngine's CheckpointHook for local disks, safe against being killed while it writes.

    The stock hook deletes the oldest (or the best) checkpoint before it writes the new one, and writes neither that nor
    ``last_checkpoint`` atomically. Here a checkpoint is written under a temporary name, flushed and renamed; then
    ``last_checkpoint`` is renamed into place; then what it replaces goes. Options as of the stock hook, but for storage
    elsewhere than on a disk.

    On SIGTERM (a preemption) the run ends after the step that it is in, with a checkpoint from which a resume goes on
    within the epoch; see :class:`~mmnas_video.search.preemption.Preemption`. So it does from checkpoints of every so
    many steps (``by_epoch=False``); one that is due after the last step of an epoch is written at the epoch's end.

    A checkpoint is written before its epoch's validation, so a resume begins with that: what it came to (the best so
    far, a rate that follows the score) is in no file, or it was cut short. What MMEngine's EarlyStoppingHook has
    counted is in every checkpoint.

    A search that selects by work (perturbation, random search) leaves ``selection.pth`` when it has selected: a resume,
    of a retraining that follows too, does not do it again, and ends with the same architecture on any device.

    Args:
        *args: of the stock hook.
        max_minutes: between two checkpoints: where an epoch takes longer, ``within_epoch.pth`` is written in it, from
            which a resume goes on like from that of a preemption, and which the epoch's own replaces. None, or data
            that cannot be gone on with within an epoch: none is. When a thirtieth of this time has gone by,
            ``selection.pth`` is written between two choices of a selection by perturbation, and ``within_epoch.pth`` at
            the end of an epoch that is validated.
        **kwargs: of the stock hook.

    Raises:
        ConfigError: ``backend_args`` or ``file_client_args``, an unknown option, no such number of minutes, MMEngine's
            FlexibleRunner, or (after the first validation) a ``save_best`` that is none of its figures.
        RunError: a checkpoint cannot be written; those that stood before are intact, and ``last_checkpoint`` names one.
    """

    def __init__(self, *args: Any, max_minutes: float | None = None, **kwargs: Any) -> None:
        if max_minutes is not None:
            check_number('default_hooks.checkpoint.max_minutes', max_minutes, whole=False)
        for key in ('backend_args', 'file_client_args'):
            if kwargs.get(key) is not None:
                raise ConfigError(
                    f'default_hooks.checkpoint.{key}: found {kwargs[key]}, expected none: AtomicCheckpointHook renames '
                    'files on a disk; MMEngine has CheckpointHook for other storage'
                )
        known = set(inspect.signature(CheckpointHook.__init__).parameters) - {'self', 'kwargs'}
        # The stock hook hands them on, and fails when it writes the first checkpoint.
        refuse_unknown('default_hooks.checkpoint (AtomicCheckpointHook)', kwargs, known)
        for key in ('interval', 'max_keep_ckpts', 'save_begin'):  # looked at only when the first one is due
            value = kwargs.get(key, 1)
            if isinstance(value, bool) or not isinstance(value, int):
                raise ConfigError(f'default_hooks.checkpoint.{key}: found {shown(value)}, expected a whole number')
        kwargs = {key: value for key, value in kwargs.items() if key not in ('backend_args', 'file_client_args')}
        super().__init__(*args, **kwargs, backend_args={'backend': BACKEND})
        self.preemption = Preemption(lambda runner, meta: self._write(runner, WITHIN_EPOCH, meta), max_minutes)
        self._written, self._due = 0, False
        self.early_stopping = EarlyStopping()

    # ------------------------------------------------------------------ the stock hook's
    def before_train(self, runner: Runner) -> None:
        """As the stock hook; what a killed run had begun to write goes."""
        if not isinstance(runner, Runner):
            raise ConfigError(
                f'default_hooks.checkpoint: found AtomicCheckpointHook with {type(runner).__name__}, expected '
                "checkpoint=dict(_delete_=True, type='CheckpointHook', interval=1), or no runner_type: this runner "
                'gives checkpoints an epoch of its own, so that a resume within one would leave out the rest of it'
            )
        super().before_train(runner)
        # A work dir that was moved or copied brings its best along: what stands at the old place is another run's.
        if getattr(self, 'best_ckpt_path', None):
            self.best_ckpt_path = self._here(self.best_ckpt_path)
        if best := getattr(self, 'best_ckpt_path_dict', None):
            best.update({key: path and self._here(path) for key, path in best.items()})
        if is_main_process():
            remove_unfinished(self.out_dir)
            remove_unfinished(runner.work_dir)
        self.preemption.watch(runner)
        self.preemption.give_statistics(runner)
        validate_again(runner)

    def _save_checkpoint(self, runner: Runner) -> None:
        """As the stock hook; of every so many steps within an epoch with the place in it."""
        if not self._steps_of_epochs(runner):
            super()._save_checkpoint(runner)
        elif self.preemption.ends_epoch(runner):
            self._due = True  # from here on a resume would do the epoch once more
        else:
            with self.preemption.within_epoch(runner):
                super()._save_checkpoint(runner)

    def _steps_of_epochs(self, runner: Runner) -> bool:
        """Whether it saves by steps in a training that counts epochs."""
        return not self.by_epoch and not counts_iterations(runner)

    def _here(self, path: str) -> str:
        return str(Path(self.out_dir) / Path(path).name)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        kept = list(getattr(self, 'keep_ckpt_ids', ())) if self.max_keep_ckpts > 0 else []
        if step not in kept:
            kept.append(step)
        stale = kept[: -self.max_keep_ckpts] if self.max_keep_ckpts > 0 else []
        if self.max_keep_ckpts > 0:
            # All of them in the file: should this process be killed before it removes the oldest, the resumed one does.
            runner.message_hub.update_info('keep_ckpt_ids', kept)
            self.keep_ckpt_ids.clear()
            self.keep_ckpt_ids.extend(kept[len(stale) :])
        self._write(runner, self.filename_tmpl.format(step), meta)
        runner.message_hub.update_info('keep_ckpt_ids', kept[len(stale) :])
        if is_main_process():
            for name in (*map(self.filename_tmpl.format, stale), WITHIN_EPOCH, SELECTION):
                (Path(self.out_dir) / name).unlink(missing_ok=True)

    def _write(self, runner: Runner, name: str, meta: dict[str, Any]) -> None:
        """Write a whole checkpoint, then name it as the last."""
        before_checkpoint(runner)  # on all ranks; the first alone writes
        self.last_ckpt = str(Path(self.out_dir) / name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            None,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        self._written += 1
        self.preemption.note_saved()
        if is_main_process():
            write_text_atomic(Path(runner.work_dir) / 'last_checkpoint', self.last_ckpt)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """As the stock hook; the checkpoints from here on have this validation behind them."""
        note_validation(runner)
        self.early_stopping.after_validation(runner, metrics or {})
        super().after_val_epoch(runner, metrics)

    def before_val(self, runner: Runner) -> None:
        """Give all ranks one network to validate, also between checkpoints."""
        average_statistics(runner)
        self.early_stopping.before_validation(runner)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, float]) -> None:
        """As the stock hook, but the best so far goes only after the new one stands."""
        if self.save_best:
            missing = sorted({*self.key_indicators} - {'auto', *metrics})
            if metrics and missing:
                raise ConfigError(
                    f'default_hooks.checkpoint.save_best: found {missing[0]!r}, expected what the validation reports '
                    f"({', '.join(map(repr, metrics))}), or 'auto' for the first of these"
                )
            before_checkpoint(runner)
        stock, self.file_backend = self.file_backend, _Deferring()
        try:
            super()._save_best_checkpoint(runner, metrics)
            removed = self.file_backend.removed
        finally:
            self.file_backend = stock
        best = [getattr(self, 'best_ckpt_path', None), *getattr(self, 'best_ckpt_path_dict', {}).values()]
        for old in set(removed) - {Path(path) for path in best if path}:
            old.unlink(missing_ok=True)

    # ------------------------------------------------------------------ after the last epoch
    def after_choice(self, runner: Runner) -> None:
        """Within the selection at the end of a search: save, if it is time. Called on every rank, by the search."""
        before_checkpoint(runner)  # whether or not: the run must not depend on the clock
        if self.preemption.is_due(runner):
            self.after_selection(runner)

    def after_selection(self, runner: Runner) -> None:
        """Save what the selection has found: a resume goes on after it."""
        self._write(runner, SELECTION, dict(epoch=runner.epoch, iter=runner.iter))

    # ------------------------------------------------------------------ the place within an epoch
    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Put in the place within the epoch, if it is written there, and what early stopping has counted."""
        self.preemption.save(runner, checkpoint)
        self.early_stopping.save(checkpoint)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Find the place within the epoch, if the checkpoint that is resumed has one; count on to an early stop."""
        counts_to_host(checkpoint.get('optimizer', {}))
        self.preemption.load(runner, checkpoint)
        self.early_stopping.load(runner, checkpoint)

    def before_train_epoch(self, runner: Runner) -> None:
        """Go to the place within the epoch; last of all hooks, after the others have begun it."""
        self.preemption.enter_epoch(runner)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Mapping[str, Any] | None = None
    ) -> None:
        """As the stock hook; then save or leave, if it is asked for."""
        self.preemption.count(batch_idx)
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        self.preemption.after_step(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """As the stock hook, and what was due after the last step; then leave, if it is asked for."""
        before = self._written
        super().after_train_epoch(runner)
        # Whether a step is the last one MMEngine tells by their number, as if all epochs had as many as this one.
        last = self._steps_of_epochs(runner) and self.save_last and self.is_last_train_epoch(runner)
        if self._due or last:
            self._due = False
            self._save_checkpoint_with_step(runner, runner.iter, dict(epoch=runner.epoch + 1, iter=runner.iter))
        self.preemption.after_epoch(runner, saved=self._written > before)

    def after_train(self, runner: Runner) -> None:
        """As the stock hook."""
        super().after_train(runner)
        self.preemption.unwatch()


def counts_to_host(state: dict[Any, Any]) -> None:
    """Put the counts of steps in an optimiser's state, or in several, on the CPU, in place.

    MMEngine reads a checkpoint that is resumed onto the GPU, and torch leaves these counts there: from then on Adam
    waits for the GPU once for each parameter in every step.
    """
    for key, value in state.items():
        if isinstance(value, dict):
            counts_to_host(value)
        elif key == 'step' and isinstance(value, torch.Tensor):
            state[key] = value.cpu()


def find_checkpoint(work_dir: Path) -> Path | None:
    """The newest checkpoint by MMEngine's ``last_checkpoint`` file, if it names a file that is there."""
    try:
        named = Path((work_dir / 'last_checkpoint').read_text(encoding='utf-8').strip())
    except (OSError, UnicodeDecodeError):
        return None
    # The file holds the path of the time of writing; the directory may have been moved or copied since.
    return next((path for path in (work_dir / named.name, named) if named.name and path.is_file()), None)


def save_atomic(data: Mapping[str, Any], path: str | Path) -> None:
    """``torch.save``, whole or not at all.

    Raises:
        RunError: as :func:`~mmnas_video.space.write_atomic`.
    """
    with io.BytesIO() as file:  # torch.save into a file that fills up ends with an error of its zip writer
        torch.save(data, file)
        write_atomic(path, file.getvalue())
