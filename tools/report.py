"""Write the report of a search, or of several side by side, from the files in their work directories.

    python tools/report.py work_dirs/demo
    python tools/report.py work_dirs/seed0 work_dirs/seed1 --out compare.html

Needs no GPU and no checkpoint, and works while a search is still running. The page is one file that opens from disk;
its pictures are also written as SVG and PNG into figures/ beside it. Every point of its plots is a network that can be
pointed at, clicked, or reached with the Tab and arrow keys. Prints the path of the report.
"""

import argparse
import sys
import time
from collections.abc import Callable

from mmnas_video.command import AGAIN, run_tool
from mmnas_video.errors import check_number
from mmnas_video.visualization import write_report


def progress(every: float = 2.0) -> Callable[[int, int], None]:
    """A line on stderr at most every so many seconds: how many networks are drawn, and the time that is left."""
    first = shown = 0.0

    def report(done: int, total: int) -> None:
        nonlocal first, shown
        now = time.monotonic()
        if done == 1:
            first = shown = now  # what came before were the pictures of the page: they say no speed
        elif now - shown >= every and done < total:
            shown = now
            left = (now - first) / (done - 1) * (total - done)
            print(f'drawing networks  {done}/{total}  {left:.0f} s left', file=sys.stderr, flush=True)

    return report


def main() -> None:
    """Parse the command line, write the report, print its path."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'work_dirs',
        nargs='+',
        metavar='WORK_DIR',
        help='work directory of a search (it has a folder search/)',
    )
    parser.add_argument(
        '--out',
        metavar='FILE',
        help='the HTML file; by default WORK_DIR/search/report.html, or '
        'report_of_N.html in the first of N work directories',
    )
    parser.add_argument(
        '--drawings',
        type=int,
        metavar='N',
        help='most networks that are drawn for the points of the plots, the best first (default: all; 0 is quickest)',
    )
    args = parser.parse_args()
    if args.drawings is not None:
        check_number('--drawings', args.drawings)
    print(write_report(args.work_dirs, args.out, drawings=args.drawings, progress=progress()))


if __name__ == '__main__':
    sys.exit(run_tool(main, AGAIN))
