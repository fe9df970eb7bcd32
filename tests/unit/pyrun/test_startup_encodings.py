"""What stands for ``encodings`` while Python starts gives way to the package when it is needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from pyrun.startup import encodings as startup

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs code in a Python whose path begins as the mounted interpreter's does (docs/adr/0011)."""
    python = tmp_path / "python3"
    shutil.copy(Path(sys.executable).resolve(), python)
    library = Path(sysconfig.get_path("stdlib"))
    path = [Path(startup.__file__).parent, library, library / "lib-dynload"]
    (tmp_path / "python3._pth").write_text("".join(f"{entry}\n" for entry in path))

    def run(code: str, **environment: str) -> str:
        # Not isolated: the environment says which encoding is wanted.
        done = subprocess.run(
            [str(python), "-S", "-W", "error", "-c", f"import sys\n{code}"],
            env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
            input="Größe",
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


def test_a_start_reads_nothing_of_the_package(run: Run) -> None:
    code = (
        "print(sys.stdin.read(), sys.stdout.encoding)\n"
        "print(*(name for name in sys.modules if 'encodings' in name))\n"
        "print(sys.modules['encodings'].__file__, 'codecs' in sys.modules)"
    )
    assert run(code).splitlines() == ["Größe utf-8", "encodings", f"{startup.__file__} False"]


@pytest.mark.parametrize(
    ("code", "printed"),
    [
        ("print('ü'.encode('idna'), 'ü'.encode('cp1252'))", "b'xn--tda' b'\\xfc'"),
        ("import encodings.aliases; print(encodings.aliases.aliases['u8'])", "utf_8"),
        ("import encodings; print(encodings.normalize_encoding('a b'))", "a_b"),
        ("from encodings import cp437; print(cp437.getregentry().name)", "cp437"),
        ("import locale; print(locale.normalize('de_DE'))", "de_DE.ISO8859-1"),
        (
            "import codecs, io\n"
            "print(codecs.getreader('utf-8')(io.BytesIO('ü'.encode())).read())\n"
            "out = io.BytesIO(); codecs.getwriter('utf-8')(out).write('ü'); print(out.getvalue())",
            "ü\nb'\\xc3\\xbc'",
        ),
        ("import codecs; print(codecs.lookup('U8') == codecs.lookup('utf_8_sig'))", "False"),
    ],
)
def test_what_only_the_package_has_is_there_when_it_is_asked_for(
    run: Run, code: str, printed: str
) -> None:
    package = Path(sysconfig.get_path("stdlib"), "encodings/__init__.py")
    out = run(f"{code}\nprint(sys.modules['encodings'].__file__, sys.path[0])")
    assert out == f"{printed}\n{package} {package.parent.parent}\n"


def test_an_encoding_that_nobody_knows_is_the_usual_error(run: Run) -> None:
    code = "try:\n    ''.encode('klingon')\nexcept LookupError as error:\n    print(error)"
    assert run(code) == "unknown encoding: klingon\n"


def test_another_encoding_of_standard_output_is_found_at_once(run: Run) -> None:
    assert run("print(sys.stdout.encoding)", PYTHONIOENCODING="latin-1") == "iso8859-1\n"


@pytest.mark.parametrize("errors", ["strict", "replace", "surrogateescape"])
@pytest.mark.parametrize("data", [b"", b"abc", "Größe €😀".encode(), b"a\xffb", b"half \xe2\x82"])
def test_the_codec_answers_as_the_packages_does(data: bytes, errors: str) -> None:
    """Whole, and byte by byte as text that is read."""
    from encodings import utf_8

    ours = startup.search_function("utf-8")
    theirs = utf_8.getregentry()
    assert ours is not None
    assert ours.name == theirs.name

    def tried(call: Callable[[], object]) -> object:
        try:
            return call()
        except UnicodeError as error:
            return str(error)

    def in_pieces(decoder: object) -> str:
        text = "".join(
            decoder.decode(data[at : at + 1])  # type: ignore[attr-defined]  # one of two classes
            for at in range(len(data))
        )
        return text + str(decoder.decode(b"", True))  # type: ignore[attr-defined]  # as above

    whole = tried(lambda: ours.decode(data, errors))
    assert whole == tried(lambda: theirs.decode(data, errors))
    assert tried(lambda: in_pieces(ours.incrementaldecoder(errors))) == tried(
        lambda: in_pieces(theirs.incrementaldecoder(errors))
    )
    if isinstance(whole, tuple):
        assert ours.incrementalencoder(errors).encode(whole[0]) == (
            theirs.incrementalencoder(errors).encode(whole[0])
        )


def test_what_is_found_has_the_members_of_the_packages_codec() -> None:
    from encodings import utf_8

    ours, theirs = startup.search_function("utf-8"), utf_8.getregentry()
    assert ours is not None
    assert len(ours) == len(theirs) == 4
    for name in theirs.__dict__:
        assert getattr(ours, name, None) is not None, name
    for kind in ("incrementalencoder", "incrementaldecoder"):
        mine, other = getattr(ours, kind)("strict"), getattr(theirs, kind)("strict")
        assert {name for name in dir(other) if name[0] != "_"} - set(dir(mine)) <= {"buffer"}


def test_a_decoder_goes_on_where_it_was_saved() -> None:
    decoder, again = startup.IncrementalDecoder(), startup.IncrementalDecoder("replace")
    assert decoder.decode("€".encode()[:2]) == ""
    again.setstate(decoder.getstate())
    assert again.decode("€".encode()[2:]) == "€"
    decoder.reset()
    assert (decoder.getstate(), startup.IncrementalEncoder().getstate()) == ((b"", 0), 0)
