"""Every command of the pages is run by a test or says what it needs, and its options are those of its tool."""

import argparse
import ast
import re
import runpy
import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / 'README.md',
    ROOT / 'CONTRIBUTING.md',
    *sorted((ROOT / 'docs').glob('*.md')),
    *sorted((ROOT / 'configs').glob('*/README.md')),
]
#: Tools by their file names, which a page may call them by; of two of one name it means the benchmark.
TOOLS = {
    path.name: path.relative_to(ROOT).as_posix()
    for folder in ('tools', 'tools/data', 'tools/benchmarks')
    for path in sorted((ROOT / folder).glob('*.py'))
}
#: What a comment behind a command says that no test here can give.
MARKERS = ('needs data', 'needs a GPU', 'GPUs', 'needs Slurm', 'hours', 'each of 8 machines')
#: Pages in which a command stands beside what it printed when it was run by hand.
RECORDS = ('docs/benchmarks.md',)
#: A command, from its start, and the test that runs it (or one like it); the first that fits counts. Configs that are
#: searched, trained or tested without a marker are those of the demo, a user's own or a name in capitals.
OWN = r'(configs/demo/\S+|data/mine/\S+|work_dirs/\S+|[A-Z_]+)'
RUN_BY = (
    (r'make demo', 'tests/tools/test_train_tools.py::test_the_demo'),
    (r'make (test|lint|docs|install)\b|\.ci/run|source |pip install -e', '.ci/run'),
    (r'pip wheel|pip install \S*mmnas', 'tests/host/test_installed.py::test_the_wheel_holds_configs_and_tools'),
    (r'(PYTHONPATH=. )?python (\$NAS|\$MMACTION|-m pytest)', 'tests/host/test_installed.py::test_the_pages_tests_pass'),
    (r'python -m mmnas_video', 'tests/test_main.py::test_json_in_a_working_environment'),
    (r'python tools/(search|report).py (data|work_dirs)/mine', 'tests/tools/test_from_folders.py::test_from_a_folder'),
    (rf'python tools/search.py {OWN}.*--dry-run', 'tests/tools/test_train_tools.py::test_dry_run_of_the_demos_search'),
    (rf'python tools/search.py {OWN}', 'tests/tools/test_search_tools.py::test_a_search_leaves_what_it_says'),
    (rf'python tools/train.py {OWN}', 'tests/tools/test_train_tools.py::test_a_killed_training_resumes_and_a_finished'),
    (rf'python tools/test.py {OWN}', 'tests/tools/test_search_tools.py::'),
    (rf'python tools/extract.py {OWN}', 'tests/tools/test_export.py::test_the_tool_writes_what_it_says'),
    (r'python tools/cost.py', 'tests/tools/test_train_tools.py::test_a_supernet_shows_its_size_and_range'),
    (r'python tools/latency.py', 'tests/tools/test_latency.py::test_a_table_says_what_it_is_of'),
    (r'python tools/plan.py', 'tests/tools/test_plan.py::test_the_tool_prints_both'),
    (r'python tools/seeds.py', 'tests/tools/test_seeds.py::test_two_seeds_and_a_resume'),
    (r'python tools/report.py', 'tests/visualization/test_report.py::test_tool'),
    (r'python tools/demo_tsnet.py', 'tests/tools/test_demo_tsnet.py::test_'),
    (r'python tools/demo_vimnas.py', 'tests/tools/test_demo_vimnas.py::test_'),
    (r'python tools/demo_p3d.py', 'tests/tools/test_demo_p3d.py::test_'),
    (r'python tools/data/make_demo.py', 'tests/tools/test_data_tools.py::test_make_demo_hands_every_option_on'),
    (r'python tools/data/mini_kinetics.py', 'tests/tools/test_data_tools.py::test_drawn_classes_are_a_function'),
    (r'python tools/data/check_videos.py', 'tests/tools/test_video_tools.py::test_check_videos'),
    (r'python tools/data/transcode.py', 'tests/tools/test_video_tools.py::test_transcode'),
    (r'python tools/data/check_overlap.py', 'tests/tools/test_check_overlap.py::test_clean_lists_are_written'),
    (r'python tools/data/from_folders.py', 'tests/tools/test_from_folders.py::test_from_a_folder_to_a_report'),
    (rf'(bash )?tools/dist_search.sh {OWN}', 'tests/tools/test_dist_tools.py::test_a_search_in_two_processes'),
    (r'torchrun ', 'tests/tools/test_dist_tools.py::test_a_search_in_two_processes'),
    (r'.*RDZV_ID=\S+ .*tools/dist_search.sh', 'tests/tools/test_dist_tools.py::test_several_machines_find_each_other'),
    (r'.*tools/slurm_search.sh', 'tests/tools/test_dist_tools.py::test_the_slurm_job'),
)
START = re.compile(r'(?:[A-Z_]+=\S+ )*(?:python |torchrun |make |bash |source |pip (?:install|wheel) |tools/|\.ci/run)')
#: A command in backquotes, over lines too: ``python ...``, or a script with its options, also without its folder.
SPAN = re.compile(r'`((?:python|make|torchrun)\s[^`]+|(?:tools/)?[\w/]+\.py\s+-[^`]+)`')
#: What stands before the script that is run.
BEFORE = re.compile(r'^(?:[A-Z_]+=\S+ )*(?:python |torchrun (?:--\S+ \S+ )*)?(?=(?:tools/)?\w[\w/]*\.py\b)')


class Command(NamedTuple):
    """A command of a page."""

    page: str
    line: int
    text: str
    comment: str
    fenced: bool

    def __str__(self) -> str:
        return f'{self.page}:{self.line}: {self.text}'


def commands_of(page: str, text: str) -> list[Command]:
    """Commands in fenced blocks that are no Python, and in backquotes those that :data:`SPAN` says."""
    found, fence, above, prose, lines, i = [], None, '', [], text.splitlines(), 0
    while i < len(lines):
        line, number = lines[i], i + 1
        i += 1
        if line.lstrip().startswith('```'):
            fence, above = line.strip()[3:] if fence is None else None, ''
        elif fence in ('', 'bash', 'console', 'shell'):
            while line.endswith('\\'):
                line, i = line[:-1] + lines[i].strip(), i + 1
            words, _, comment = f' {line.strip().removeprefix("$ ")}'.partition(' #')
            if not words.strip():
                above = comment  # a line of comment goes with the commands below it; a blank one ends that
            elif START.match(words.strip()):
                found.append(Command(page, number, words.strip(), f'{above} {comment}'.strip(), True))
        elif fence is None and line.strip():
            prose.append(line)
            continue
        found += in_prose(page, number - len(prose), '\n'.join(prose))
        prose = []
    return found + in_prose(page, len(lines) + 1 - len(prose), '\n'.join(prose))


def in_prose(page: str, line: int, paragraph: str) -> list[Command]:
    """The commands in backquotes of a paragraph that begins at ``line``."""
    return [
        Command(page, line + paragraph.count('\n', 0, span.start()), ' '.join(span[1].split()), '', False)
        for span in SPAN.finditer(paragraph)
    ]


def name_of(page: Path) -> str:
    """Its path below the root."""
    return page.relative_to(ROOT).as_posix()


COMMANDS = [command for page in PAGES for command in commands_of(name_of(page), page.read_text(encoding='utf-8'))]


def covered(command: Command) -> str | None:
    """The test that stands for a command, or what its comment says that it needs; None if there is neither."""
    if any(marker in command.comment for marker in MARKERS):
        return 'marked'
    if command.page in RECORDS and command.text.startswith('python tools/benchmarks/'):
        return 'record'
    if not command.fenced and re.fullmatch(r'\S+\.py', BEFORE.sub('', command.text).partition(' -')[0]):
        return 'named'
    return next((test for pattern, test in RUN_BY if re.match(pattern, command.text)), None)


def test_the_pages_have_commands():
    """Rejects a reader that finds nothing, with which all else would pass."""
    pages = {'README.md', 'docs/quickstart.md', 'docs/scaling.md', 'configs/autox3d/README.md', 'configs/vit/README.md'}
    assert len(COMMANDS) > 90 and pages <= {c.page for c in COMMANDS}
    assert 'kill_campaign.py --terms' in {c.text for c in COMMANDS}
    read = commands_of(
        'x',
        '```bash\nA=1 python tools/a.py b \\\n    --c  # needs data\n```\nor `python tools/d.py --e`,\n'
        '`d.py --f\n1 2`, never `d.py`, nor\n\n`torchrun --n 2 tools/d.py --g`',
    )
    assert read == [
        Command('x', 2, 'A=1 python tools/a.py b --c', 'needs data', True),
        Command('x', 5, 'python tools/d.py --e', '', False),
        Command('x', 6, 'd.py --f 1 2', '', False),
        Command('x', 9, 'torchrun --n 2 tools/d.py --g', '', False),
    ]
    assert [tool_and_words(command) for command in read] == [
        ('tools/a.py', ['b', '--c']),
        ('tools/d.py', ['--e']),
        ('d.py', ['--f', '1', '2']),
        ('tools/d.py', ['--g']),
    ]


def test_every_command_is_run_by_a_test_or_marked():
    """Rejects a command that nobody has run: a published recipe without a word that it needs data, a new tool without a
    test."""
    left = [str(command) for command in COMMANDS if covered(command) is None]
    assert not left, '\n'.join(['say behind it what it needs (# needs data), or name its test in RUN_BY:', *left])
    assert covered(Command('x', 1, 'python tools/search.py configs/autox3d/s_k200.py', '', True)) is None
    assert covered(Command('x', 1, 'python tools/new.py', '', True)) is None


@pytest.mark.parametrize('name', sorted({test for _, test in RUN_BY}))
def test_the_tests_are_there(name):
    """Rejects a table of tests that have been renamed or removed."""
    file, _, function = name.partition('::')
    if not function:
        assert (ROOT / file).is_file()
        return
    names = [node.name for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)]
    assert any(found.startswith(function) for found in names), f'{file}: found no test {function}'


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_links_lead_to_files(page):
    """Rejects a link to what was renamed. (Sphinx looks at links between pages only, and not at README.md.)"""
    links = re.findall(r'\]\((?!https?:|#)([^)#\s]+)', page.read_text(encoding='utf-8'))
    assert not [link for link in links if not (page.parent / link).exists()]


def anchors(page: Path) -> set[str]:
    """What a forge and MyST call the headings of a page."""
    text = re.sub(r'^```.*?^```', '', page.read_text(encoding='utf-8'), flags=re.M | re.S)
    named: Counter[str] = Counter()
    for heading in re.findall(r'^#+ (.*)$', text, re.M):
        named[re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')] += 1
    return {f'{name}-{n}' if n else name for name, times in named.items() for n in range(times)}


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_links_lead_to_headings(page):
    """Rejects a link to a heading that was worded anew."""
    links = re.findall(r'\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)', page.read_text(encoding='utf-8'))
    assert not [(to, name) for to, name in links if name not in anchors(page.parent / to if to else page)]
    assert page.name != 'papers.md' or {'the-search', 'the-search-1'} <= anchors(page)


class Captured(BaseException):
    """The parser that a tool has made."""


@pytest.fixture(scope='module')
def parser_of():
    """Tool to its own parser, made by running the tool up to the point where it reads the command line."""
    known: dict[str, argparse.ArgumentParser] = {}

    def capture(parser, *args, **kwargs):
        raise Captured(parser)

    def find(tool: str) -> argparse.ArgumentParser:
        if tool not in known:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(argparse.ArgumentParser, 'parse_args', capture)
                patch.setattr(sys, 'argv', [str(ROOT / tool)])
                patch.syspath_prepend(str((ROOT / tool).parent))  # tools import their neighbours
                with pytest.raises(Captured) as caught:
                    runpy.run_path(str(ROOT / tool), run_name='__main__')
            known[tool] = caught.value.args[0]
        return known[tool]

    return find


def tool_and_words(command: Command) -> tuple[str, list[str]] | None:
    """The Python tool that a command starts, and what it is given."""
    text = re.sub(r'^(?:[A-Z_]+=\S+ )*', '', command.text)
    if found := re.match(r'(?:bash )?tools/(?:dist|slurm)_(search|train)\.sh (\S+)(?: \d+)?(.*)', text):
        return f'tools/{found[1]}.py', shlex.split(f'{found[2]} {found[3]}')
    script, _, words = BEFORE.sub('', text).partition(' ')
    return (TOOLS.get(script, script), shlex.split(words)) if BEFORE.match(text) else None


def test_options_are_those_of_the_tools(parser_of, capsys):
    """Rejects options and values that a tool does not take (any more), and configs that are not there."""
    wrong = []
    for command in COMMANDS:
        asked = tool_and_words(command)
        if not asked or '{' in asked[0] or '*' in asked[0]:
            continue
        tool, words = asked
        if not (ROOT / tool).is_file():
            wrong.append(f'{command}: no such tool')
            continue
        parser = parser_of(tool)
        unknown = [w for w in re.findall(r'--[a-z][\w-]*', ' '.join(words)) if w not in parser._option_string_actions]
        missing = [w for w in words if w.startswith('configs/') and not list(ROOT.glob(re.sub(r'\{.*?\}', '*', w)))]
        if unknown or missing:
            wrong.append(f'{command}: {unknown + missing}')
        elif command.fenced and not re.search(r'\.\.\.|\[|\{', command.text):
            try:
                argparse.ArgumentParser.parse_args(parser, words)
            except SystemExit as end:
                if end.code:
                    wrong.append(f'{command}: {capsys.readouterr().err.strip().splitlines()[-1]}')
    assert not wrong, '\n'.join(wrong)
    assert '--smoke' in parser_of('tools/demo_p3d.py')._option_string_actions  # the parser is the tool's own
