"""Sizes as podman's tables write them."""


def human(count: int) -> str:
    """Bytes with three significant digits in powers of 1000: ``1.24 MB``."""
    return _written(count, 3, " ")


def compact(count: int) -> str:
    """With three digits and no space, as ``ps --size`` writes them: ``1.24MB``."""
    return _written(count, 3, "")


def precise(count: int) -> str:
    """With four digits, as ``image tree`` and ``system df`` write them: ``1.238MB``."""
    return _written(count, 4, "")


def _written(count: int, digits: int, space: str) -> str:
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.{digits}g}{space}{unit}"
        value /= 1000
    return f"{value:.{digits}g}{space}TB"


def binary(count: int) -> str:
    """With four digits in powers of 1024: ``23.54GiB``."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.4g}{unit}"
        value /= 1024
    return f"{value:.4g}TiB"
