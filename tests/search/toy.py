"""The toy search of the conformance suite, for the tests of the methods."""

from mmnas_video.testing.toy import (
    CLASSES,
    FEATURES,
    SPACE,
    ToyBackbone,
    ToyDataset,
    ToyMetric,
    ToyPreprocessor,
    ToyRecognizer,
    checkpoint,
    config,
    loader,
    prepared,
    runner,
)

__all__ = [
    'CLASSES',
    'FEATURES',
    'SPACE',
    'ToyBackbone',
    'ToyDataset',
    'ToyMetric',
    'ToyPreprocessor',
    'ToyRecognizer',
    'checkpoint',
    'config',
    'loader',
    'prepared',
    'runner',
]
