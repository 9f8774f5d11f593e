"""Album: the figures of a page, each drawn once into the page and into files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from mmnas_video.space import write_text_atomic

from . import page
from .figure_io import inline_svg, readable_width, save_figure, svg_text


class Album:
    """Draws each figure once: into the page, and as SVG and PNG files into a folder.

    Args:
        folder: where the files go.
        prefix: put before the file names and ids, so that several searches can share a folder and a page.
        png: whether to write PNG files too. They take as long as all the rest.
    """

    def __init__(self, folder: Path, prefix: str = '', png: bool = True) -> None:
        self.folder = folder
        self.prefix = prefix
        self.png = png

    def add(
        self,
        name: str,
        figure: Figure,
        caption: str,
        png: bool = True,
        over: Callable[[Figure], str] | None = None,
    ) -> str:
        """Save ``figure`` as ``<prefix><name>.svg`` (and ``.png``, if the album wants it too).

        Args:
            over: makes what lies over the picture in the page, from the figure when it has its layout.

        Returns:
            Its HTML, for :func:`.page.section`.
        """
        name = f'{self.prefix}{name}'
        svg = svg_text(figure)
        write_text_atomic(self.folder / f'{name}.svg', svg)
        if png and self.png:
            save_figure(figure, self.folder / f'{name}.png')
        picture = inline_svg(svg, name, caption) + (over(figure) if over else '')
        return page.figure(picture, caption, figure.get_figwidth(), readable_width(figure))
