"""Mutated arch files and mutated configs: each is taken, or refused with one ConfigError.

    python tools/benchmarks/fuzz.py                              10,000 arch files and 2,000 configs
    python tools/benchmarks/fuzz.py --archs 300 --configs 40     as the tests do

An arch file of a published space is changed in its values, its keys, its nesting or its text, and read. A config (a
whole search on vectors up to its first step, or the model, hooks and transforms of a demo) has values replaced, keys
removed, misspelt or added, and is built, in a process of its own. What comes out other than a result or a ConfigError
of reasonable length and time is a failure, and is printed. Hypothesis draws the changes; the same numbers draw the same
ones.
"""

import argparse
import collections
import copy
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import add_json, show
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

from mmnas_video.building import building
from mmnas_video.config_keys import check_keys
from mmnas_video.entangle import find_searchable
from mmnas_video.errors import ConfigError
from mmnas_video.launch import load_config, train
from mmnas_video.registry import HOOKS, MODELS
from mmnas_video.search.config_text import unformatted
from mmnas_video.space import arch_to_json
from mmnas_video.testing import toy

#: Longest message (characters) and longest time (s on the CPU) of a refusal.
LENGTH, SECONDS = 3000, 30
#: Longest time by the clock (s), for what waits without working.
PATIENCE = 300
#: Seconds between two lines of progress.
EVERY = 30
JUNK = [None, True, -1, 0, 3.5, 10**4000, 1e308, '', 'x', '\ud800', 'z' * 10_000, [], [1, 'a'], {}, {'type': 'X'}]
TEXTS = ['NaN', 'Infinity', '1e999', '9' * 5000, '[' * 50_000, '{"a":' * 5000, '"a": 1, "a": 2', '\x00', '\ufeff', '//']
DEMOS = ('autox3d', 'autox3d_darts', 'vimnas_joint', 'p3d_darts', 'tsnet_progressive')


# ---------------------------------------------------------------------- changes
def places(part: Any, path: tuple = ()) -> list[tuple]:
    """Path of everything in nested dicts and lists, but for the whole."""
    pairs = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    return [found for key, value in pairs for found in ((*path, key), *places(value, (*path, key)))]


def change(data: Any, draw: Callable, junk: st.SearchStrategy) -> None:
    """Replace, remove, rename or add something in ``data``, in place. What is put in is a copy: a later change must not
    change the junk of other examples."""
    path = draw(st.sampled_from(places(data)))
    owner = data
    for key in path[:-1]:
        owner = owner[key]
    how = draw(st.sampled_from(('replace', 'remove', 'rename', 'add', 'wrap')))
    if how == 'remove':
        del owner[path[-1]]
    elif how == 'rename' and isinstance(owner, dict):
        owner[f'{path[-1]}s'] = owner.pop(path[-1])
    elif how == 'add' and isinstance(owner, dict):
        owner[draw(st.sampled_from(('x', 'typ', 'kernel', '', 'num_arch')))] = copy.deepcopy(draw(junk))
    elif how == 'wrap':
        owner[path[-1]] = [owner[path[-1]]]
    else:
        owner[path[-1]] = copy.deepcopy(draw(junk))


# ---------------------------------------------------------------------- arch files
def spaces() -> dict[str, Any]:
    """A space of every family: those of the demos."""
    found = [find_searchable(MODELS.build(load_config(f'configs/demo/{name}.py').model))[1].space for name in DEMOS]
    return {space.name: space for space in found}


@st.composite
def arch_files(draw: Callable, known: dict[str, Any]) -> tuple[str, bytes]:
    """Name of a space, and a changed arch file of it."""
    name = draw(st.sampled_from(sorted(known)))
    arch = known[name].sample(random.Random(draw(st.integers(0, 99))))
    data = json.loads(arch_to_json(arch, known[name].identity, {'cost': {'macs': 5}}))
    for _ in range(draw(st.integers(0, 3))):
        change(data, draw, st.sampled_from(JUNK))
        if not places(data):
            break
    text = json.dumps(data).encode('utf-8', 'surrogatepass')
    for _ in range(draw(st.integers(0, 2))):
        at, to = sorted(draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
        to = draw(st.sampled_from((at, at + 1, to)))
        new = draw(st.one_of(st.binary(max_size=4), st.sampled_from(TEXTS).map(lambda t: t.encode('utf-8'))))
        text = text[:at] + new + text[to:]
    return name, text


def read_arch(known: dict[str, Any], name: str, text: bytes, file: Path) -> str:
    """Read an arch file as a config does; empty, or what is wrong with the outcome."""
    file.write_bytes(text)
    begin = time.process_time()
    try:
        arch = known[name].read(str(file))
        outcome = '' if arch in known[name] else f'took {dict(arch)}'
    except ConfigError as error:
        outcome = '' if len(str(error)) < LENGTH else f'a message of {len(str(error))} characters'
        str(error).encode('utf-8')  # what a terminal cannot print is none
    except Exception as error:
        outcome = f'{type(error).__name__}: {error}'
    slow = time.process_time() - begin
    return outcome or (f'took {slow:.0f} s' if slow > SECONDS else '')


# ---------------------------------------------------------------------- configs
def whole_search(changed: dict[str, Any], folder: Path) -> None:
    """A search on vectors up to the end of its first step."""

    class Enough(BaseException):
        """The first step is done."""

    class Stop(HOOKS.get('ReproducibleHook').__mro__[1]):
        """Ends it there."""

        def after_train_iter(self, *args: Any, **kwargs: Any) -> None:
            raise Enough

    cfg = unformatted(Config(changed))
    if isinstance(cfg.get('custom_hooks'), list):
        cfg.custom_hooks.append(dict(type=Stop))
    elif 'custom_hooks' in cfg:
        check_keys(cfg)
        raise ConfigError('custom_hooks: not a list')  # there is no place to stop at
    else:
        cfg.custom_hooks = [dict(type=Stop)]
    try:
        train(cfg)
    except Enough:
        return


def demo_parts(changed: dict[str, Any], folder: Path) -> None:
    """Model, hooks and transforms of a demo; no data is there."""
    cfg = Config(changed)
    init_default_scope('mmaction')
    check_keys(cfg)
    with building(cfg):
        MODELS.build(cfg.model)
        for hook in cfg.custom_hooks:
            HOOKS.build(hook)
        for key in ('train_pipeline', 'test_pipeline', 'video_train'):
            if key in cfg:
                Compose(cfg[key])


@st.composite
def configs(draw: Callable, known: dict[str, tuple[dict[str, Any], Callable]]) -> tuple[str, dict[str, Any]]:
    """Name of a config, and its content with one to three changes."""
    name = draw(st.sampled_from(sorted(known)))
    data = copy.deepcopy(known[name][0])
    junk = st.sampled_from([value for value in JUNK if value != 10**4000] + ['SeededSamplr', 'pytorch', 2])
    for _ in range(draw(st.integers(1, 3))):
        if places(data):
            change(data, draw, junk)
    return name, data


def in_child(work: Callable[[dict[str, Any], Path], None], data: dict[str, Any], folder: Path) -> str:
    """Do ``work`` in a fork; empty, or what is wrong with how it ended."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    told = folder / 'told'
    child = os.fork()
    if not child:
        status = 0
        try:
            for number in (1, 2):
                os.dup2(os.open(folder / 'log', os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
            os.chdir(folder)
            resource.setrlimit(resource.RLIMIT_AS, (32 << 30, 32 << 30))
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
            signal.alarm(PATIENCE)
            work(data, folder)
        except ConfigError as error:
            if len(str(error)) >= LENGTH:
                told.write_text(f'a message of {len(str(error))} characters')
        except BaseException as error:
            told.write_text(f'{type(error).__name__}: {error}'[:500], errors='replace')
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return told.read_text() if told.is_file() else '' if status == 0 else f'ended with status {status}'


# ---------------------------------------------------------------------- counting
def count(examples: int, strategy: st.SearchStrategy, judge: Callable[[Any], str]) -> tuple[int, int]:
    """How many examples were tried and failed; a few of the failures are printed."""
    tried, kinds, said = [0], collections.Counter(), [time.monotonic()]

    @settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(strategy)
    def run(example: Any) -> None:
        tried[0] += 1
        wrong = judge(example)
        if time.monotonic() - said[0] > EVERY:
            said[0] = time.monotonic()
            print(f'{tried[0]:,} of {examples:,}, {sum(kinds.values()) + bool(wrong)} failed', flush=True)
        if wrong:
            kinds[wrong[:60]] += 1
            if kinds[wrong[:60]] == 1:
                print(f'FAILED: {wrong}\n  {repr(example)[:1500]}', flush=True)

    run()
    return tried[0], sum(kinds.values())


def main() -> int:
    """Fuzz both, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--archs', type=int, default=10_000, help='mutated archs (default: 10,000)')
    parser.add_argument('--configs', type=int, default=2_000, help='mutated configs (default: 2,000)')
    add_json(parser)
    args = parser.parse_args()
    folder, rows = Path(tempfile.mkdtemp()), []
    init_default_scope('mmaction')
    if args.archs:
        known = spaces()
        file = folder / 'arch.json'
        rows.append(['arch files', *count(args.archs, arch_files(known), lambda pair: read_arch(known, *pair, file))])
    if args.configs:
        search = dict(type='PARSECSearchHook', num_archs=2, budget=dict(macs=60))
        made = {'toy': (toy.config(search, epochs=1, work_dir=str(folder / 'run' / 'work')).to_dict(), whole_search)}
        for name in DEMOS:
            made[name] = (load_config(f'configs/demo/{name}.py').to_dict(), demo_parts)
        made |= {f'toy{i}': made['toy'] for i in range(len(DEMOS))}  # as often as the demos together
        rows.append(
            ['configs', *count(args.configs, configs(made), lambda p: in_child(made[p[0]][1], p[1], folder / 'run'))]
        )
    show('Mutated files', ['what', 'tried', 'failed'], rows, args.out)
    shutil.rmtree(folder, ignore_errors=True)
    return int(any(row[2] for row in rows))


if __name__ == '__main__':
    sys.exit(main())
