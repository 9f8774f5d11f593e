"""The sections of a search's report, each as HTML; empty where there is nothing to show yet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mmnas_video.space import arch_to_json

from . import page
from .album import Album
from .choice_grid import choices_figure
from .commands import TOOLS, next_commands, typed
from .comparison import Row, inherited, read_row, summary_rows
from .diagrams import diagram
from .entropy_map import entropy_map_figure
from .recorded import RecordedSearch, number
from .search_curves import certainty_figure, collapse_figure, cost_figures, score_figure


def comparison(record: RecordedSearch) -> str:
    """The table: the searched network, the uniform one, median and best of the random ones."""
    if not record.rows:
        return ''
    rows = summary_rows(record.rows)
    every = [read_row(row) for row in record.rows]
    alike = 'Every network was trained and tested the same way.'
    if inherited(record.rows):
        alike = 'No network was trained again: each was tested with the weights that it has in the supernet.'
    html = _table(rows) + (
        f'<p class="soft small">MACs are multiply-adds of convolutions, linears and attention products. {alike}</p>'
    )
    if len(every) != len(rows) or {row.name for row in every} != {row.name for row in rows}:
        html += f'<details><summary>All {len(every)} networks</summary>{_table(every)}</details>'
    return html


def _table(rows: Sequence[Row]) -> str:
    best = max((row.top1 for row in rows if row.top1 is not None), default=0.0) or 1.0
    timed = any(row.latency_ms is not None for row in rows)
    lines = []
    for row in rows:
        mark = ' class="first"' if row.name.startswith('searched') else ''
        bar = '' if row.top1 is None else f'<i style="--v:{100 * row.top1 / best:.1f}"></i>'
        latency = _latency_cell(row.latency_ms) if timed else ''
        lines.append(
            f'<tr{mark}><td>{page.text(row.name)}</td><td>{page.mega(row.params, 3)}</td>'
            f'<td>{page.mega(row.macs)}</td>{latency}<td>{page.percent(row.top1)}</td><td class="bar">{bar}</td></tr>'
        )
    return (
        '<div class="scroll"><table><thead><tr><th>network</th><th>params [M]</th><th>MACs [M]</th>'
        f'{LATENCY_HEAD if timed else ""}<th>top-1 [%]</th><th class="bar"></th></tr></thead>'
        f'<tbody>{"".join(lines)}</tbody></table></div>'
    )


LATENCY_HEAD = '<th>latency [ms]</th>'


def _latency_cell(latency_ms: float | None) -> str:
    return f'<td>{"–" if latency_ms is None else f"{latency_ms:.4g}"}</td>'


def stages(record: RecordedSearch) -> str:
    """What each stage of a search in stages ended with, and where its own report is; empty for a search without."""
    lines, found = [], [number(stage, 'entropy') for stage in record.stages]
    timed = any(number(stage, 'latency_ms') is not None for stage in record.stages)
    for stage, entropy in zip(record.stages, found, strict=True):
        name, folder = page.text(stage['name']), stage.get('folder')
        link = f'<a href="../{page.text(folder)}/search/report.html">{name}</a>' if isinstance(folder, str) else name
        size, opens, high = number(stage, 'size'), stage.get('opened'), page.bounds(stage.get('budget'))
        lines.append(
            f'<tr><td>{link}</td><td>{len(opens) if isinstance(opens, list) else ""}</td>'
            f'<td>{page.big(int(size)) if size else ""}</td><td>{page.text(high)}</td>'
            f'<td>{page.mega(number(stage, "macs"))}</td>{_latency_cell(number(stage, "latency_ms")) if timed else ""}'
            f'<td>{_nats(entropy)}</td>'
            f'<td>{page.text(page.plain(stage.get("note")))}</td></tr>'
        )
    if not lines:
        return ''
    head = '<th>stage</th><th>open</th><th>networks</th><th>budget</th><th>MACs [M]</th>'
    head += f'{LATENCY_HEAD if timed else ""}<th>end entropy</th><th></th>'
    html = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    if None not in found:
        html += (
            f'<p class="soft small">End entropy in nats: {_nats(sum(found))} in all, {_nats(sum(found) / len(found))} '
            'on average over the stages. What follows is the last stage.</p>'
        )
    return html


def validation(record: RecordedSearch) -> str:
    """Of a joint search (metrics ``NAME/topK``), each data set's accuracy with inherited weights; empty for others."""
    table: dict[str, dict[int, float]] = {}
    for name, value in record.validated.items():
        if (found := re.fullmatch(r'(.+)/top(\d+)', name)) and found[1] != 'acc':
            table.setdefault(found[1], {})[int(found[2])] = value
    if len(table) < 2:
        return ''  # one data set: the result at the top says it
    ks = sorted({k for row in table.values() for k in row})
    head = '<th>data set</th>' + ''.join(f'<th>top-{k} [%]</th>' for k in ks)
    lines = ''.join(
        f'<tr><td>{page.text(name)}</td>' + ''.join(f'<td>{page.percent(row.get(k))}</td>' for k in ks) + '</tr>'
        for name, row in table.items()
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'
        '<p class="soft small">Of the validation lists, with inherited weights.</p>'
    )


def _nats(value: float | None) -> str:
    return '' if value is None else f'{value:.2f}'


def network(record: RecordedSearch, album: Album) -> str:
    """The chosen network drawn, the alternatives drawn alike, and every choice with its probabilities."""
    if record.arch is None:
        return ''
    source = 'as in arch.json'
    if record.arch_source != 'arch.json':
        source = f'most probable at {record.arch_source}; the search has not written arch.json'
    elif not record.final:
        source += f', written at epoch {page.plain(record.info.get("epoch"))} of a search that is still under way'
    figures = _figures(*(number(record.cost, key) for key in ('macs', 'params', 'latency_ms')))
    shape = page.plain(record.cost.get('shape')).replace(', ', '×')
    known = [source, figures + _trained_size(record), shape and f'input {shape}', _latency_words(record)]
    html = f'<p class="soft small">{page.text("; ".join(part for part in known if part))}</p>'
    name = 'The chosen network' if record.final else 'The most probable network so far'
    drawn = diagram(record.arch, record.drawn_with, _titled(name, figures))
    if drawn:
        html += album.add('arch', *drawn) + _alternatives(record, album)
    grid = _grid(record, album, main=not drawn)
    if drawn and grid:
        grid = f'<details><summary>Every choice and how sure the search was</summary>{grid}</details>'
    file = arch_to_json(record.arch, record.space.identity if record.space else {}, {'cost': dict(record.cost)})
    return f'{html}{grid}<details><summary>As JSON</summary>{page.command(file)}</details>'


def _trained_size(record: RecordedSearch) -> str:
    """What the trained network of this architecture costs, where it has another size than that of the search (P3D: more
    cells)."""
    row = next((row for row in summary_rows(record.rows) if row.name.startswith('searched')), None)
    if row is None or row.macs in (None, number(record.cost, 'macs')):
        return ''
    return f' in the search (as trained: {_figures(row.macs, row.params, None)})'


def _latency_words(record: RecordedSearch) -> str:
    if number(record.cost, 'latency_ms') is not None:
        return 'latency predicted by the table of the budget'
    return f'latency unknown (the search had no table: python {typed(TOOLS / "latency.py")} CONFIG measures one)'


def _figures(macs: float | None, params: float | None, latency_ms: float | None) -> str:
    """All as a title says them; empty where they are not known."""
    known = [
        macs and f'{page.mega(macs)} M MACs',
        params and f'{page.mega(params, 3)} M parameters',
        latency_ms and f'{latency_ms:.4g} ms',
    ]
    return ', '.join(part for part in known if part)  # 0 stands for a cost that nobody asked for


def _titled(name: str, figures: str) -> str:
    return f'{name}: {figures}' if figures else name


def _grid(record: RecordedSearch, album: Album, main: bool) -> str:
    if record.space is None or record.arch is None:
        return ''
    probs = record.epochs[-1].get('probs') if record.epochs else None
    probs = probs if isinstance(probs, dict) else None
    shade = f', the shade the probability at epoch {record.epochs[-1]["epoch"]}' if probs else ''
    caption = f'Every open choice and its values; the frame is what was chosen{shade}.'
    picture = choices_figure(record.space.open, record.arch, probs)
    return album.add('choices', picture, caption, png=main)


def _alternatives(record: RecordedSearch, album: Album) -> str:
    html = ''
    rows = [row for row in summary_rows(record.rows) if not row.name.startswith('searched')]
    titled = [(row.arch, _titled(row.name, _figures(row.macs, row.params, row.latency_ms))) for row in rows]
    drawn = [found for arch, title in titled if (found := diagram(arch, record.drawn_with, title))]
    for i, (figure, words) in enumerate(drawn, start=1):
        html += album.add(f'arch_{i}', figure, words, png=False)
    return f'<details><summary>The alternatives, drawn alike</summary>{html}</details>' if html else ''


#: What a curve shows, by the words at its axis.
CURVES = {
    'MACs [M]': 'The most probable network of every epoch.',
    'latency [ms]': 'The most probable network of every epoch, by the latency table.',
    'score': 'Score on clips held out for the search, higher is better: a log-likelihood (at most 0) or an accuracy '
    '(0 to 1).',
    'loss': 'Loss of the training, step by step.',
    'sampled score': 'Mean score of the networks that were sampled, step by step.',
    'entropy [nats]': 'Entropy of the distribution over networks; at 0 one is certain.',
    'eff. sample size': 'How many of the K sampled networks an update rests on: at 1 a single one decides, at K all '
    'count alike.',
    'smallest [%]': 'Share of the choices that stand at their smallest value in the most probable network.',
    'choices changed': 'Choices whose most probable value changed since the epoch before.',
}


def curves(record: RecordedSearch, album: Album) -> str:
    """The curves that the search has points for, and the map of entropies."""
    if not record.epochs and not record.steps:
        return ''
    figures = {
        **cost_figures([record]),
        'score': score_figure(record),
        'certainty': certainty_figure(record),
        'collapse': collapse_figure(record),
    }
    html = ''.join(
        album.add(name, figure, ' '.join(CURVES[axes.get_ylabel()] for axes in figure.axes))
        for name, figure in figures.items()
        if figure
    )
    html = f'<div class="grid">{html}</div>' if html else ''
    if any('entropies' in line for line in record.epochs):
        caption = 'Left: the choice. Right: its most probable value at the last epoch, and that probability.'
        html += album.add('entropy_map', entropy_map_figure(record), caption)
    return html


def commands(record: RecordedSearch) -> str:
    """What to type next."""
    html = ''.join(f'<p>{page.text(what)}</p>{page.command(command)}' for what, command in next_commands(record))
    return f'<p class="soft small">From the folder {page.text(Path.cwd())}, in this order.</p>{html}'


def data_lists(record: RecordedSearch) -> str:
    """The lists that the search read, with their hashes; empty where it recorded none."""
    lists = record.info.get('data')
    named = [item for item in lists if isinstance(item, dict)] if isinstance(lists, list) else []
    rows = ''.join(
        f'<tr><td>{page.text(item.get("file", ""))}</td><td><code>{page.text(item.get("sha256", ""))}</code></td></tr>'
        for item in named
    )
    if not rows:
        return ''
    head = '<thead><tr><th>data list</th><th>SHA-256 when the search began</th></tr></thead>'
    return f'<div class="scroll"><table class="left">{head}<tbody>{rows}</tbody></table></div>'
