"""What the arguments of a command line make of a config, and which of them a tool takes."""

import argparse

import pytest
from mmengine.config import Config

from mmnas_video.command_line import _merge_arguments, add_arguments, check_work_dir, describe_plan
from mmnas_video.errors import ConfigError


def merged(cfg, *words, **tool):
    """A config with the arguments of a command line."""
    parser = argparse.ArgumentParser()
    add_arguments(parser, **tool)
    _merge_arguments(cfg, parser.parse_args(['config.py', *words]))
    return cfg


@pytest.mark.parametrize('known', [{}, dict(randomness=None), dict(randomness=dict(seed=3, deterministic=True))])
def test_the_seed_of_the_command_line(known):
    """Rejects a seed that gets lost where the config says nothing of randomness, and other options of it lost."""
    cfg = merged(Config(dict(known)), '--seed', '4')
    assert cfg.randomness == {**(known.get('randomness') or {}), 'seed': 4}


@pytest.mark.parametrize('words', [('--amp',), ('--depth-scale', '2')])
def test_an_argument_without_its_part_is_refused(words):
    """Rejects an AttributeError for a config without what the argument changes."""
    with pytest.raises(ConfigError, match=rf'{words[0]}: found no (optim_wrapper|model)'):
        merged(Config(), *words)


@pytest.mark.parametrize(
    ('tool', 'ignored'),
    [
        (dict(trains=False), ('--resume', '--auto-scale-lr')),
        (dict(runs=False), ('--resume', '--auto-scale-lr', '--amp', '--launcher=none', '--work-dir=w', '--verbose')),
    ],
)
def test_an_option_that_does_nothing_is_not_taken(tool, ignored, capsys):
    """Rejects a test with --resume or an extraction with --amp that goes on as if it had been asked for nothing."""
    for word in ignored:
        assert merged(Config(dict(auto_scale_lr={}, optim_wrapper={})), word) is not None
        with pytest.raises(SystemExit):
            merged(Config(), word, **tool)
        assert f'unrecognized arguments: {word}' in capsys.readouterr().err


def test_mixed_precision_of_a_test_is_its_loops(monkeypatch):
    """Rejects an optimiser's wrapper set in its place, which a test does not build; and on a CPU a test that ends, when
    all has been computed, in an error about ScalarType BFloat16."""
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    with pytest.raises(ConfigError, match='--amp: found no GPU'):
        merged(Config(dict(test_cfg=dict(type='TestLoop'))), '--amp', trains=False)
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    cfg = merged(Config(dict(test_cfg=dict(type='TestLoop'))), '--amp', trains=False)
    assert cfg.test_cfg.fp16 is True and 'optim_wrapper' not in cfg
    with pytest.raises(ConfigError, match='--amp: found no test_cfg'):
        merged(Config(dict(optim_wrapper={})), '--amp', trains=False)


def test_a_folder_below_a_file_is_refused_by_its_option(tmp_path):
    """Rejects an error that names the work dir for another option, and one after the work."""
    (tmp_path / 'file').write_text('')
    with pytest.raises(ConfigError, match=r'--out: cannot write to .*file/x'):
        check_work_dir(tmp_path / 'file' / 'x', '--out')


@pytest.mark.parametrize(('hours', 'words'), [(0.156, '9.36 minutes'), (17.43, '17.4 hours')])
def test_how_long_a_run_takes(hours, words):
    """Rejects minutes that are told as a fraction of an hour."""
    plan = {'epochs': 1009, 'steps_per_epoch': 7, 'seconds_per_step': 0.5632, 'hours': hours}
    assert describe_plan(plan) == f'1,009 epochs of 7 steps, 0.563 s a step on this machine: {words}'
