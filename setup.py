"""Packaging: ranges that leave a host's own torch and MMAction2 alone. requirements/ says more."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent.resolve()
#: What goes into ``mmnas_video/.mim`` beside the package, as in every OpenMMLab project.
MIM = ('configs', 'tools', 'model-index.yml')


class BuildWithMim(build_py):
    """The package, and in its ``.mim`` configs, tools and model index: copied into a wheel, linked in develop mode.

    Nothing is written into the source tree but the links, which git does not see.
    """

    def run(self) -> None:
        """Build the package, then its ``.mim``."""
        super().run()
        linked = getattr(self, 'editable_mode', False)
        folder = (ROOT if linked else Path(self.build_lib)) / 'mmnas_video' / '.mim'
        shutil.rmtree(folder, ignore_errors=True)  # what an earlier build has left
        folder.mkdir(parents=True)
        for name in filter(lambda name: (ROOT / name).exists(), MIM):
            source, target = ROOT / name, folder / name
            if linked:
                target.symlink_to(Path('..', '..', name))
            elif source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns('__pycache__', '*.pyc'))
            else:
                shutil.copy(source, target)


def requirements(name: str) -> list[str]:
    """The lines of ``requirements/<name>.txt`` without comments."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text(encoding='utf-8').splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith('#')]


def version() -> str:
    """Read from the source: importing the package would need what is about to be installed."""
    source = (ROOT / 'mmnas_video' / '__init__.py').read_text(encoding='utf-8')
    return re.search(r"""^__version__ = ['"](.+)['"]$""", source, re.MULTILINE)[1]


def readme() -> str:
    """The README, or nothing in a source tree that was cut down to the package."""
    file = ROOT / 'README.md'
    return file.read_text(encoding='utf-8') if file.is_file() else ''


setup(
    name='mmnas-video',
    version=version(),
    description='Architecture search for video networks, inside MMAction2',
    long_description=readme(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    python_requires='>=3.10,<3.13',
    packages=find_packages(include=['mmnas_video', 'mmnas_video.*']),
    package_data={'mmnas_video': ['py.typed']},
    cmdclass={'build_py': BuildWithMim},
    install_requires=requirements('runtime'),
    extras_require={name: requirements(name) for name in ('lite', 'fast-decode', 'export', 'tests')},
    classifiers=[
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    zip_safe=False,
)
