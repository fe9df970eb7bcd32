"""Hostile config.json through everything that needs no kernel: an error of ours, or a result."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyrun.errors import ConfigError, ContainerError
from pyrun.linux import capabilities, mounts, namespaces
from pyrun.linux.cgroups import devices, devices_bpf, limits_v1, limits_v2, systemd_properties
from pyrun.linux.seccomp import compiler
from pyrun.spec import jsontext, load, validate
from support.hostile import CORPUS, Place, at, full_config, mutate

FULL = full_config(["true"])


def prepare(text: str) -> None:
    """Read, validate and compute what a container is made from.

    Raises:
        PyrunError: the config is refused.
    """
    config = jsontext.loads(text)
    validate.require(config)
    linux = config.get("linux") or {}
    for index, entry in enumerate(config.get("mounts") or ()):
        mounts.parse_options(entry.get("options") or [], f"/mounts/{index}/options")
        mounts.is_bind(entry)
    sets = (config.get("process") or {}).get("capabilities") or {}
    capabilities.Sets(sets).beyond(0)
    namespaces.plan(linux.get("namespaces") or ()).close()
    resources = linux.get("resources") or {}
    rules = devices.evaluate(resources.get("devices") or [], "/linux/resources/devices")
    devices_bpf.program(rules)
    devices.v1_lines(rules, allows_all=True)
    limits_v1.settings(resources)
    limits_v2.settings(resources, "/sys/fs/cgroup/none")
    systemd_properties.of_annotations(config.get("annotations") or {})
    profile = linux.get("seccomp")
    if profile and profile != FULL["linux"]["seccomp"]:
        compiler.compile_profile(profile)


def refused_or_done(config: Any) -> str:
    """The message when it is refused; anything but an error of ours fails the test."""
    text = json.dumps(config)
    assert jsontext.loads(text) == json.loads(text)
    try:
        prepare(text)
    except (ConfigError, ContainerError) as error:
        return str(error)
    return ""


def test_the_config_that_is_broken_is_a_good_one() -> None:
    assert refused_or_done(FULL) == ""


@settings(max_examples=1200, deadline=None)
@given(st.randoms(use_true_random=False))
def test_a_broken_config_is_refused_or_understood(dice: random.Random) -> None:
    config = copy.deepcopy(FULL)
    mutate(config, dice)
    refused_or_done(config)


@pytest.mark.parametrize(("place", "value"), CORPUS)
def test_each_of_the_corpus_is_refused_or_understood(place: Place, value: Any) -> None:
    config = copy.deepcopy(FULL)
    at(config, place[:-1])[place[-1]] = value
    refused_or_done(config)


@settings(max_examples=500, deadline=None)
@given(st.randoms(use_true_random=False))
def test_broken_text_is_refused_or_read_as_json_reads_it(dice: random.Random) -> None:
    text = bytearray(json.dumps(FULL).encode())
    for _ in range(dice.randint(1, 5)):
        if not text:
            break
        where = dice.randrange(len(text))
        way = dice.randrange(3)
        if way == 0:
            text[where] = dice.randrange(256)
        elif way == 1:
            del text[where : where + dice.choice((1, 10, 1000))]
        else:
            text[where:where] = bytes(dice.choice((b"{", b"[" * 3000, b'"', b"\\u0000", b"1e999")))
    try:
        expected = json.loads(text.decode())
    except (ValueError, RecursionError):
        expected = None
    try:
        found = jsontext.loads(text.decode())
    except (ValueError, RecursionError):
        found = None
    assert repr(found) == repr(expected)


def test_text_that_is_nested_too_deep_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"a":' * 200_000)
    with pytest.raises(ConfigError, match="is not JSON"):
        load.read_bundle(str(tmp_path))
