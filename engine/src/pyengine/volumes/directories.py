"""Where a volume's files are, and the name of its lock."""


def volume_path(root: str, name: str) -> str:
    """The directory that is mounted into containers."""
    return f"{root}/volumes/{name}/_data"


def lock_name(name: str) -> str:
    """The lock under which a volume's directory is made, filled, mounted and moved away."""
    return f"volume-{name}"
