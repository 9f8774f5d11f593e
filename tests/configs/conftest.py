"""Configs as the tools read them, and networks built on the meta device (shapes only, no memory)."""

import copy
import random
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmnas_video.entangle import find_searchable
from mmnas_video.launch import load_config
from mmnas_video.registry import MODELS
from mmnas_video.search import fit_readers

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_mmaction():
    """Look names up as a Runner with ``default_scope = 'mmaction'`` does."""
    init_default_scope('mmaction')


@lru_cache
def _text(path: str) -> Config:
    return load_config(path)


@pytest.fixture
def load():
    """A fresh copy of the config at ``configs/NAME``."""
    return lambda name: copy.deepcopy(_text(str(ROOT / 'configs' / name)))


def _build(cfg):
    with torch.device('meta'):
        return MODELS.build(cfg.model)


@pytest.fixture
def build():
    """The network of a config on the meta device; an arch.json that a search has yet to write is replaced by
    a random architecture of the config's own space."""

    def make(cfg, seed=0):
        backbone = cfg.model.backbone
        arch = backbone.get('arch')
        if isinstance(arch, str) and not Path(arch).is_file():
            replaced, backbone.arch = backbone.pop('replaced', None), None
            space = find_searchable(_build(cfg))[1].space
            if replaced:
                backbone.replaced = replaced
            backbone.arch = dict(space.sample(random.Random(seed)))
        fit_readers(cfg)
        return _build(cfg)

    return make
