"""Stands for the package ``encodings`` while Python starts: a tenth less to do (docs/adr/0011).

Python imports ``encodings``, a list of 320 aliases and a codec before anything else, to find UTF-8.
This directory is first on the path of the mounted interpreter, so it finds this here. Whatever else
is asked for comes from the standard library's package, which takes this module's place then.
"""

import _codecs
import codecs
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from codecs import _ReadableStream, _WritableStream
    from types import ModuleType

    from _typeshed import ReadableBuffer


class IncrementalEncoder(codecs.IncrementalEncoder):
    """For text that is written."""

    def encode(self, text: str, final: bool = False) -> bytes:  # noqa: ARG002 - its signature
        """The bytes of ``text``."""
        return _codecs.utf_8_encode(text, self.errors)[0]


class IncrementalDecoder(codecs.BufferedIncrementalDecoder):
    """For text that is read."""

    _buffer_decode = _codecs.utf_8_decode  # type: ignore[assignment]  # a builtin is never bound


def decode(data: "ReadableBuffer", errors: str = "strict", /) -> tuple[str, int]:
    """All of ``data``: half a character at its end is an error."""
    return _codecs.utf_8_decode(data, errors, True)


def stream_reader(stream: "_ReadableStream", errors: str = "strict", /) -> codecs.StreamReader:
    """``codecs.getreader("utf-8")``."""
    from encodings import utf_8

    return utf_8.StreamReader(stream, errors)


def stream_writer(stream: "_WritableStream", errors: str = "strict", /) -> codecs.StreamWriter:
    """``codecs.getwriter("utf-8")``."""
    from encodings import utf_8

    return utf_8.StreamWriter(stream, errors)


def search_function(name: str) -> "codecs.CodecInfo | None":
    """The codec of this name in lower case (codecs.register)."""
    if name not in ("utf-8", "utf_8"):
        found: codecs.CodecInfo | None = _whole().search_function(name)
        return found
    return codecs.CodecInfo(
        _codecs.utf_8_encode,
        decode,
        stream_reader,
        stream_writer,
        IncrementalEncoder,
        IncrementalDecoder,
        "utf-8",
    )


def _whole() -> "ModuleType":
    """The standard library's package, imported in the place of this module."""
    if sys.modules.get("encodings") is _self:
        sys.path[:] = [entry for entry in sys.path if entry != _directory]
        del sys.modules["encodings"]
    import encodings

    return encodings


def __getattr__(name: str) -> object:
    """What only the package has; ``__path__``, too, which makes its modules importable."""
    return getattr(_whole(), name)


_self = sys.modules.get(__name__)
_directory = __file__.rpartition("/")[0]
if __name__ == "encodings":
    codecs.register(search_function)
