"""AtomicCheckpointHook: the old checkpoint stands until the new one does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmnas_video.registry import HOOKS
from mmnas_video.space import write_text_atomic


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """MMEngine's CheckpointHook for local disks, safe against being killed while it writes.

    The stock hook deletes the oldest checkpoint before it writes the new one, and writes neither that nor
    ``last_checkpoint`` atomically. Here a checkpoint is written under a temporary name, flushed and renamed; then
    ``last_checkpoint`` is renamed into place; then the oldest goes. Options as of the stock hook.
    """

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        kept = list(getattr(self, 'keep_ckpt_ids', ())) if self.max_keep_ckpts > 0 else []
        if step not in kept:
            kept.append(step)
        stale = kept[: -self.max_keep_ckpts] if self.max_keep_ckpts > 0 else []
        kept = kept[len(stale) :]
        if self.max_keep_ckpts > 0:
            self.keep_ckpt_ids.clear()
            self.keep_ckpt_ids.extend(kept)
            runner.message_hub.update_info('keep_ckpt_ids', kept)
        final = Path(self.out_dir) / self.filename_tmpl.format(step)
        self.last_ckpt = str(final)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        temporary = f'.{final.name}.writing'
        runner.save_checkpoint(
            self.out_dir,
            temporary,
            None,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if not is_main_process():
            return
        written = final.with_name(temporary)
        with open(written, 'rb+') as file:
            os.fsync(file.fileno())
        os.replace(written, final)
        write_text_atomic(Path(runner.work_dir) / 'last_checkpoint', self.last_ckpt)
        for old in stale:
            (Path(self.out_dir) / self.filename_tmpl.format(old)).unlink(missing_ok=True)
