"""What joint training needs of a run: checks before it starts, and the step at which its data goes on."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from mmnas_video.entangle import bare_model
from mmnas_video.errors import ConfigError
from mmnas_video.registry import HOOKS
from mmnas_video.runner_state import MODES, counts_iterations, is_resuming, loader_of, whole_dataset

from .joint_checks import check_classes, check_clips, check_videos_apart
from .joint_dataset import JointDataset
from .joint_sampler import JointBatchSampler
from .step_iterator import StepIterator


@HOOKS.register_module()
class JointHook(Hook):
    """Check a joint run, tell its sampler how long it is, and let it go on in the middle of an epoch.

    With ``JointBatchSampler`` both of MMEngine's training loops then continue at the step of the checkpoint:
    an ``EpochBasedTrainLoop`` finishes its epoch instead of starting it anew, and an ``IterBasedTrainLoop`` does
    not decode and throw away all that lies behind. Does nothing in a run without joint data. Takes no option.

    Raises:
        ConfigError: in ``before_run`` for a first dataset that comes alone in all of the training, for heads that do
            not fit the datasets' classes, for clips that do not fit the network and for videos that are in training
            and in validation or test; before training for gradient accumulation (a step's gradient would mix datasets)
            and for a DistributedDataParallel that waits for the other datasets' heads; on resume for a checkpoint of
            another schedule.
    """

    priority = 'VERY_HIGH'  # the position in the data is set before anything asks for a batch

    def before_run(self, runner: Runner) -> None:
        """Check the datasets of the loops that have been built, against the network and against each other."""
        sampler = _batch_sampler(runner)
        if sampler is not None:
            trains = all(getattr(hook, 'trains_weights', True) for hook in runner.hooks)
            sampler.of_steps(runner.train_loop.max_iters, trains)
        data = {mode: dataset for mode in MODES if (dataset := _dataset(runner, mode)) is not None}
        if not any(isinstance(dataset, JointDataset) for dataset in data.values()):
            return
        head = getattr(bare_model(runner.model), 'cls_head', None)
        for mode, dataset in data.items():
            if isinstance(dataset, JointDataset):
                check_classes(head, dataset, training=mode == 'train', logger=runner.logger)
                check_clips(bare_model(runner.model), dataset)
        if 'train' in data:
            check_videos_apart({f'{mode}_dataloader.dataset': dataset for mode, dataset in data.items()})

    def before_train(self, runner: Runner) -> None:
        """Refuse accumulation, and put our iterator into a loop that counts iterations."""
        sampler = _batch_sampler(runner)
        if sampler is None:
            return
        found = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        if found != 1:
            raise ConfigError(
                f'optim_wrapper.accumulative_counts: found {found}, expected 1: batches of a joint dataset are of '
                'one dataset each, and gradients of several are not added up (VIM-NAS, Sec. 3.2).'
            )
        loop = runner.train_loop
        if counts_iterations(runner):
            loop.dataloader_iterator = StepIterator(loop.dataloader, sampler, runner.iter, loop.dataloader_iterator)

    def before_train_epoch(self, runner: Runner) -> None:
        """Set the position in the data, and look at how gradients will be averaged."""
        sampler = _batch_sampler(runner)
        if sampler is None:
            return
        if not counts_iterations(runner):
            sampler.go_to(runner.iter, runner.epoch)
        model = runner.model
        ddp = isinstance(model, nn.parallel.DistributedDataParallel)
        # A search hook takes the step of the wrapper over, and averages gradients itself.
        waits = ddp and 'train_step' not in model.__dict__ and not model.find_unused_parameters
        if waits and len(sampler.clips) > 1:
            raise ConfigError(
                'find_unused_parameters: found False, expected True on several ranks: a step trains one of '
                f'{len(sampler.clips)} heads, and the others have no gradient to wait for.'
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Note the schedule that the step counts in."""
        sampler = _batch_sampler(runner)
        if sampler is not None:
            checkpoint['joint'] = sampler.state_dict()

    def shared_state(self, runner: Runner) -> dict[str, Any]:
        """What all ranks must have in common, looked at before every checkpoint: the schedule, and the dataset that it
        draws next."""
        sampler = _batch_sampler(runner)
        if sampler is None:
            return {}
        return {'task schedule': {**sampler.state_dict(), 'next': sampler.schedule.task(runner.iter + 1)}}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """On resume demand the same schedule; weights that were only loaded (``load_from``) have none."""
        sampler = _batch_sampler(runner)
        if sampler is not None and is_resuming(runner) and 'joint' in checkpoint:
            sampler.check_state(checkpoint['joint'])


def _dataset(runner: Runner, mode: str) -> Dataset | None:
    loader = loader_of(runner, mode)
    return None if loader is None else whole_dataset(loader.dataset)


def _batch_sampler(runner: Runner) -> JointBatchSampler | None:
    sampler = getattr(loader_of(runner, 'train'), 'batch_sampler', None)
    return sampler if isinstance(sampler, JointBatchSampler) else None
