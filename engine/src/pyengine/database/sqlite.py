"""SQLite as ``sqlite3``: its C module alone, and without what that imports for one function.

``sqlite3``'s converters import datetime (docs/adr/0008). ``_sqlite3`` takes ``lru_cache`` from
functools, which costs every command 3 ms with collections and what else it imports; the cache
itself is in C (docs/adr/0038).
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def _lru_cache(size: int) -> Callable[[Callable[..., Any]], Any]:
    """As that of functools, but ``cache_info`` answers a plain tuple."""
    return lambda function: _lru_cache_wrapper(function, size, False, tuple)


try:
    from _functools import _lru_cache_wrapper  # type: ignore[import-not-found]  # private
except ImportError:  # a Python whose private module looks different
    import _sqlite3 as sqlite3
else:
    if "functools" in sys.modules:
        import _sqlite3 as sqlite3
    else:
        stand_in: Any = type(sys)("functools")
        stand_in.lru_cache = _lru_cache
        sys.modules["functools"] = stand_in
        try:
            import _sqlite3 as sqlite3
        finally:
            del sys.modules["functools"]

__all__ = ["sqlite3"]
