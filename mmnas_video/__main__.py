"""``python -m mmnas_video``: the environment, what is broken in it, and what mends it.

On a GPU it also runs every kernel of ours once against its reference. Exit code 1 means that something stands in the
way of running, or that a kernel computes something else. ``--json`` prints the same as one JSON object, for a bug
report or a script.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from typing import Any

import mmnas_video
from mmnas_video import compat

# The first name of a row that is installed counts: a full mmcv before mmcv-lite.
PACKAGES: tuple[tuple[str, ...], ...] = (
    ('torch',),
    ('torchvision',),
    ('triton',),
    ('mmengine',),
    ('mmcv', 'mmcv-lite'),
    ('mmaction2',),
    ('mmpretrain',),
    ('numpy',),
    ('opencv-python', 'opencv-python-headless', 'opencv-contrib-python'),
    ('decord',),
    ('av',),
    ('setuptools',),
    ('transformers',),
)
MARKS = {'absent': 'ok', 'mended': 'mended', 'present': 'note', 'stops': 'STOPS'}
KERNEL_MARKS = {'ok': 'ok', 'differs': 'DIFFERS', 'failed': 'failed'}
OFF = 'export MMNAS_KERNELS=off (PyTorch computes instead, slower), and please report it'


def versions() -> dict[str, str | None]:
    """Name of the installed distribution → its version; None where none of a row's names is installed."""
    result: dict[str, str | None] = {'mmnas-video': mmnas_video.__version__}
    result['python'] = platform.python_version()
    for names in PACKAGES:
        installed = next((name for name in names if compat.version_of(name)), names[0])
        result[installed] = compat.version_of(installed)
    return result


def devices() -> list[str]:
    """The accelerators that torch sees, else the CPU with the threads that torch would use."""
    try:
        import torch
    except (ImportError, OSError) as error:  # a torch whose shared libraries do not load
        return [f'unknown: torch does not import ({error})']
    if not torch.cuda.is_available():
        return [f'cpu, {torch.get_num_threads()} of {os.cpu_count()} threads']
    properties = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [f'cuda:{i} {p.name}, {p.total_memory / 2**30:.0f} GiB' for i, p in enumerate(properties)]


def registered() -> list[str]:
    """Names of everything that importing this package puts into MMAction2's registries."""
    mmnas_video.register()
    from mmengine.registry import Registry

    from mmnas_video import registry

    filled = [value for value in vars(registry).values() if isinstance(value, Registry)]
    return sorted(
        {
            name
            for r in filled
            for name, module in r.module_dict.items()
            if getattr(module, '__module__', '').startswith('mmnas_video.') and name != 'DRN'
        }
    )


def kernels() -> tuple[str, list[dict[str, str]]]:
    """Why our kernels are not used here, and a row for each of them where they are."""
    from mmnas_video.errors import ConfigError
    from mmnas_video.kernels import self_check

    try:
        places, note = self_check.devices()
    except ConfigError as error:
        return str(error), []
    if places:
        print('Trying our kernels; the first time they are compiled ...', file=sys.stderr, flush=True)
    return note, [row._asdict() for place in places for row in self_check.check_kernels(place)]


def report() -> dict[str, Any]:
    """Everything that is printed, as plain data; ``ok`` says whether the package can run here."""
    result: dict[str, Any] = {'versions': versions(), 'devices': devices()}
    result |= {'registered': [], 'error': '', 'repairs': [], 'kernels_note': '', 'kernels': []}
    if not any(finding.state == 'stops' for finding in compat.findings()):
        try:
            result['registered'] = registered()
            result['kernels_note'], result['kernels'] = kernels()
        except Exception as error:  # whatever the stack raises is what the reader needs to see
            result['error'] = f'{type(error).__name__}: {error}'
    found = compat.findings()  # after register(): what it mended is called mended
    for f in found:
        row = {'name': f.repair.name, 'state': f.state, 'found': f.found}
        result['repairs'].append(row | {'fault': f.repair.fault, 'remedy': f.repair.remedy})
    result['ok'] = not result['error'] and all(f.state != 'stops' for f in found)
    result['ok'] &= all(row['state'] != 'differs' for row in result['kernels'])
    return result


def as_text(result: dict[str, Any]) -> str:
    """The report for a terminal: versions, devices, one line a repair, and the verdict last."""
    lines = ['Versions']
    lines += [f'  {name:<22}{version or "-"}' for name, version in result['versions'].items()]
    lines += ['', 'Devices', *(f'  {device}' for device in result['devices'])]
    lines += ['', 'What this stack is known to break on']
    for row in result['repairs']:
        lines.append(f'  {MARKS[row["state"]]:<8}{row["name"]:<14}{row["fault"]}')
        if row['state'] != 'absent':
            lines.append(f'{"":24}found: {row["found"]}')
            verb = 'mended by' if row['state'] == 'mended' else 'to mend it'
            lines.append(f'{"":24}{verb}: {row["remedy"]}')
    if result['registered']:
        lines += ['', "Registered in MMAction2's registries", '  ' + ', '.join(result['registered'])]
    lines += ['', 'Our kernels', *_kernel_lines(result)]
    lines += ['', *([result['error']] if result['error'] else [])]
    lines += [f'This environment {"can" if result["ok"] else "cannot"} run MMNAS-Video.']
    return '\n'.join(lines)


def _kernel_lines(result: dict[str, Any]) -> list[str]:
    rows = result['kernels']
    lines = [f'  {result["kernels_note"] or "not tried"}'] if not rows else []
    lines += [f'  {KERNEL_MARKS[row["state"]]:<8}{row["name"]}: {row["detail"]}' for row in rows]
    if any(row['state'] != 'ok' for row in rows):
        lines.append(f'{"":10}to mend it: {OFF}')
    return lines


def main(argv: list[str] | None = None) -> int:
    """Print the report; returns 0 where the package can run, 1 where something stands in the way."""
    parser = argparse.ArgumentParser(prog='python -m mmnas_video', description=__doc__)
    parser.add_argument('--json', action='store_true', help='print one JSON object instead of text')
    arguments = parser.parse_args(argv)
    result = report()
    print(json.dumps(result, indent=2) if arguments.json else as_text(result))
    return 0 if result['ok'] else 1


if __name__ == '__main__':
    sys.exit(main())
