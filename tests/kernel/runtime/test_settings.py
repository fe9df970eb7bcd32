"""Each part of config.json, seen from inside of the container."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pyrun import syscalls
from pyrun.linux import capabilities
from support.bundle import Bundle
from support.runtime import Runtime

pytestmark = pytest.mark.needs("root", "busybox")


def refused(runtime: Runtime, bundle: Bundle, status: int = 1) -> str:
    """The message of a ``run`` that fails and leaves nothing."""
    done = runtime.run(bundle)
    assert (done.returncode, done.stdout) == (status, ""), done
    assert runtime.left(runtime.ids[-1]) == []
    return done.stderr


def test_every_namespace_is_new(pyrun: Runtime, bundle: Bundle) -> None:
    names = ["cgroup", "ipc", "mnt", "net", "pid", "uts"]
    bundle.shell(f"for n in {' '.join(names)}; do readlink /proc/self/ns/$n; done")
    inside = pyrun.output(bundle).split()
    outside = [os.readlink(f"/proc/self/ns/{name}") for name in names]
    assert not set(inside) & set(outside)


def test_namespaces_are_joined_by_path(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.shell("sleep 1000")
    pid = pyrun.state(pyrun.start(bundle))["pid"]
    names = {"network": "net", "ipc": "ipc", "uts": "uts", "pid": "pid"}
    bundle.linux["namespaces"] = [
        *({"type": kind, "path": f"/proc/{pid}/ns/{name}"} for kind, name in names.items()),
        {"type": "mount"},
    ]
    del bundle.config["hostname"]
    bundle.shell("".join(f"readlink /proc/self/ns/{name};" for name in names.values()))
    expected = [os.readlink(f"/proc/{pid}/ns/{name}") for name in names.values()]
    assert pyrun.output(bundle).split() == expected


def test_a_path_of_another_kind_of_namespace_is_refused(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["namespaces"][1]["path"] = "/proc/self/ns/uts"
    assert "/linux/namespaces/1/path" in refused(pyrun, bundle)


@pytest.mark.parametrize("wanted", [["CAP_KILL"], ["CAP_KILL", "CAP_SYS_RESOURCE"]])
def test_a_user_namespace_gives_the_capabilities_asked_for_and_no_other(
    pyrun: Runtime, bundle: Bundle, wanted: list[str]
) -> None:
    """A new user namespace has those, too, that the caller lacks (CAP_SYS_RESOURCE in many)."""
    bundle.linux["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        bundle.linux[kind] = [{"containerID": 0, "hostID": 200000, "size": 2000}]
    bundle.process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), wanted)
    bits = f"{sum(1 << capabilities.NAMES.index(name) for name in wanted):016x}"
    bundle.shell("grep -E '^Cap(Prm|Eff|Bnd)' /proc/self/status | cut -f2; test $1 || sleep 1000")
    bundle.process["args"] += ["sh", "once"]
    done = pyrun.run(bundle)
    assert (done.stdout.split(), done.stderr) == ([bits] * 3, "")
    bundle.process["args"].pop()
    name = pyrun.start(bundle)
    inside = pyrun.call("exec", name, "sh", "-c", "grep ^Cap /proc/self/status | cut -f2").stdout
    assert inside.split()[1:4] == [bits] * 3


def test_user_namespace_with_mappings(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        bundle.linux[kind] = [{"containerID": 0, "hostID": 200000, "size": 2000}]
    bundle.process["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [7]}
    bundle.shell("id -u; id -g; id -G; cat /proc/self/uid_map; stat -c %t,%T /dev/null")
    expected = ["1000", "1000", "1000", "7", "0", "200000", "2000", "1,3"]
    assert pyrun.output(bundle).split() == expected


def test_exec_enters_a_user_namespace(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        bundle.linux[kind] = [{"containerID": 0, "hostID": 200000, "size": 2000}]
    bundle.shell("sleep 1000")
    name = pyrun.start(bundle)
    done = pyrun.call("exec", "--user", "5", name, "sh", "-c", "id -u; readlink /proc/self/ns/user")
    uid, namespace = done.stdout.split()
    assert (done.returncode, uid) == (0, "5")
    assert namespace == os.readlink(f"/proc/{pyrun.state(name)['pid']}/ns/user")


def test_a_mapping_that_lacks_root_is_named(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        bundle.linux[kind] = [{"containerID": 10, "hostID": 200000, "size": 10}]
    assert "become root of the user namespace" in refused(pyrun, bundle)


@pytest.mark.needs("time_namespace")
def test_time_namespace_without_offsets_has_the_clocks_of_the_host(
    pyrun: Runtime, bundle: Bundle
) -> None:
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {}
    bundle.shell("cat /proc/self/timens_offsets")
    assert pyrun.output(bundle).split() == ["monotonic", "0", "0", "boottime", "0", "0"]


@pytest.mark.needs("time_namespace")
def test_time_namespace_has_its_offsets(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 1000000, "nanosecs": 0}}
    bundle.shell("cut -d. -f1 /proc/uptime")
    assert int(pyrun.output(bundle)) > 1000000


@pytest.mark.needs("time_namespace", "userns")
def test_time_namespace_of_a_user_namespace_has_its_offsets(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["namespaces"] += [{"type": "time"}, {"type": "user"}]
    for kind in ("uidMappings", "gidMappings"):
        bundle.linux[kind] = [{"containerID": 0, "hostID": 200000, "size": 1000}]
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 1000000, "nanosecs": 0}}
    bundle.shell("cut -d. -f1 /proc/uptime")
    assert int(pyrun.output(bundle)) > 1000000


@pytest.mark.needs("userns")
def test_a_namespace_to_join_may_belong_to_another_user_namespace(
    pyrun: Runtime, bundle: Bundle
) -> None:
    """A network that the host has made, for a container with ids of its own."""
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo; exec cat"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with holder:
        assert holder.stdin
        assert holder.stdout
        holder.stdout.readline()
        path = f"/proc/{holder.pid}/ns/net"
        for entry in bundle.linux["namespaces"]:
            if entry["type"] == "network":
                entry["path"] = path
        bundle.linux["namespaces"].append({"type": "user"})
        for kind in ("uidMappings", "gidMappings"):
            bundle.linux[kind] = [{"containerID": 0, "hostID": 200000, "size": 1000}]
        # nobody inside may mount the sysfs of a network that belongs to the host
        bundle.change_mount("/sys", type="bind", source="/sys", options=["rbind", "ro"])
        bundle.shell("readlink /proc/self/ns/net; sleep 1000")
        name = pyrun.start(bundle)
        done = pyrun.call("exec", name, "readlink", "/proc/self/ns/net")
        assert (done.stdout, done.stderr) == (os.readlink(path) + "\n", "")
        pid = pyrun.state(name)["pid"]
        assert os.readlink(f"/proc/{pid}/ns/net") == os.readlink(path)
        assert os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user")
        holder.stdin.close()


@pytest.mark.needs("userns")
def test_a_device_ptmx_gives_way_to_the_container_s_own(pyrun: Runtime, bundle: Bundle) -> None:
    """An engine may list all devices of the host; in a user namespace they are mounts."""
    bundle.linux["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        bundle.linux[kind] = [{"containerID": 0, "hostID": 200000, "size": 1000}]
    bundle.linux["devices"] = [{"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2}]
    bundle.shell("readlink /dev/ptmx")
    assert pyrun.output(bundle) == "pts/ptmx"
    entries = bundle.config["mounts"]
    bundle.config["mounts"] = [one for one in entries if one["destination"] != "/dev/pts"]
    bundle.shell("stat -c %t,%T /dev/ptmx")
    assert pyrun.output(bundle) == "5,2"


def test_host_and_domain_name(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.config["hostname"] = "one"
    bundle.config["domainname"] = "example.org"
    bundle.shell("hostname; cat /proc/sys/kernel/domainname")
    assert pyrun.output(bundle) == "one\nexample.org"


def test_loopback_is_up(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.shell("ip link show lo")
    assert "LOOPBACK,UP" in pyrun.output(bundle)


def test_default_devices_and_links(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.shell(
        "for d in null zero full random urandom tty; do stat -c '%n %a %t,%T' /dev/$d; done;"
        "for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done"
    )
    assert pyrun.output(bundle).splitlines() == [
        "/dev/null 666 1,3", "/dev/zero 666 1,5", "/dev/full 666 1,7",
        "/dev/random 666 1,8", "/dev/urandom 666 1,9", "/dev/tty 666 5,0",
        "/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2", "pts/ptmx",
    ]  # fmt: skip


def test_a_device_that_was_asked_for(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["devices"] = [
        {"path": "/dev/sub/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640,
         "uid": 3, "gid": 4},
        {"path": "/dev/pipe", "type": "p"},
        {"path": "/dev/closed", "type": "c", "major": 1, "minor": 5, "fileMode": 0},
    ]  # fmt: skip
    bundle.shell(
        "stat -c '%F %a %u %g %t,%T' /dev/sub/mine; stat -c %F /dev/pipe; stat -c %a /dev/closed"
    )
    assert pyrun.output(bundle) == "character special file 640 3 4 1,5\nfifo\n0"


def test_a_dev_of_the_host_stays_as_it_is(pyrun: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """Neither owner nor ptmx is changed, nor a link made, through a bind mount."""
    dev = tmp_path / "dev"
    (dev / "pts").mkdir(parents=True)
    os.mknod(dev / "null", 0o20600, os.makedev(1, 3))
    os.mknod(dev / "ptmx", 0o20666, os.makedev(5, 2))
    os.chown(dev / "null", 3, 4)
    entries = [one for one in bundle.config["mounts"] if not one["destination"].startswith("/dev/")]
    bundle.config["mounts"] = [one for one in entries if one["destination"] != "/dev"]
    bundle.mount("/dev/", type="bind", source=str(dev), options=["bind"])
    bundle.mount("/dev/pts", type="devpts", source="devpts", options=["newinstance"])
    bundle.linux["devices"] = [{"path": "/dev/more", "type": "c", "major": 1, "minor": 5}]
    bundle.shell("ls /dev; stat -c '%a %u %g' /dev/null; stat -c %t,%T /dev/ptmx; ls /dev/pts")
    assert pyrun.output(bundle).split() == [
        "null", "ptmx", "pts", "600", "3", "4", "5,2", "ptmx",
    ]  # fmt: skip
    assert sorted(os.listdir(dev)) == ["null", "ptmx", "pts"]


def test_a_node_that_is_there_already_keeps_its_owner(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    os.mknod(tmp_path / "sub/zero", 0o20600, os.makedev(1, 5))
    os.chown(tmp_path / "sub/zero", 3, 4)
    bundle.mount("/dev/sub", type="bind", source=str(tmp_path / "sub"), options=["bind"])
    asked = {"path": "/dev/sub/zero", "type": "c", "major": 1, "minor": 5, "uid": 7}
    bundle.linux["devices"] = [asked]
    bundle.shell("stat -c '%u %g' /dev/sub/zero")
    assert pyrun.output(bundle) == "3 4"
    asked["minor"] = 7
    assert "/dev/sub/zero exists in the root and is another file" in pyrun.run(bundle).stderr


def test_a_user_namespace_has_devices_that_the_host_does_not(
    pyrun: Runtime, bundle: Bundle
) -> None:
    """It cannot make nodes: they are made before it, belong to its users, and leave no trace."""
    bundle.linux["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        bundle.linux[kind] = [{"containerID": 0, "hostID": 200000, "size": 2000}]
    bundle.linux["devices"] = [
        {"path": "/dev/not-here", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640,
         "uid": 3, "gid": 4},
        {"path": "/dev/sub/zero/", "type": "c", "major": 1, "minor": 5},
        {"path": "/dev/pipe", "type": "p"},
    ]  # fmt: skip
    zeros = "head -c 3 /dev/sub/zero | wc -c"
    bundle.shell(f"stat -c '%F %a %u %g %t,%T' /dev/not-here; stat -c %F /dev/pipe; {zeros}")
    name = pyrun.create(bundle)
    assert sorted(os.listdir(pyrun.root / name)) == ["config.json", "exec.fifo", "state.json"]
    assert pyrun.output(bundle) == "character special file 640 3 4 1,5\nfifo\n3"


def test_without_mappings_the_caller_is_root_inside(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "user"})
    bundle.shell("head -n 1 /proc/self/uid_map /proc/self/gid_map")
    words = pyrun.output(bundle).split()
    assert [words[3:6], words[9:12]] == [["0", "0", "1"], ["0", "0", "1"]]


def test_masked_paths_are_empty_and_read_only_paths_cannot_be_written(
    pyrun: Runtime, bundle: Bundle
) -> None:
    bundle.config["root"]["readonly"] = False
    (bundle.rootfs / "secret").write_text("secret")
    (bundle.rootfs / "folder/inner").mkdir(parents=True)
    (bundle.rootfs / "kept").mkdir()
    bundle.linux["maskedPaths"] = ["/secret", "/folder", "/none"]
    bundle.linux["readonlyPaths"] = ["/kept", "/none"]
    bundle.shell("cat /secret; ls /folder; touch /kept/x 2>/dev/null || echo refused; touch /free")
    assert pyrun.output(bundle) == "refused"


def test_a_path_that_is_named_twice_is_masked_once(pyrun: Runtime, bundle: Bundle) -> None:
    (bundle.rootfs / "folder").mkdir()
    bundle.linux["maskedPaths"] = ["/folder", "/folder"]
    bundle.shell("grep -c ' /folder ' /proc/self/mountinfo")
    assert pyrun.output(bundle) == "1"


def test_a_small_limit_of_files_is_the_program_s_and_not_that_of_its_mounts(
    pyrun: Runtime, bundle: Bundle
) -> None:
    bundle.linux["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        bundle.linux[kind] = [{"containerID": 0, "hostID": 200000, "size": 1000}]
    for number in range(30):  # each is held open until the root has changed
        bundle.mount(f"/data/{number}", type="bind", source="/usr", options=["bind", "ro"])
    bundle.config["root"]["readonly"] = False
    (bundle.rootfs / "data").mkdir(mode=0o777)
    (bundle.rootfs / "data").chmod(0o777)
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 20, "hard": 20}]
    bundle.shell("ulimit -n; ulimit -Hn; ls /data | grep -c .")
    assert pyrun.output(bundle).split() == ["20", "20", "30"]


def test_root_is_read_only(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.shell("touch /tmp/x 2>/dev/null || echo refused; touch /dev/shm/x && echo made")
    assert pyrun.output(bundle) == "refused\nmade"


def test_no_pivot_shows_the_same_root(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.shell("ls /; ls /..; cat /proc/self/mountinfo")
    text = pyrun.output(bundle, "--no-pivot")
    assert text.splitlines()[:6] == ["bin", "dev", "etc", "proc", "sys", "tmp"]
    assert text.splitlines()[6:12] == text.splitlines()[:6]


def options_of(mountinfo: str, target: str) -> tuple[set[str], str]:
    """The options of the topmost mount on ``target``, and its optional fields."""
    found = [line.split() for line in mountinfo.splitlines() if line.split()[4] == target][-1]
    return set(found[5].split(",")), found[6]


def test_mount_options_reach_the_kernel(pyrun: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").write_text("content")
    bundle.config["root"]["readonly"] = False
    source = str(tmp_path / "data")
    bundle.mount("/a", type="bind", source=source, options=["rbind", "ro", "nosuid", "noexec"])
    bundle.mount("/b", type="none", source=source, options=["bind", "nodev", "rshared"])
    bundle.mount("/c", type="tmpfs", source="tmpfs", options=["size=1m", "mode=1750", "noatime"])
    bundle.mount("/file", type="bind", source=f"{source}/file", options=["bind", "ro"])
    bundle.mount("/d", type="bind", source=source, options=["rbind", "rro"])
    bundle.shell("cat /file; echo; stat -c %a /c; cat /proc/self/mountinfo")
    content, mode, mountinfo = pyrun.output(bundle).split("\n", 2)
    assert (content, mode) == ("content", "1750")
    assert {"ro", "nosuid", "noexec"} <= options_of(mountinfo, "/a")[0]
    assert {"rw", "nodev"} <= options_of(mountinfo, "/b")[0]
    assert options_of(mountinfo, "/b")[1].startswith("shared:")
    assert {"rw", "noatime"} <= options_of(mountinfo, "/c")[0]
    assert "ro" in options_of(mountinfo, "/file")[0]
    assert "ro" in options_of(mountinfo, "/d")[0]


def test_tmpcopyup_starts_with_what_was_there(pyrun: Runtime, bundle: Bundle) -> None:
    (bundle.rootfs / "data/sub").mkdir(parents=True)
    (bundle.rootfs / "data/sub/file").write_text("content")
    (bundle.rootfs / "data/sub/file").chmod(0o604)
    os.chown(bundle.rootfs / "data/sub/file", 5, 6)
    os.symlink("sub/file", bundle.rootfs / "data/link")
    bundle.mount("/data", type="tmpfs", source="tmpfs", options=["tmpcopyup", "mode=755"])
    bundle.shell(
        "cat /data/link; echo; stat -c '%a %u %g' /data/sub/file; touch /data/new && echo n"
    )
    assert pyrun.output(bundle) == "content\n604 5 6\nn"


def test_a_missing_source_is_named(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.mount("/a", type="bind", source="/no/such/source", options=["bind"])
    assert "mount /no/such/source on /a: No such file or directory" in refused(pyrun, bundle)


def test_an_unknown_file_system_is_named(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.config["root"]["readonly"] = False
    bundle.mount("/a", type="nosuchfs", source="x")
    assert "mount nosuchfs on /a: No such device" in refused(pyrun, bundle)


def test_cgroup_mount_shows_the_container_only(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["cgroupsPath"] = f"/pyrun-test-{os.getpid()}"
    bundle.linux["resources"]["pids"] = {"limit": 33}
    bundle.shell("cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null; true")
    assert pyrun.output(bundle) == "33"
    bundle.linux["namespaces"] = [
        entry for entry in bundle.linux["namespaces"] if entry["type"] != "cgroup"
    ]
    assert pyrun.output(bundle) == "33"


def test_capabilities_of_all_five_sets(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.process["capabilities"] = {
        "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_SETUID"],
        "permitted": ["CAP_KILL", "CAP_CHOWN"],
        "effective": ["CAP_CHOWN"],
        "inheritable": ["CAP_KILL"],
        "ambient": ["CAP_KILL"],
    }
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.shell("grep Cap /proc/self/status")
    found = dict(line.split() for line in pyrun.output(bundle).splitlines())
    kill, bounding = 1 << 5, 1 << 5 | 1 << 0 | 1 << 7
    # after execve only the ambient ones are left to a user other than root
    assert {name: int(word, 16) for name, word in found.items()} == {
        "CapInh:": kill, "CapPrm:": kill, "CapEff:": kill, "CapBnd:": bounding, "CapAmb:": kill,
    }  # fmt: skip


def test_user_umask_groups_and_home(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.process["user"] = {"uid": 1000, "gid": 1001, "umask": 0o077, "additionalGids": [5, 6]}
    bundle.process["cwd"] = "/tmp"
    bundle.shell("id -u; id -g; id -G; umask; echo $HOME; pwd")
    assert pyrun.output(bundle).splitlines() == ["1000", "1001", "1001 5 6", "0077", "/tmp", "/tmp"]


def test_rlimits_and_oom_score(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]
    bundle.process["oomScoreAdj"] = 300
    bundle.shell("ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj")
    assert pyrun.output(bundle).split() == ["100", "200", "300"]


def test_no_new_privileges_and_seccomp(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
    }
    script = "grep -E 'NoNewPrivs|Seccomp:' /proc/self/status; mkdir /dev/shm/x 2>&1"
    for privileges in (True, False):
        bundle.process["noNewPrivileges"] = privileges
        bundle.shell(f"{script} || true")
        text = pyrun.output(bundle)
        assert text.split()[:4] == ["NoNewPrivs:", str(int(privileges)), "Seccomp:", "2"]
        assert "Operation not permitted" in text


def test_sysctl_of_a_namespace(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.msgmax": "1234"}
    bundle.shell("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax")
    assert pyrun.output(bundle).split() == ["1", "1234"]


def test_sysctl_of_the_host_is_refused(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["sysctl"] = {"kernel.panic": "1"}
    assert "/linux/sysctl" in refused(pyrun, bundle)


def test_a_missing_working_directory_is_made(pyrun: Runtime, bundle: Bundle) -> None:
    (bundle.rootfs / "link").symlink_to("/made/by/../through")
    bundle.process["cwd"] = "/link/below"
    bundle.shell("pwd -P")
    assert pyrun.output(bundle) == "/made/through/below"
    assert (bundle.rootfs / "made/through/below").is_dir()


def test_a_working_directory_that_cannot_be_made(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.process["cwd"] = "/proc/none"
    message = refused(pyrun, bundle)
    assert "change to the working directory /proc/none: No such file or directory" in message


def test_a_profile_that_cannot_be_enforced_is_refused(pyrun: Runtime, bundle: Bundle) -> None:
    if Path("/sys/kernel/security/apparmor").exists():
        pytest.skip("this kernel has AppArmor")
    bundle.process["apparmorProfile"] = "some-profile"
    assert "/process/apparmorProfile" in refused(pyrun, bundle)


def test_session_keyring_is_the_containers(pyrun: Runtime, bundle: Bundle) -> None:
    """Init's and that of whoever enters; neither is the caller's (keyctl(2), GET_KEYRING_ID)."""
    which = f"import ctypes; print(ctypes.CDLL(None).syscall({syscalls._KEYCTL}, 0, -3, 0))"
    python = ["/usr/bin/python3", "-I", "-u", "-c"]
    bundle.host_python()
    bundle.process["args"] = [*python, f"{which}; import time; time.sleep(1000)"]
    bundle.linux["maskedPaths"] = []
    bundle.save()
    name = pyrun.new_id()
    words = pyrun.command("run", "-b", str(bundle.path), name)
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as running:
        try:
            assert running.stdout
            serial = int(running.stdout.readline())
            keys = pyrun.call("exec", name, "cat", "/proc/keys").stdout.splitlines()
            (line,) = [one for one in keys if f" _ses.{name}:" in one]
            assert line.startswith(f"{serial:08x} ")
            assert pyrun.call("exec", name, *python, which).stdout == f"{serial}\n"
        finally:
            pyrun.call("kill", name, "KILL")


def test_spec_writes_a_config_that_runs(pyrun: Runtime, bundle: Bundle) -> None:
    assert pyrun.call("spec", "--bundle", str(bundle.path)).returncode == 0
    again = pyrun.call("spec", "--bundle", str(bundle.path))
    assert (again.returncode, "File exists" in again.stderr) == (1, True)
    words = pyrun.command("run", "-b", str(bundle.path), pyrun.new_id())
    done = subprocess.run(
        words, check=False, input="exit 3\n", capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 3, done.stderr


def test_without_selinux_a_mount_label_is_a_warning_and_a_process_label_an_error(
    pyrun: Runtime, bundle: Bundle
) -> None:
    if os.path.exists("/sys/fs/selinux/enforce"):
        pytest.skip("this kernel has SELinux")
    bundle.linux["mountLabel"] = "system_u:object_r:container_file_t:s0:c1,c2"
    bundle.shell("grep -c context= /proc/self/mountinfo")
    done = pyrun.run(bundle)
    assert done.stdout == "0\n"
    assert "level=warning" in done.stderr
    assert "/linux/mountLabel: this kernel has no SELinux" in done.stderr
    bundle.process["selinuxLabel"] = "system_u:system_r:container_t:s0:c1,c2"
    assert "/process/selinuxLabel: label 'system_u" in refused(pyrun, bundle)
