"""The same Go templates give the same text with podman and with pyengine."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator

import pytest

from support import images
from support.engine import EngineRoot

pytestmark = pytest.mark.needs("root", "busybox", "podman")

NAME = "localhost/compat:1"

IMAGES = [
    "{{.ID}}\\t{{.Repository}}|",
    "{{range .}}{{.ID}} {{.Tag}}{{end}}",
    "table {{.ID}} {{.Repository}}",
    "table {{.ID}}\\t{{.Tag}}x {{.Repository}}:{{.Tag}}",
    "table {{upper .Repository}} {{json .Labels}}",
    "{{.Labels}} {{.Names}} {{.Dangling}} {{.ReadOnly}} {{.History}} {{.Containers}}",
    "{{.CreatedAt}} {{.CreatedSince}} {{.CreatedTime}} {{.Created}} {{.ParentId}} {{.Id}}",
    '{{index .Labels "a"}} {{index .Labels "zz"}}|{{.Labels.zz}}|{{json .Labels}}',
    "{{range $k, $v := .Labels}}{{$k}}={{$v}};{{else}}none{{end}}",
    '{{if eq .Tag "1"}}one{{else if gt 1 2}}x{{else}}other{{end}}',
    "{{with .Tag}}<{{.}}>{{end}}{{$x := .Tag}}{{$x}}{{len .ID}}{{slice .ID 0 4}}",
    '{{and 1 0}}{{or "" "z"}}{{not true}}{{println .ID}}{{print 1 2 "x" 3}}',
    '{{printf "%-15s|%5d|%05d|%q|%v|%t|%x" .ID 3 7 .Tag .Labels true 255}}',
    '{{printf "%d" "x"}} {{printf "%s"}} {{printf "x" 1}} {{printf "%6.2f" 1.5}}',
    '{{upper .Tag}} {{title "abc def"}} {{join (split "a-b-c" "-") "+"}} {{pad "x" 2 3}}|',
    "{{truncate .ID 3}} {{lower `ABC`}} {{1.5}} {{0x10}} {{'a'}} {{1e21}} {{1e-7}} {{100000.0}}",
    "{{/* note */}}{{- .Tag -}}  y",
    "{{range .Names}}{{.}}{{end}}{{range $i, $n := .Names}}{{$i}}{{$n}}{{end}}",
    "{{.Nosuch}}",
    "{{.Tag.Foo}}",
    "{{len 3}}",
    '{{lt 1 "a"}}',
    "{{.ID | foo}}",
    "{{if .ID}}x",
    "{{nil}}",
    "{{truncate .ID}}",
    "{{upper 3}}",
    "{{index .Names 7}}",
]
INSPECT = [
    "{{.Id}} {{.Os}}/{{.Architecture}} {{.Config.Cmd}} {{.Config.Env}} {{.RepoTags}}",
    "{{json .Config.Labels}} {{.Config.Labels}} {{json .RootFS.Layers}} {{.RootFS.Type}}",
    '{{range .Config.Env}}{{.}};{{end}}{{index .Config.Cmd 0}}{{index .Config.Labels "b"}}',
    "{{len .RootFS.Layers}}{{if .Config.Entrypoint}}x{{else}}none{{end}} {{.User}}|",
]
HISTORY = ["{{.CreatedBy}}|{{.Size}}|{{.Comment}}", "table {{.ID}} {{.Size}}"]


@pytest.fixture(scope="module")
def both(
    pyengine_path: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., list[tuple[int, str]]]]:
    """Runs one command with each; the answers are exit status and output or message."""
    directory = tmp_path_factory.mktemp("templates")
    steps = [
        {"created": "2024-05-06T07:08:08Z", "created_by": "/bin/sh -c #(nop) ADD file:1 in / "},
        {"created": "2024-05-06T07:08:09Z", "created_by": "CMD sh", "empty_layer": True,
         "comment": "last"},
    ]  # fmt: skip
    image = images.busybox_image(history=steps, Labels={"a": "1", "b": "<2>"})
    archive = images.oci_archive(directory / "a.tar", {NAME: image})
    ours = EngineRoot(pyengine_path, directory).argv()
    with tempfile.TemporaryDirectory() as runroot:
        podman = ["podman", "--root", str(directory / "podman"), "--runroot", runroot]
        podman += ["--storage-driver", "vfs", "--log-level", "error"]
        for program in (podman, ours):
            command = [*program, "load", "-q", "-i", str(archive)]
            subprocess.run(command, check=True, capture_output=True)

        def run(*words: str) -> list[tuple[int, str]]:
            return [answer([*program, *words]) for program in (podman, ours)]

        yield run
        subprocess.run([*podman, "rmi", "-f", "-a"], check=True, capture_output=True)


def answer(command: list[str]) -> tuple[int, str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode == 0:
        return 0, done.stdout.rstrip("\n")
    # Where the mistake is depends on what podman puts around the template.
    message = done.stderr.partition("template: ")[2].partition("; it has")[0].strip()
    problem = message.partition(" at <")[2] or message.partition(": ")[2]
    return done.returncode, problem.replace("images.imageReporter", "images")


@pytest.mark.parametrize("form", IMAGES)
def test_images(both: Callable[..., list[tuple[int, str]]], form: str) -> None:
    podman, ours = both("images", "--format", form)
    assert ours == podman, f"{podman[1]}\n{ours[1]}"
    assert podman[1]


@pytest.mark.parametrize("form", INSPECT)
def test_inspect(both: Callable[..., list[tuple[int, str]]], form: str) -> None:
    podman, ours = both("image", "inspect", "--format", form, NAME)
    assert ours == podman, f"{podman[1]}\n{ours[1]}"
    assert podman[1]


@pytest.mark.parametrize("form", HISTORY)
def test_history(both: Callable[..., list[tuple[int, str]]], form: str) -> None:
    podman, ours = both("history", "--format", form, NAME)
    assert ours == podman, f"{podman[1]}\n{ours[1]}"
    assert podman[1]
