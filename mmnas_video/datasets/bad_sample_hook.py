"""Count and skip bad files in MMEngine's train, val and test loops."""

from collections.abc import Callable, Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner, loops
from mmengine.structures import BaseDataElement

from mmnas_video.errors import ConfigError
from mmnas_video.registry import HOOKS, hook_class

from .bad_sample import MAX_SHARE, BadSampleCounter, is_empty

# Loops that record losses in a validation demand a last output, and take it off if it holds nothing else.
NOTHING = [BaseDataElement(loss={})] if hasattr(loops, '_update_losses') else []


@HOOKS.register_module()
class BadSampleHook(Hook):
    """Take the names of bad files out of every batch before a model sees it; give up when they are too many.

    Goes with :class:`SeededDataset` and ``collate_fn=dict(type='skip_bad_collate')``. Each of the three loops
    counts for itself, and each rank what it meets. Validation and test then run on the clips that could be read, and
    the log says so; a batch of which nothing could be read does not come to the model there.

    Args:
        max_bad_share: share of a dataset's clips that may be bad, 0 to 1; it holds for what a search loads too.

    Raises:
        ConfigError: at once for a share that is none, in a run when more clips are bad; lists them.
    """

    priority = 'VERY_HIGH'  # before a search hook looks at the batch

    def __init__(self, max_bad_share: float = MAX_SHARE) -> None:
        if not 0 <= max_bad_share <= 1:
            raise ConfigError(f'BadSampleHook.max_bad_share: found {max_bad_share}, expected a number from 0 to 1.')
        self.max_bad_share = max_bad_share
        self.counters: dict[str, BadSampleCounter] = {}

    def _before_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, mode: str = 'train') -> None:
        counter = self.counters.get(mode)
        if counter is None:
            total = len(getattr(runner, f'{mode}_loop').dataloader.dataset)
            counter = BadSampleCounter(f'{mode}_dataloader', total, self.max_bad_share)
            self.counters[mode] = counter
        counter.take(data_batch, needed=mode == 'train')

    def before_val(self, runner: Runner) -> None:
        """Let the model pass over batches without a clip."""
        runner.model.val_step = _unless_empty(runner.model.val_step)

    def after_val(self, runner: Runner) -> None:
        """Give the model its step back."""
        runner.model.__dict__.pop('val_step', None)

    def before_test(self, runner: Runner) -> None:
        """As :meth:`before_val`."""
        runner.model.test_step = _unless_empty(runner.model.test_step)

    def after_test(self, runner: Runner) -> None:
        """As :meth:`after_val`."""
        runner.model.__dict__.pop('test_step', None)

    def _after_epoch(self, runner: Runner, mode: str = 'train') -> None:
        counter = self.counters.get(mode)
        if counter is not None and counter.bad:
            count = len(counter.bad)
            runner.logger.warning(
                f'{counter.key}: {count} of {counter.total} clips skipped so far, they cannot be read'
            )


def bad_share(cfg: Mapping[str, Any]) -> float:
    """The share of bad clips that a config's :class:`BadSampleHook` allows, for what is loaded beside the loops."""
    hooks = [('default_hooks', hook) for hook in (cfg.get('default_hooks') or {}).values()]
    hooks += [('custom_hooks', hook) for hook in cfg.get('custom_hooks') or ()]
    ours = (hook for where, hook in hooks if isinstance(hook, Mapping) and hook_class(hook, where) is BadSampleHook)
    return next((hook.get('max_bad_share', MAX_SHARE) for hook in ours), MAX_SHARE)


def _unless_empty(step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``step``, or no predictions for a batch without a clip."""
    return lambda data: list(NOTHING) if is_empty(data) else step(data)
