"""What the options of run and create come to in a container's saved configuration."""

from __future__ import annotations

import re

import pytest

from pyengine.errors import PyengineError
from support.configured import configured


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("--umask 99", "invalid umask string 99"),
        ("--tz Nowhere/Town", "no such file or directory"),
        ("--tz ../../etc/passwd", "not the name of a time zone"),
        ("--init --init-path /nosuch", "container-init binary not found on the host"),
        ("--group-add keep-groups,user", "is not allowed with any other --group-add"),
        ("--hostuser nosuch", "unknown user nosuch"),
        ("--systemd=maybe", 'must be one of "true, false, always"'),
        ("--chrootdirs jail", "must be an absolute path"),
        ("--env-merge NAME", "must be NAME=VALUE"),
        ("--passwd-entry a\nb", "must be one line"),
        ("--add-host bad", 'bad format for add-host: "bad"'),
        ("--add-host a:b", 'invalid IP address in add-host: "b"'),
        ("--no-hosts --add-host a:1.2.3.4", "cannot be set together"),
        ("--annotation a", "must be formatted KEY=VALUE"),
        ("--label-file /nosuch", "unable to process labels: open /nosuch"),
        ("--hosts-file /nosuch", "no such file"),
        ("--dns 1.1.1.1", "conflicting options: dns and the network mode: none"),
        ("--network host --dns foo", 'invalid IP address in --dns: "foo"'),
        ("--network host --ip 10.0.0.1", "--ip can only be set when the network mode is bridge"),
        ("--network nosuch", "no such network"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_named(line: str, problem: str) -> None:
    with pytest.raises(PyengineError, match=re.escape(problem)):
        configured(line)
