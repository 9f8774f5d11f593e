"""MMNAS-Video: architecture search for video networks, inside MMAction2.

``custom_imports = dict(imports=['mmnas_video'])`` in a config is all that a MMAction2 tool needs: importing
this package repairs the stack (:mod:`mmnas_video.compat`) and registers our models, hooks, datasets and
visualizers.

Two cases do less. Without torch or MMEngine there is nothing to register with, and only what needs neither
can be imported (:mod:`mmnas_video.space`). And while ``python -m mmnas_video`` is being located (then
``sys.argv[0]`` is ``'-m'``) nothing is imported, so that it can report on a broken environment.
"""

import sys

from mmnas_video import compat

__version__ = '0.1.0'


def register() -> None:
    """Repair the stack and fill MMAction2's registries with what this package has. Again does nothing.

    Raises:
        StackError: the installed packages cannot work together; the message says what to install.
    """
    compat.apply()
    from mmnas_video import datasets, models, search, visualization  # noqa: F401


if compat.host_present() and sys.argv[:1] != ['-m']:
    register()

__all__ = ['__version__', 'compat', 'register']
