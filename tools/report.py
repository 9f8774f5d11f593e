"""Write the report of a search, or of several side by side, from the files in their work directories.

    python tools/report.py work_dirs/demo
    python tools/report.py work_dirs/seed0 work_dirs/seed1 --out compare.html

Needs no GPU and no checkpoint, and works while a search is still running. The pictures are written as SVG
and PNG into figures/ beside the HTML file. Prints the path of the report.
"""

import argparse
import sys

from mmnas_video.errors import ConfigError
from mmnas_video.visualization import write_report


def main() -> int:
    """Parse the command line, write the report, print its path; 2 if the input is wrong, 3 if it cannot be written."""
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
    args = parser.parse_args()
    try:
        print(write_report(args.work_dirs, args.out))
    except (ConfigError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 3
    return 0


if __name__ == '__main__':
    sys.exit(main())
