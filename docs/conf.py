"""Sphinx, with Markdown by MyST: ``make docs`` writes build/docs/index.html. Nothing is fetched.

The pages are written to be read on disk and on a forge too, where links lead to any file of the repository. Here the
READMEs of ``configs/`` become pages (``docs/configs``, written anew at each build), and links to other files the names
of these.
"""

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from mmnas_video import __version__  # noqa: E402

project, author, release = 'MMNAS-Video', 'the MMNAS-Video authors', __version__
copyright = author
extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon']
source_suffix = {'.md': 'markdown'}
myst_heading_anchors = 4
html_theme = 'furo'
html_title = f'{project} {release}'
html_show_sourcelink = False
html_static_path, html_css_files = ['_static'], ['wide.css']
autodoc_member_order = 'bysource'
autodoc_typehints = 'none'
LINK = re.compile(r'\[([^\]]+)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)')


def config_pages(app: Sphinx) -> None:
    """Write the READMEs of ``configs/`` as pages."""
    folder = Path(app.srcdir) / 'configs'
    folder.mkdir(exist_ok=True)
    for readme in sorted((ROOT / 'configs').glob('*/README.md')):
        page, text = folder / f'{readme.parent.name}.md', readme.read_text(encoding='utf-8')
        text = LINK.sub(lambda link, here=readme.parent: _link(link, here, folder), text)
        if not page.is_file() or page.read_text(encoding='utf-8') != text:
            page.write_text(text, encoding='utf-8')


def inside(app: Sphinx, docname: str, source: list[str]) -> None:
    """Links of a page that lead out of ``docs/``."""
    here = (Path(app.srcdir) / docname).parent
    if not docname.startswith('configs/'):
        source[0] = LINK.sub(lambda link: _link(link, here, here), source[0])


def _link(link: re.Match, here: Path, page: Path) -> str:
    """A Markdown link of a file in ``here`` for a page in ``page``: to a page, or else what it says."""
    words, target, anchor = link[1], (here / link[2]).resolve(), link[3] or ''
    docs = ROOT / 'docs'
    if target.name == 'README.md' and target.parent.parent == ROOT / 'configs':
        target = docs / 'configs' / f'{target.parent.name}.md'
    elif target == ROOT / 'CONTRIBUTING.md' or target == ROOT / 'CHANGELOG.md':
        target = docs / target.name.lower()
    if not target.is_relative_to(docs):
        return words
    up = '../' * len(page.relative_to(docs).parts)
    return f'[{words}]({up}{target.relative_to(docs)}{anchor})'


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect('builder-inited', config_pages)
    app.connect('source-read', inside)
