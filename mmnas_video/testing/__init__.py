"""Conformance suites: what a new space, layer, searchable module or search method is put through.

Each is a plain function that raises AssertionError and says what is wrong; use them from any test runner::

    from mmnas_video.testing import check_search_method

    def test_my_method():
        check_search_method(dict(type='MySearchHook', temperature=2.0))

They are no part of what training needs: ``import mmnas_video`` leaves this folder alone.
"""

from .layer import check_layer
from .method import check_search_method
from .mixture import check_mixture
from .searchable import check_searchable
from .space import check_space
from .tables import table_entries

__all__ = ['check_layer', 'check_mixture', 'check_search_method', 'check_searchable', 'check_space', 'table_entries']
