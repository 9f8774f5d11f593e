"""Several searches beside one another: what came out, how far they agree, how they went."""

from __future__ import annotations

from collections.abc import Sequence

from mmnas_video.space import agreement, chance_agreement

from . import page
from .album import Album
from .comparison import summary_rows
from .diagrams import diagram
from .networks import Networks
from .plots import pareto
from .recorded import RecordedSearch, number
from .search_curves import cost_figures, entropy_figure, epoch_series, scores_figure

#: Longer tables of choices begin folded.
MOST_ROWS = 24


def side_by_side(records: Sequence[RecordedSearch], album: Album, networks: Networks) -> str:
    """What stands above the searches' own parts."""
    figures, caption = cost_figures(records), 'The most probable network of every epoch.'
    curves = ''.join(album.add(name, figure, caption) for name, figure in figures.items())
    if any(epoch_series(record, 'score')[0].size for record in records):
        curves += album.add('score', scores_figure(records), 'Score on held-out clips, by epoch; higher is better.')
    if any(epoch_series(record, 'entropy')[0].size for record in records):
        curves += album.add(
            'entropy', entropy_figure(records), 'Entropy of the distribution over networks; at 0 one is certain.'
        )
    return f'<h1>{len(records)} searches side by side</h1>\n' + ''.join(
        (
            page.section('What came out', _overview(records)),
            page.section('The networks that were found', _networks(records, album)),
            page.section('How far the choices agree', _agreement(records)),
            page.section('How the searches went', f'<div class="grid">{curves}</div>'),
            page.section('Accuracy against cost', pareto(records, album, networks, len(records))),
        )
    )


def _overview(records: Sequence[RecordedSearch]) -> str:
    """One column per search."""
    lines = {
        'space': [r.space.name if r.space else '–' for r in records],
        'method': [page.plain(r.info.get('method')) or '–' for r in records],
        'seed': [page.plain(r.info.get('seed')) or '–' for r in records],
        'budget': [page.bounds(r.info.get('budget')) or '–' for r in records],
        'chosen: MACs [M]': [page.mega(number(r.cost, 'macs')) for r in records],
        'chosen: params [M]': [page.mega(number(r.cost, 'params'), 3) for r in records],
        'chosen: latency [ms]': [page.plain(number(r.cost, 'latency_ms')) or '–' for r in records],
        'held-out score': [page.plain(r.info.get('score')) or '–' for r in records],
    }
    tables = [{row.name.partition(' (')[0]: row for row in summary_rows(record.rows)} for record in records]
    for name in dict.fromkeys(name for table in tables for name in table):
        lines[f'{name}: top-1 [%]'] = [page.percent(table[name].top1) if name in table else '–' for table in tables]
    head = ''.join(f'<th>{page.text(record.name)}</th>' for record in records)
    body = ''.join(
        f'<tr><td>{page.text(name)}</td>' + ''.join(f'<td>{page.text(value)}</td>' for value in values) + '</tr>'
        for name, values in lines.items()
        if {*values} != {'–'}
    )
    head = f'<thead><tr><th></th>{head}</tr></thead>'
    return f'<div class="scroll"><table>{head}<tbody>{body}</tbody></table></div>'


def _networks(records: Sequence[RecordedSearch], album: Album) -> str:
    """The drawings under one another, on the same scale."""
    html = ''
    for i, record in enumerate(records, start=1):
        if record.arch is not None and (drawn := diagram(record.arch, record.drawn_with, record.name)):
            html += album.add(f'arch_{i}', *drawn, png=False)
    return html


def _agreement(records: Sequence[RecordedSearch]) -> str:
    """Every open choice, what each search chose, and the share of pairs that chose alike; empty for other spaces."""
    spaces = {record.space.hash for record in records if record.space is not None}
    space, archs = records[0].space, [record.arch for record in records]
    if space is None or len(spaces) > 1 or not all(arch in space for arch in archs):
        return '<p class="soft">Not compared: the searches have not all got a network of one and the same space.</p>'
    shares = agreement(space, [arch for arch in archs if arch is not None])
    mean, unanimous = sum(shares.values()) / len(shares), sum(share == 1 for share in shares.values())
    every = 'both' if len(records) == 2 else f'all {len(records)}'
    body = ''.join(
        f'<tr><td>{page.text(name)}</td>'
        + ''.join(f'<td>{page.text(page.plain(arch[name]))}</td>' for arch in archs if arch is not None)
        + f'<td>{share:.2f}</td><td class="bar"><i style="--v:{100 * share:.1f}"></i></td></tr>'
        for name, share in shares.items()
    )
    head = ''.join(f'<th>{page.text(record.name)}</th>' for record in records)
    return (
        f'<p>{unanimous} of the {len(shares)} open choices are the same in {every} searches. A pair of '
        f'searches agrees in {page.percent(mean)} % of the choices on average; drawn at random it would in '
        f'{page.percent(chance_agreement(space))} %.</p><details{" open" if len(shares) <= MOST_ROWS else ""}>'
        f'<summary>Choice by choice</summary><div class="scroll"><table><thead><tr><th>choice</th>{head}'
        f'<th>agreement</th><th class="bar"></th></tr></thead><tbody>{body}</tbody></table></div></details>'
    )
