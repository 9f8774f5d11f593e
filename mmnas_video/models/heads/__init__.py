"""Heads: one per dataset behind a shared backbone, and the blending of clips that goes with them."""

from .multi_task_head import MultiTaskHead
from .targets import dense_targets
from .task_blending import TaskBlending

__all__ = ['MultiTaskHead', 'TaskBlending', 'dense_targets']
