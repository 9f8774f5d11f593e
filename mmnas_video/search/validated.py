"""Validations that a checkpoint has behind it: of the others a resume does the last one again.

MMEngine writes a checkpoint, then validates. What that comes to is in the next one: the best score so far, a rate that
follows the score, whether to stop. Resumed without it, a run takes a worse epoch for the best.
"""

from __future__ import annotations

import bisect

from mmengine.runner import Runner

from mmnas_video.runner_state import counts_iterations, has_validation, is_resuming, is_training

#: Key of MMEngine's runtime info, which is in every checkpoint: the epoch (or step) that was validated last. One that
#: begins with 'val' would be logged with the validation's figures.
KEY = 'last_validated'


def validates_at(runner: Runner, done: int) -> bool:
    """Whether a validation follows after so many epochs (in a training that counts steps, so many steps)."""
    loop = runner.train_loop
    if not has_validation(runner) or not done or done < loop.val_begin:
        return False
    interval = loop.dynamic_intervals[bisect.bisect(loop.dynamic_milestones, done + 1) - 1]  # as the loop itself does
    return done % interval == 0 or done == (loop.max_iters if counts_iterations(runner) else loop.max_epochs)


def note_validation(runner: Runner) -> None:
    """Let the checkpoints from here on say that they have this validation behind them."""
    if is_training(runner):
        runner.message_hub.update_info(KEY, _done(runner))


def validate_again(runner: Runner) -> None:
    """Validate before the training goes on, if its checkpoint was written before the validation that was due then."""
    done = _done(runner)
    if is_resuming(runner) and validates_at(runner, done) and runner.message_hub.runtime_info.get(KEY) != done:
        runner.logger.info('Resumed from before a validation: it comes first')
        runner.val_loop.run()


def _done(runner: Runner) -> int:
    return runner.iter if counts_iterations(runner) else runner.epoch
