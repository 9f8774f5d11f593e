"""Necks, registered in MMAction2's MODELS."""

from .ts_fusion import TSFusion

__all__ = ['TSFusion']
