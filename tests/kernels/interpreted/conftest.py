"""These tests need Triton's interpreter, which must be on before the package is imported: collected only where it is.

``tests/kernels/test_interpreted.py`` runs them in processes of their own; by hand:
``TRITON_INTERPRET=1 python -m pytest tests/kernels/interpreted``.
"""

from mmnas_video.kernels.choose import INTERPRETED

collect_ignore_glob = [] if INTERPRETED else ['test_*.py']
