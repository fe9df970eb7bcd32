"""Completion, info, version, global options, and the commands about the whole storage."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from support.containers import IMAGE, ContainerRoot

pytestmark = pytest.mark.needs("root", "busybox")


def complete(box: ContainerRoot, *words: str) -> list[str]:
    *found, directive = box.ok("__completeNoDesc", *words).splitlines()
    assert directive in (":0", ":4")
    return found


def test_words_are_completed_by_commands_options_and_names(box: ContainerRoot) -> None:
    box.ok("run", "-d", "--name", "runs", IMAGE, "sleep", "1000")
    box.ok("create", "--name", "made", IMAGE, "true")
    assert complete(box, "unp") == ["unpause"]
    assert "ls" in complete(box, "container", "")
    assert complete(box, "--log-level", "deb") == ["debug"]
    assert complete(box, "ps", "--no") == ["--no-trunc", "--noheading"]
    assert complete(box, "ps", "--sort", "s") == ["size", "status"]
    assert complete(box, "rm", "") == ["runs", "made"]
    assert complete(box, "stop", "") == ["runs"]
    assert complete(box, "container", "start", "-a", "m") == ["made"]
    assert complete(box, "run", "--rm", "loc") == [IMAGE]
    assert complete(box, "inspect", "") == ["runs", "made", IMAGE]
    assert complete(box, "exec", "-it", "r") == ["runs"]
    assert complete(box, "no-such", "") == complete(box, "version", "") == []
    described = box.ok("__complete", "stop", "").splitlines()[0]
    assert described.startswith("runs\t")
    assert described.endswith(" running")


def test_bash_asks_pyengine(box: ContainerRoot, tmp_path: Path) -> None:
    box.ok("create", "--name", "made", IMAGE, "true")
    script = tmp_path / "completion.bash"
    box.ok("completion", "bash", "-f", script)
    program = tmp_path / "pyengine"
    program.write_text(f'#!/bin/sh\nexec {" ".join(box.argv())} "$@"\n')
    program.chmod(0o755)

    def replies(line: str) -> list[str]:
        asked = (
            f'. {script}; COMP_LINE="{program} {line}" COMP_POINT=1000 __pyengine_complete;'
            ' printf "%s\\n" "${COMPREPLY[@]}"'
        )
        done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert replies("rm m") == ["made"]
    assert replies("run localhost/box:") == ["1"]  # bash begins a word behind the colon
    assert replies("pau") == ["pause"]
    for shell in ("zsh", "fish"):
        assert "__complete" in box.ok("completion", shell)
    assert "Invalid value for" in box.fails("completion", "csh")


def test_info_and_version_have_podmans_keys(box: ContainerRoot, pyrun_path: str) -> None:
    found = json.loads(box.ok("info", "--format", "json"))
    assert found["host"]["ociRuntime"]["path"] == pyrun_path
    assert found["host"]["distribution"]["distribution"]
    assert found["store"]["graphRootAllocated"] > found["store"]["graphRootUsed"] > 0
    assert "k8s-file" in found["plugins"]["log"]
    templates = "{{.Host.OCIRuntime.Name}} {{.Store.GraphRoot}} {{.Host.Security.Rootless}}"
    assert box.ok("info", "-f", templates) == f"pyrun {box.root} false\n"
    client = json.loads(box.ok("version", "-f", "json"))["Client"]
    assert box.ok("version", "-f", "{{.Client.Version}}") == f"{client['Version']}\n"
    assert {"APIVersion", "OsArch", "Built", "GitCommit"} <= set(client)
    assert "can't evaluate field Bogus" in box.fails("version", "-f", "{{.Bogus}}")


def test_global_options_do_what_they_say_or_say_why_not(box: ContainerRoot, tmp_path: Path) -> None:
    assert box.ok("--noout", "ps") == ""
    assert box.ok("--out", tmp_path / "list", "ps", "--format", "{{.Names}}") == ""
    box.ok("--out", tmp_path / "list", "run", "--rm", IMAGE, "echo", "into the file")
    assert (tmp_path / "list").read_text() == "into the file\n"
    box.ok("--tmpdir", tmp_path / "tmp", "run", "--rm", IMAGE, "true")
    assert (tmp_path / "tmp" / "events" / "events.log").read_text().count('"create"') == 1
    (tmp_path / "more.conf").write_text('[containers]\numask = "0077"\n')
    module = ("--module", tmp_path / "more.conf")
    assert box.ok(*module, "run", "--rm", IMAGE, "sh", "-c", "umask") == "0077\n"
    assert box.sh("umask") == "0022\n"
    heard = box.call("--syslog", "--log-level", "debug", "ps")
    assert heard.returncode == 0
    for words, problem in [
        (["--module", "nosuch.conf", "ps"], "--module nosuch.conf: no such file in "),
        (["--hooks-dir", "/x", "ps"], "--hooks-dir: hooks are not read from files"),
        (["--network-config-dir", "/x", "ps"], "--network-config-dir: there are no networks yet"),
        (["--volumepath", "/x", "ps"], "--volumepath: all volumes are below --root"),
        (["--tls-ca", "/x", "ps"], "--tls-ca: there is no remote service"),
        (["--url", "ssh://x", "ps"], "--url: there is no remote service"),
        (["-c", "x", "ps"], "--connection: there is no remote service"),
        (["-r", "ps"], "--remote: there is no remote service"),
        (["--storage-opt", "x=y", "ps"], "the storage driver has no such option"),
        (["--out", "/no/such/file", "ps"], "--out /no/such/file: No such file"),
        (["--bogus", "ps"], "unknown flag: --bogus"),
    ]:
        assert problem in box.fails(*words)


def test_prune_and_reset_remove_what_they_say(pyengine_path: str, tmp_path: Path) -> None:
    root = ContainerRoot(pyengine_path, tmp_path)
    root.load_image()
    id_ = root.ok("run", "-d", "--name", "runs", "-v", "used:/v", IMAGE, "sleep", "1000").strip()
    assert root.cgroups(id_) != []
    root.ok("create", "--name", "made", IMAGE, "true")
    root.ok("volume", "create", "spare")
    asked = root.call("system", "prune", stdin=b"n\n")
    assert asked.stdout.startswith("WARNING! This command removes:\n\t- all stopped containers\n")
    assert "EOF" in root.fails("system", "prune")
    pruned = root.ok("system", "prune", "-f")
    assert pruned.startswith("Deleted Containers\n")
    assert "Total reclaimed space: " in pruned
    assert root.ok("volume", "ls", "-q") == "spare\nused\n"
    assert "Deleted Volumes\nspare\n" in root.ok("system", "prune", "-af", "--volumes")
    assert root.ok("images", "-q") != ""  # the running container's
    assert "--external cannot be combined" in root.fails("system", "prune", "--external", "-a")
    assert "all containers" in root.call("system", "reset", stdin=b"\n").stdout
    assert root.ok("ps", "-q").count("\n") == 1
    root.ok("system", "reset", "--force")
    assert list(root.root.iterdir()) == list(root.runroot.iterdir()) == []
    assert root.processes() == root.cgroups(id_) == root.mounts() == []
    assert root.ok("ps", "-aq") == root.ok("images", "-q") == ""
    (root.root / "pyengine.db").unlink()
    root.load_image()
    assert root.sh("echo again") == "again\n"


def test_check_finds_damage_and_repairs_it(pyengine_path: str, tmp_path: Path) -> None:
    root = ContainerRoot(pyengine_path, tmp_path)
    root.load_image()
    assert root.ok("system", "check") == ""
    root.ok("create", "--name", "needs", IMAGE, "true")
    layer = next((root.root / "layers").iterdir())
    shutil.rmtree(layer)
    assert "the storage is damaged" in root.fails("system", "check", "--quick")
    assert "--force" in root.fails("system", "check", "--repair")
    assert "Deleted container: " in root.ok("system", "check", "--repair", "--force")
    assert root.ok("system", "check") == root.ok("ps", "-aq") == ""
    assert "invalid duration" in root.fails("system", "check", "--max", "x")
