"""System calls that a plugin of the monitor answers (conmon 2.1.6 refuses the options)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.monitors import Container, container

pytestmark = pytest.mark.needs("root", "runc", "busybox", "cc")

# ENOMEDIUM is an error that mkdir never has by itself.
PLUGIN = """
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <linux/seccomp.h>
struct conf { const char *root, *name, *bundle, *config; };
static int started;
int run_oci_seccomp_notify_version(void) { return VERSION; }
int run_oci_seccomp_notify_start(void **opaque, struct conf *conf, size_t size) {
    *opaque = &started;
    started = size == sizeof *conf && !conf->root && !strcmp(conf->name, "name")
        && strstr(conf->config, "/config.json");
    return 0;
}
int run_oci_seccomp_notify_handle_request(void *opaque, struct seccomp_notif_sizes *sizes,
        struct seccomp_notif *request, struct seccomp_notif_resp *response, int fd, int *handled) {
    *handled = ANSWER;
    if (!*(int *)opaque || sizes->seccomp_notif != sizeof *request || request->pid == 0)
        return -1;
    response->error = ANSWER == 1 ? -ENOMEDIUM : 0;
    return 0;
}
"""


def build(directory: Path, answer: int, version: int = 1) -> str:
    (directory / "plugin.c").write_text(PLUGIN)
    library = directory / f"plugin{answer}.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", f"-DANSWER={answer}", f"-DVERSION={version}", "-o", library,
         directory / "plugin.c"],
        check=True,
    )  # fmt: skip
    return str(library)


@pytest.fixture
def made(tmp_path: Path, pyconmon_path: str) -> Iterator[Container]:
    arguments = ["sh", "-c", "mkdir /tmp/made; echo $?"]
    with container(pyconmon_path, "runc", tmp_path / "c", arguments) as made:
        applets = made.bundle / "rootfs/bin"
        (applets / "mkdir").symlink_to("busybox")
        path = made.bundle / "config.json"
        config = json.loads(path.read_text())
        config["root"]["readonly"] = False
        config["linux"]["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": str(tmp_path / "listener"),
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
        }
        path.write_text(json.dumps(config))
        yield made


def notify(directory: Path, plugins: str) -> list[str]:
    socket = str(directory / "listener")
    return ["--seccomp-notify-socket", socket, "--seccomp-notify-plugins", plugins]


@pytest.mark.parametrize(
    ("answers", "lines"),
    [
        ([1], ["mkdir: can't create directory '/tmp/made': No medium found", "1"]),
        ([3], ["0"]),
        ([0], ["mkdir: can't create directory '/tmp/made': Operation not supported", "1"]),
        ([0, 3], ["0"]),
    ],
    ids=["an answer", "go on", "nobody knows", "the next plugin"],
)
def test_a_plugin_answers_a_system_call(
    made: Container, tmp_path: Path, answers: list[int], lines: list[str]
) -> None:
    plugins = ":".join(build(tmp_path, answer) for answer in answers)
    assert made.run(*notify(tmp_path, plugins)) == "0"
    words = [text for _, _, text in made.log_lines()]
    assert sorted(words) == sorted(lines)
    assert not (tmp_path / "listener").exists()


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [("/no/such/plugin.so", "No such file"), ("libc.so.6", "handle_request")],
)
def test_a_plugin_that_cannot_be_used_is_named(
    made: Container, tmp_path: Path, plugin: str, reason: str
) -> None:
    failure = made.create(*notify(tmp_path, plugin))
    assert failure["data"] == -1
    assert f"seccomp notify plugin {plugin}: " in failure["message"]
    assert reason in failure["message"]


def test_a_plugin_of_another_version_is_refused(made: Container, tmp_path: Path) -> None:
    failure = made.create(*notify(tmp_path, build(tmp_path, 1, version=2)))
    assert "its API version is not 1" in failure["message"]
