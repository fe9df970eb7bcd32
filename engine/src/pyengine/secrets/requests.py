"""What ``--secret`` may say: ``NAME[,type=mount|env][,target=,uid=,gid=,mode=]``."""

from __future__ import annotations

from pyengine.errors import ConfigError

MODE = 0o444


class Request:
    """One secret that a container is to have: as a file, or as an environment variable."""

    __slots__ = ("gid", "is_variable", "mode", "source", "target", "uid")

    def __init__(self, text: str) -> None:
        """Parse ``text``.

        Raises:
            ConfigError: an option is unknown or has no value, or does not fit the type.
        """
        words = text.split(",")
        self.source, self.target, self.is_variable = "", "", False
        if words and "=" not in words[0]:
            self.source = words.pop(0)
        numbers: dict[str, str] = {}
        for word in words:
            key, equals, value = word.partition("=")
            if not equals:
                raise _wrong(text, f"option {word} must be in form option=value")
            if key in ("source", "src"):
                self.source = value
            elif key == "target":
                self.target = value
            elif key == "type":
                if value not in ("mount", "env"):
                    raise _wrong(text, f"type {value} is invalid")
                self.is_variable = value == "env"
            elif key in ("uid", "UID", "gid", "GID", "mode"):
                numbers[key.lower()] = value
            else:
                raise _wrong(text, f"option {word} invalid")
        if not self.source:
            raise _wrong(text, "no source found")
        if self.is_variable and numbers:
            raise _wrong(text, "UID, GID, Mode options cannot be set with secret type env")
        if not self.is_variable and ".." in self.target.split("/"):
            raise _wrong(text, f'target {self.target} must not contain ".."')
        self.uid = _number(text, "UID", numbers.get("uid", "0"), 10)
        self.gid = _number(text, "GID", numbers.get("gid", "0"), 10)
        self.mode = _number(text, "mode", numbers.get("mode", oct(MODE)[2:]), 8)


def _number(text: str, name: str, value: str, base: int) -> int:
    try:
        number = int(value, base)
    except ValueError:
        number = -1
    if not 0 <= number < (1 << 31 if base == 10 else 0o10000):
        raise _wrong(text, f"{name} {value} invalid")
    return number


def _wrong(text: str, problem: str) -> ConfigError:
    return ConfigError(f"--secret {text}: {problem}: parsing secret")
