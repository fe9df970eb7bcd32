"""What ``--mount`` may say: ``type=TYPE,KEY[=VALUE],...``, each type with keys of its own."""

from __future__ import annotations

import glob
import os

from pyengine.errors import ConfigError
from pyengine.specgen import mount_options
from pyengine.specgen.mount_options import PROPAGATION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.specgen.types import Volume

TYPES = ("bind", "devpts", "glob", "image", "ramfs", "tmpfs", "volume")
FORMAT = (
    "incorrect mount format: should be --mount type=<bind|tmpfs|volume>,"
    "[src=<host-dir|volume-name>,]target=<ctr-dir>[,options]"
)
_SOURCE, _TARGET = ("src", "source"), ("target", "dst", "destination")
_READ_ONLY, _READ_WRITE = ("ro", "readonly"), ("rw", "readwrite")
_FLAGS = ("exec", "noexec", "dev", "nodev", "suid", "nosuid", *sorted(PROPAGATION))


class Mounts:
    """What one ``--mount`` asks for: tmpfs by destination, and others."""

    __slots__ = ("tmpfs", "volumes")

    def __init__(self) -> None:
        self.tmpfs: dict[str, list[str]] = {}
        self.volumes: list[Volume] = []


class _Keys:
    """The keys of one ``--mount``, taken one by one; what is left at the end is unknown."""

    def __init__(self, text: str) -> None:
        self.what = f"--mount {text}"
        self._pairs = [word.partition("=") for word in _words(text)]

    def fail(self, problem: str) -> ConfigError:
        return ConfigError(f"{self.what}: {problem}")

    def take(self, *names: str) -> str | None:
        """The last value under any of the names; podman's too."""
        found = None
        for pair in [pair for pair in self._pairs if pair[0] in names]:
            if not pair[1]:
                raise self.fail(f"{pair[0]}: must provide an argument for option")
            found = pair[2]
            self._pairs.remove(pair)
        return found

    def switch(self, *names: str) -> bool | None:
        """Whether ``NAME``, ``NAME=true`` or ``NAME=false`` was given, and which."""
        pairs = [pair for pair in self._pairs if pair[0] in names]
        quoted = [f"'{name}'" for name in names]
        listed = f"{', '.join(quoted[:-1])} or {quoted[-1]}" if len(names) > 1 else quoted[0]
        if len(pairs) > 1:
            raise self.fail(
                f"cannot pass {listed} options more than once: must provide an argument for option"
            )
        for pair in pairs:
            self._pairs.remove(pair)
            if pair[1] and pair[2].lower() not in ("true", "false"):
                raise self.fail(
                    f'{listed} must be set to true or false, instead received "{pair[2]}":'
                    " must provide an argument for option"
                )
            return not pair[1] or pair[2].lower() == "true"
        return None

    def access(self) -> list[str]:
        """``ro`` or ``rw``, where one was given."""
        if sum(pair[0] in (*_READ_ONLY, *_READ_WRITE) for pair in self._pairs) > 1:
            raise self.fail(
                "cannot pass 'readonly', 'ro', or 'rw' options more than once: must provide an"
                " argument for option"
            )
        read_only, read_write = self.switch(*_READ_ONLY), self.switch(*_READ_WRITE)
        if read_only is None and read_write is None:
            return []
        return ["ro" if read_only or read_write is False else "rw"]

    def flags(self) -> list[str]:
        """Options of the mount itself, such as ``noexec``."""
        return [name for name in _FLAGS if self.switch(name)]

    def idmap(self) -> list[str]:
        pairs = [pair for pair in self._pairs if pair[0] == "idmap"]
        for pair in pairs:
            self._pairs.remove(pair)
        return ["".join(pair) for pair in pairs if pair[2] not in ("true", "false")] or [
            "idmap" for pair in pairs if pair[2] != "false"
        ]

    def finish(self) -> None:
        if self._pairs:
            raise self.fail(f"{self._pairs[0][0]}: invalid mount option")


def _words(text: str) -> list[str]:
    if '"' not in text:
        return text.split(",")
    import csv

    return next(csv.reader([text]))


def parse(text: str) -> Mounts:
    """What one ``--mount`` means.

    Raises:
        ConfigError: its type or a key is unknown, or a value makes no sense.
    """
    keys = _Keys(text)
    kind = keys.take("type")
    if kind is None:
        raise keys.fail(FORMAT)
    if kind not in TYPES:
        raise keys.fail(f'invalid filesystem type "{kind}": use one of {", ".join(TYPES)}')
    source, target = keys.take(*_SOURCE), keys.take(*_TARGET)
    keys.take("consistency")  # tells virtual machines when to synchronise; here there is nothing to
    found = Mounts()
    if kind == "image":
        found.volumes.append(_image(keys, source, target))
    elif kind == "glob":
        found.volumes += _glob(keys, source, target)
    else:
        if not target:
            raise keys.fail("must set volume destination")
        mount_options.check_destination(keys.what, target)
        if kind in ("bind", "volume"):
            found.volumes.append(_bind(keys, kind, source, target))
        elif source is not None:
            raise keys.fail(f"source is not supported with {kind} mounts")
        elif kind == "devpts":
            found.volumes.append(_devpts(keys, target))
        elif kind == "ramfs":
            found.volumes.append(_ramfs(keys, target))
        else:
            found.tmpfs[target] = _tmpfs(keys)
    keys.finish()
    return found


def _bind(keys: _Keys, kind: str, source: str | None, target: str) -> Volume:
    words = [*keys.access(), *keys.flags(), *keys.idmap()]
    if keys.switch("U", "chown"):
        words.append("U")
    subpath = None
    if kind == "bind":
        words += _bind_words(keys)
        source = os.path.abspath(source or target)
    else:
        subpath = keys.take("subpath", "volume-subpath")
        if keys.switch("nocopy", "volume-nocopy"):
            words.append("nocopy")
        if source and source.startswith(("/", ".")):
            raise keys.fail(f"{source}: is a path: use type=bind")
    links = bool(keys.switch("no-dereference")) if kind == "bind" else False
    found = mount_options.make(keys.what, source or "", target, words)
    if links:
        found["options"].append("copy-symlink")
    if subpath is not None:
        found["subpath"] = _checked_subpath(keys, subpath)
    return found


def _bind_words(keys: _Keys) -> list[str]:
    words = []
    propagation = keys.take("bind-propagation")
    if propagation is not None:
        if propagation not in PROPAGATION:
            raise keys.fail(f'bind-propagation: invalid mount option "{propagation}"')
        words.append(propagation)
    if keys.switch("bind-nonrecursive"):
        words.append("bind")
    words += [name for name in ("bind", "rbind") if keys.switch(name)]
    relabel = keys.take("relabel")
    if relabel not in (None, "private", "shared"):
        raise keys.fail("relabel mount option must be 'private' or 'shared': invalid mount option")
    if relabel is not None:
        words.append("z" if relabel == "shared" else "Z")
    words += [name for name in ("z", "Z") if keys.switch(name)]
    return words


def _checked_subpath(keys: _Keys, subpath: str) -> str:
    if not subpath or subpath.startswith("/") or ".." in subpath.split("/"):
        raise keys.fail(f'subpath "{subpath}": must be a path below its root, without ".."')
    return subpath


def _image(keys: _Keys, source: str | None, target: str | None) -> Volume:
    if not source or not target:
        raise keys.fail("must set source and destination for image volume")
    mount_options.check_destination(keys.what, target)
    words = ["rw" if keys.access() == ["rw"] else "ro"]
    found: Volume = {
        "kind": "image", "source": source, "name": "", "destination": target,
        "options": mount_options.bind_options([*words, *keys.idmap()]),
    }  # fmt: skip
    subpath = keys.take("subpath")
    if subpath is not None:  # an image's own paths begin with a slash
        found["subpath"] = _checked_subpath(keys, subpath.lstrip("/"))
    return found


def _glob(keys: _Keys, source: str | None, target: str | None) -> list[Volume]:
    """A bind mount for each path of the host that fits, now."""
    if not source:
        raise keys.fail("must set source for glob mounts")
    paths = sorted(glob.glob(os.path.abspath(source)))
    if not paths:
        raise keys.fail(f"no file paths matching glob {source!r}")
    first = _bind(keys, "bind", paths[0], "/glob")
    found = []
    for path in paths:
        place = path if target is None else f"{target.rstrip('/')}/{os.path.basename(path)}"
        mount_options.check_destination(keys.what, place)
        found.append({**first, "source": path, "destination": place})
    return found  # type: ignore[return-value]  # mypy widens a merged TypedDict


def _devpts(keys: _Keys, target: str) -> Volume:
    words = []
    for name, digits, base in (("uid", "0123456789", 10), ("gid", "0123456789", 10),
                               ("mode", "01234567", 8), ("max", "0123456789", 10)):  # fmt: skip
        value = keys.take(name)
        if value is None:
            continue
        if not value or set(value) - set(digits) or int(value, base) >= 1 << 31:
            raise keys.fail(f"{name}={value}: must be a number: invalid mount option")
        words.append(f"{name}={value}")
    return {"kind": "devpts", "source": "devpts", "name": "", "destination": target,
            "options": words}  # fmt: skip


def _tmpfs_words(keys: _Keys) -> list[str]:
    words = [*keys.access(), *keys.flags()]
    size, mode = keys.take("tmpfs-size", "size"), keys.take("tmpfs-mode", "mode")
    words += [f"size={size}"] if size is not None else []
    words += [f"mode={mode}"] if mode is not None else []
    if keys.switch("U", "chown"):
        words.append("U")
    words += [name for name in ("tmpcopyup", "notmpcopyup", "noswap") if keys.switch(name)]
    return words


def _tmpfs(keys: _Keys) -> list[str]:
    return mount_options.checked_tmpfs_options(keys.what, _tmpfs_words(keys))


def _ramfs(keys: _Keys, target: str) -> Volume:
    """As a tmpfs that is never swapped; the kernel's ramfs has no sizes."""
    words = _tmpfs_words(keys)
    refused = [word for word in words if word.startswith("size=") or word == "noswap"]
    if refused:
        raise keys.fail(
            f"{refused[0]}: a ramfs has no such option: use type=tmpfs, with noswap if need be"
        )
    chown = "U" in words
    options = mount_options.checked_tmpfs_options(
        keys.what, [word for word in words if word != "U"]
    )
    found: Volume = {"kind": "ramfs", "source": "ramfs", "name": "", "destination": target,
                     "options": options}  # fmt: skip
    if chown:
        found["chown"] = True
    return found
