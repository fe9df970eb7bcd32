"""Sizes as podman's tables write them."""

_DECIMAL = 1000, "B kB MB GB TB"
_BINARY = 1024, "B KiB MiB GiB TiB"


def human(count: int) -> str:
    """Bytes with three significant digits in powers of 1000: ``1.24 MB``."""
    return _written(count, 3, _DECIMAL, " ")


def compact(count: int) -> str:
    """With three digits and no space, as ``ps --size`` writes them: ``1.24MB``."""
    return _written(count, 3, _DECIMAL)


def precise(count: int) -> str:
    """With four digits, as ``image tree`` and ``system df`` write them: ``1.238MB``."""
    return _written(count, 4, _DECIMAL)


def binary(count: int) -> str:
    """With four digits in powers of 1024: ``23.54GiB``."""
    return _written(count, 4, _BINARY)


def _written(count: int, digits: int, scale: tuple[int, str], space: str = "") -> str:
    step, words = scale
    *units, largest = words.split()
    value = float(count)
    for unit in units:
        if value < step:
            return f"{value:.{digits}g}{space}{unit}"
        value /= step
    return f"{value:.{digits}g}{space}{largest}"
