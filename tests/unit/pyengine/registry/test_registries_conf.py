from __future__ import annotations

from pathlib import Path

import pytest

from pyengine.errors import ConfigError
from pyengine.images.transports import remote
from pyengine.registry import registries_conf
from pyengine.registry.registries_conf import Registries


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The main file, whose drop-ins lie beside it in registries.conf.d."""
    path = tmp_path / "registries.conf"
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(path))
    monkeypatch.setattr(registries_conf, "aliases_file", lambda: str(tmp_path / "aliases.conf"))
    return path


def load(path: Path, text: str, **drop_ins: str) -> Registries:
    path.write_text(text)
    directory = Path(f"{path}.d")
    directory.mkdir(exist_ok=True)
    for name, content in drop_ins.items():
        (directory / f"{name}.conf").write_text(content)
    return registries_conf.load()


MIRRORS = """
[[registry]]
prefix = "example.com/team"
location = "real.example.com/team"
insecure = true
[[registry.mirror]]
location = "one.local:5000/m"
[[registry.mirror]]
location = "two.local"
insecure = true
pull-from-mirror = "digest-only"
[[registry]]
location = "example.com"
[[registry]]
prefix = "*.wild.example.com"
location = "proxy.example.com/wild"
[[registry]]
location = "bad.example.com"
blocked = true
[[registry]]
prefix = "*.loose.example.com"
insecure = true
"""


@pytest.mark.parametrize(
    ("repository", "by_digest", "places"),
    [
        ("example.com/team/app", False, ["one.local:5000/m/app", "real.example.com/team/app"]),
        ("example.com/team/app", True,
         ["one.local:5000/m/app", "two.local/app", "real.example.com/team/app"]),
        ("example.com/teams/app", False, ["example.com/teams/app"]),
        ("a.b.wild.example.com/x/y", False, ["proxy.example.com/wild/x/y"]),
        ("wild.example.com/x", False, ["wild.example.com/x"]),
        ("a.loose.example.com/x", False, ["a.loose.example.com/x"]),
        ("other.org/x", False, ["other.org/x"]),
    ],
)  # fmt: skip
def test_a_name_leads_to_mirrors_and_then_to_its_registry(
    configured: Path, repository: str, by_digest: bool, places: list[str]
) -> None:
    found = load(configured, MIRRORS).endpoints(repository, by_digest=by_digest)
    assert [str(one) for one in found] == places


def test_each_place_has_its_own_security(configured: Path) -> None:
    registries = load(configured, MIRRORS)
    found = registries.endpoints("example.com/team/app", by_digest=True)
    assert [one.insecure for one in found] == [False, True, True]
    assert registries.is_insecure("a.loose.example.com")
    assert not registries.is_insecure("example.com")
    assert str(registries.push_endpoint("example.com/team/app")) == "real.example.com/team/app"


def test_a_blocked_registry_is_an_error(configured: Path) -> None:
    with pytest.raises(ConfigError, match=r"registry bad\.example\.com is blocked"):
        load(configured, MIRRORS).endpoints("bad.example.com/x", by_digest=False)


def test_drop_ins_override_in_order(configured: Path) -> None:
    registries = load(
        configured,
        'unqualified-search-registries = ["one"]\n[aliases]\n"a" = "x.io/a"\n"b" = "x.io/b"',
        a='unqualified-search-registries = ["two"]\nshort-name-mode = "enforcing"',
        b='[aliases]\n"b" = "y.io/b"\n[[registry]]\nlocation = "z.io"\nblocked = true',
        c='[[registry]]\nlocation = "z.io"',
    )
    assert registries.search == ["two"]
    assert registries.mode == "enforcing"
    assert registries.aliases == {"a": "x.io/a", "b": "y.io/b"}
    assert [str(one) for one in registries.endpoints("z.io/x", by_digest=False)] == ["z.io/x"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[", "not TOML"),
        ("[registries.search]\nregistries = []", "version 1 of the format"),
        ("unqualified-search-registries = 'x'", "not a list of strings"),
        ("short-name-mode = 'maybe'", "'maybe' is none of enforcing"),
        ("[[registry]]\nblocked = true", "it needs a location"),
        ("[[registry]]\nlocation = 'https://x'", "is no registry or repository"),
        ("[[registry]]\nlocation = 'x'\ninsecure = 'no'", "insecure: neither true nor false"),
        ("[[registry]]\nlocation = 'x'\n[[registry.mirror]]\ninsecure = true", "needs a location"),
        ("[[registry]]\nprefix = 'a.*.b'\nlocation = 'x'", "only a whole first part"),
        ("[aliases]\na = 1", "not a table of strings"),
        ("registry = 3", "not a list of tables"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_file(
    configured: Path, text: str, problem: str
) -> None:
    with pytest.raises(ConfigError, match=f"{configured}: .*{problem}"):
        load(configured, text)


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        ("", "x:1", ["docker.io/library/x:1"]),
        ('unqualified-search-registries = ["a.io", "b.io"]\nshort-name-mode = "disabled"', "x",
         ["a.io/x:latest", "b.io/x:latest"]),
        ('unqualified-search-registries = ["a.io", "b.io"]', "t/x:2", ["a.io/t/x:2", "b.io/t/x:2"]),
        ('[aliases]\n"x" = "q.io/real/x"', "x:3", ["q.io/real/x:3"]),
        ('unqualified-search-registries = []', "q.io/x", ["q.io/x:latest"]),
    ],
)  # fmt: skip
def test_a_short_name_stands_for_full_ones(
    configured: Path, text: str, name: str, found: list[str]
) -> None:
    assert [str(one) for one in remote.candidates(name, load(configured, text))] == found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("unqualified-search-registries = []", "no unqualified-search registries are defined in"),
        ('unqualified-search-registries = ["a.io", "b.io"]\nshort-name-mode = "enforcing"',
         "short-name-mode is enforcing"),
    ],
)  # fmt: skip
def test_a_short_name_that_nothing_resolves_is_refused(
    configured: Path, text: str, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        remote.candidates("x", load(configured, text))


def test_a_recorded_alias_is_used(configured: Path) -> None:
    registries_conf.record_alias("x", "q.io/x")
    registries_conf.record_alias("y", "q.io/y")
    assert load(configured, "").aliases == {"x": "q.io/x", "y": "q.io/y"}
