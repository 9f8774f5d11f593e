"""What is drawn in a figure, found by the gids of its artists; and whether it can be read."""

from itertools import combinations


def by_gid(figure, prefix):
    """The artists whose gid begins with ``prefix``, by the rest of it, in the order in which they were drawn."""
    artists = figure.findobj(lambda artist: (artist.get_gid() or '').startswith(prefix))
    return {artist.get_gid()[len(prefix) :]: artist for artist in artists}


def repeated_gids(figure):
    """Gids that several artists have; they are ids in the page."""
    gids = [artist.get_gid() for artist in figure.findobj(lambda artist: bool(artist.get_gid()))]
    return {gid for gid in gids if gids.count(gid) > 1}


def texts(figure):
    """All that is written."""
    return [text.get_text() for text in figure.axes[0].texts]


def outside(figure):
    """What reaches out of the figure."""
    renderer, page = figure.canvas.get_renderer(), figure.bbox
    axes, found = figure.axes[0], []
    for artist in (*axes.texts, *axes.patches, *axes.lines):
        box = artist.get_window_extent(renderer)
        if not (page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1):
            found.append(artist)
    return found


def overlapping_texts(figure):
    """Pairs of words that lie on one another."""
    renderer = figure.canvas.get_renderer()
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in figure.axes[0].texts if text.get_text()]
    return [
        (one, other)
        for (one, a), (other, b) in combinations(boxes, 2)
        if a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 and b.y0 < a.y1
    ]
