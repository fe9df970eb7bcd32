"""Sizes as podman's tables write them."""


def human(count: int) -> str:
    """Bytes with three significant digits in powers of 1000: ``1.24 MB``."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"
