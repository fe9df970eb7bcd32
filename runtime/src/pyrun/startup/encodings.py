"""Stands for the package ``encodings`` while Python starts, which saves a fifth (docs/adr/0011).

Python imports ``encodings``, a list of 320 aliases, a codec and the module ``codecs`` before all
else, to find UTF-8. This directory is first on the path of the mounted interpreter, so it finds
this here. Whatever else is asked for comes from the standard library's package, which takes this
module's place then. The classes have the members of those of ``codecs``, which is not imported.
"""

import _codecs
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import codecs
    from codecs import _ReadableStream, _WritableStream
    from types import ModuleType

    from _typeshed import ReadableBuffer


class IncrementalEncoder:
    """For text that is written; it keeps nothing from one call to the next."""

    def __init__(self, errors: str = "strict") -> None:
        self.errors = errors

    def encode(self, text: str, final: bool = False) -> bytes:  # noqa: ARG002 - its signature
        """The bytes of ``text``."""
        return _codecs.utf_8_encode(text, self.errors)[0]

    def reset(self) -> None:
        """There is nothing to forget."""

    def getstate(self) -> int:
        """Always 0, which says that nothing is kept."""
        return 0

    def setstate(self, state: int) -> None:
        """There is one state only."""


class IncrementalDecoder:
    """For text that is read; keeps the bytes of a character that has not come to its end.

    Attributes:
        buffer: those bytes.
        errors: what becomes of bytes that are no UTF-8.
    """

    def __init__(self, errors: str = "strict") -> None:
        self.errors = errors
        self.buffer = b""

    def decode(self, data: "ReadableBuffer", final: bool = False) -> str:
        """The characters that are whole; with ``final`` half a one is an error."""
        whole = self.buffer + data
        text, used = _codecs.utf_8_decode(whole, self.errors, final)
        self.buffer = whole[used:]
        return text

    def reset(self) -> None:
        """Forget the half character."""
        self.buffer = b""

    def getstate(self) -> tuple[bytes, int]:
        """The half character, and 0 as ``codecs`` has it."""
        return self.buffer, 0

    def setstate(self, state: tuple[bytes, int]) -> None:
        """Go on from what ``getstate`` returned."""
        self.buffer = state[0]


def decode(data: "ReadableBuffer", errors: str = "strict", /) -> tuple[str, int]:
    """All of ``data``: half a character at its end is an error."""
    return _codecs.utf_8_decode(data, errors, True)


def stream_reader(stream: "_ReadableStream", errors: str = "strict", /) -> "codecs.StreamReader":
    """``codecs.getreader("utf-8")``."""
    from encodings import utf_8

    return utf_8.StreamReader(stream, errors)


def stream_writer(stream: "_WritableStream", errors: str = "strict", /) -> "codecs.StreamWriter":
    """``codecs.getwriter("utf-8")``."""
    from encodings import utf_8

    return utf_8.StreamWriter(stream, errors)


class Codec(tuple):  # type: ignore[type-arg]  # of four functions
    """What is found of UTF-8, with the members of ``codecs.CodecInfo``."""

    _is_text_encoding = True
    name = "utf-8"
    encode = staticmethod(_codecs.utf_8_encode)
    decode = staticmethod(decode)
    streamreader = staticmethod(stream_reader)
    streamwriter = staticmethod(stream_writer)
    incrementalencoder = IncrementalEncoder
    incrementaldecoder = IncrementalDecoder


def search_function(name: str) -> "codecs.CodecInfo | Codec | None":
    """The codec of this name in lower case (codecs.register)."""
    if name not in ("utf-8", "utf_8"):
        found: codecs.CodecInfo | None = _whole().search_function(name)
        return found
    return Codec((Codec.encode, Codec.decode, stream_reader, stream_writer))


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
    _codecs.register(search_function)  # type: ignore[arg-type]  # enough of a CodecInfo
