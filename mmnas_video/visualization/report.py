"""The report of a search: one HTML file that needs nothing else, and its pictures as files beside it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mmnas_video.errors import ConfigError
from mmnas_video.space import write_text_atomic

from . import page, sections
from .album import Album
from .comparison import inherited, summary_rows
from .networks import Networks
from .plots import pareto
from .recorded import RecordedSearch, number, read_search, with_labels
from .side_by_side import side_by_side

#: Most networks of a page that are drawn for their points: more than there are points, but for very long fronts.
DRAWINGS = 400


def write_report(
    work_dirs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str] | None = None,
    png: bool = True,
    drawings: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the report of one search, or of several side by side.

    Args:
        work_dirs: one work directory or several; each holds a ``search`` folder. A search may still be under
            way.
        out: the HTML file. By default ``WORK_DIR/search/report.html``; for several searches
            ``report_of_<n>.html`` in the first one's ``search`` folder, so that no search loses its own
            report.
        png: write the main pictures as PNG too, not as SVG alone.
        drawings: most networks that are drawn for their points, those on a front first (0.1 s and 3 to 6 KB each; by
            default all that a page has points for). Of the others the page shows the values alone.
        progress: called with (networks drawn, networks to draw).

    Returns:
        The path of the HTML file. The pictures lie beside it in ``figures/``. Equal inputs give equal bytes.

    Raises:
        ConfigError: no work directory, or one without a ``search`` folder.
    """
    if isinstance(work_dirs, (str, os.PathLike)):
        work_dirs = [work_dirs]
    if not work_dirs:
        raise ConfigError('work_dirs: found none, expected at least one work directory of a search')
    records = with_labels([read_search(work_dir) for work_dir in work_dirs])
    if out is None:
        name = 'report.html' if len(records) == 1 else f'report_of_{len(records)}.html'
        out = records[0].work_dir / 'search' / name
    out = Path(out)
    folder, networks = out.parent / 'figures', Networks(DRAWINGS if drawings is None else drawings, progress)
    if len(records) == 1:
        body = _heading(records[0], 'h1') + _search_body(records[0], Album(folder, png=png), networks)
    else:
        body = side_by_side(records, Album(folder, 'all-', png), networks)
        for i, record in enumerate(records, start=1):
            body += _heading(record, 'h2') + _search_body(record, Album(folder, f'{i}-', png), networks, len(records))
    title = ' · '.join(dict.fromkeys(_title(record) for record in records))
    write_text_atomic(out, page.page(title, body + _footer(), networks.html()))
    return out


def _title(record: RecordedSearch) -> str:
    method = page.plain(record.info.get('method')).removesuffix('SearchHook') or 'Search'
    return f'{method} on {record.space.name if record.space else "an unknown space"}'


def _heading(record: RecordedSearch, tag: str) -> str:
    """Title, the result in one sentence, what is missing, and the facts of the search."""
    info, space = record.info, record.space
    title = _title(record) if tag == 'h1' else f'{record.name}: {_title(record)}'
    target = f'target {page.mega(record.target())} M MACs' if record.target() else ''
    pairs = [
        ('Method', page.plain(info.get('method'))),
        ('Seed', page.plain(info.get('seed'))),
        ('Budget', page.bounds(info.get('budget')) or target),
        ('Space', space.name if space else ''),
        ('Space size', f'{page.big(space.size)} networks' if space else ''),
        ('Open choices', f'{len(space.open)} of {len(space)}' if space else ''),
        (
            'Searched',
            f'{len(record.epochs)} epoch{"s" * (len(record.epochs) != 1)}'
            + (f', {record.steps_total:,} recorded steps' if record.steps_total else ''),
        ),
        ('Chosen at epoch', page.plain(info.get('epoch'))),
        ('Score at that epoch', page.plain(info.get('score'))),
    ]
    origin = [
        ('Space hash', space.hash if space else ''),
        ('Commit', page.plain(info.get('commit'))),
        ('Versions', page.plain(info.get('versions'))),
    ]
    made_of = page.facts(origin) + sections.data_lists(record)
    return (
        f'<{tag}{"" if tag == "h1" else " class=search"}>{page.text(title)}</{tag}>\n'
        f'<p class="lead soft">{page.text(_result(record))}</p>\n'
        f'{page.note("Not complete", record.notes)}'
        f'<section>{page.facts(pairs)}<details><summary>Commit, versions, data lists</summary>{made_of}</details>'
        '</section>\n'
    )


def _result(record: RecordedSearch) -> str:
    """The outcome in one sentence, as it came out."""
    rows = [row for row in summary_rows(record.rows) if row.top1 is not None]
    searched = next((row for row in rows if row.name.startswith('searched')), None)
    if searched is None:
        return _alone(record)
    alike = 'with inherited weights' if inherited(record.rows) else 'trained alike'
    others = ', '.join(f'{row.name} {page.percent(row.top1)} %' for row in rows if row is not searched)
    every = [top1 for top1 in (number(row, 'top1') for row in record.rows) if top1 is not None]
    place, shared = 1 + sum(top1 > searched.top1 for top1 in every), every.count(searched.top1) > 1
    return (
        f'The searched network reaches {page.percent(searched.top1)} % top-1 at {page.mega(searched.macs)} M '
        f'MACs: place {place}{" (shared)" if shared else ""} of {len(every)} networks {alike}'
        f'{"; " if others else ""}{others}.'
    )


def _alone(record: RecordedSearch) -> str:
    """The outcome of a search without a comparison."""
    if not record.final:
        return 'The search has not come to its end; below is as far as it has got.'
    if record.tested:
        return f'Trained from scratch and tested, the network that was found reaches {_metrics(record.tested)}.'
    alone = 'there is no test result of the network trained from scratch'
    if not record.validated:
        return f'The search has come to its end; {alone}.'
    means = {name: value for name, value in record.validated.items() if name.startswith('mean/')}
    reached = _metrics(means or record.validated) + (' (mean over the data sets)' if means else '')
    return f'With inherited weights the network that was found reaches {reached} in validation; {alone}.'


def _metrics(metrics: Mapping[str, float]) -> str:
    return ', '.join(_metric(name, value) for name, value in sorted(metrics.items()))


def _metric(name: str, value: float) -> str:
    """``acc/top1: 0.913`` as a reader has it; other metrics by their own names."""
    found = re.fullmatch(r'(?:acc|mean)/top(\d+)', name)
    return f'{page.percent(value)} % top-{found[1]}' if found else f'{name} {page.plain(value)}'


def _search_body(record: RecordedSearch, album: Album, networks: Networks, share: int = 1) -> str:
    parts = [
        page.section('The stages of the search', sections.stages(record)),
        page.section('The searched network beside the alternatives', sections.comparison(record)),
        page.section(
            'The chosen network' if record.final else 'The most probable network so far',
            sections.network(record, album),
        ),
        page.section('What was found, on each data set', sections.validation(record)),
        page.section('How the search went', sections.curves(record, album)),
        page.section('Accuracy against cost', pareto([record], album, networks, share)),
        page.section('How to go on', sections.commands(record)),
    ]
    return ''.join(parts)


def _footer() -> str:
    return (
        '<footer>Made from search/arch.json, space.json, history.jsonl and table.json. '
        'The pictures are in <a href="figures/">figures/</a> as SVG and PNG.</footer>'
    )
