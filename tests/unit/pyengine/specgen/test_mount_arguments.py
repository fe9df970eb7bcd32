from __future__ import annotations

from pathlib import Path

import pytest

from pyengine.errors import ConfigError
from pyengine.specgen import mount_arguments, mount_options


def test_a_bind_mounts_keys_become_options() -> None:
    (found,) = mount_arguments.parse(
        "type=bind,source=/s,destination=/d,readonly,bind-propagation=rshared,bind-nonrecursive,"
        "relabel=private,chown=true,noexec=true"
    ).volumes
    assert (found["source"], found["name"], found["destination"]) == ("/s", "", "/d")
    assert found["options"] == ["ro", "noexec", "rshared", "bind"]
    assert (found["relabel"], found["chown"]) == ("Z", True)
    (found,) = mount_arguments.parse('type=bind,"src=/a,b",dst=/d,rw=false,U=false').volumes
    assert found["source"] == "/a,b"
    assert found["options"] == ["ro", "rprivate", "rbind"]
    assert "chown" not in found
    (found,) = mount_arguments.parse(
        "type=bind,src=/s,dst=/d,no-dereference,idmap=uids=0-1-2"
    ).volumes
    assert {"copy-symlink", "idmap=uids=0-1-2"} <= set(found["options"])


def test_a_volume_may_have_no_name_and_a_part() -> None:
    (found,) = mount_arguments.parse("type=volume,target=/d,nocopy,ro=true").volumes
    assert (found["name"], found["anonymous"], found["copy"]) == ("", True, False)
    assert {"ro", "nosuid", "nodev"} <= set(found["options"])
    (found,) = mount_arguments.parse("type=volume,src=v,target=/d,volume-subpath=a/b").volumes
    assert (found["name"], found["subpath"]) == ("v", "a/b")


def test_tmpfs_and_the_containers_own_file_systems() -> None:
    found = mount_arguments.parse(
        "type=tmpfs,dst=/d,tmpfs-size=1m,tmpfs-mode=700,noswap,notmpcopyup"
    )
    assert found.tmpfs == {
        "/d": ["size=1m", "mode=700", "noswap", "rw", "rprivate", "nosuid", "nodev"]
    }
    (ramfs,) = mount_arguments.parse("type=ramfs,dst=/d,U").volumes
    assert (ramfs["kind"], ramfs["chown"]) == ("ramfs", True)
    (devpts,) = mount_arguments.parse("type=devpts,dst=/d,uid=1,gid=2,mode=620,max=3").volumes
    assert devpts["options"] == ["uid=1", "gid=2", "mode=620", "max=3"]
    (image,) = mount_arguments.parse("type=image,src=box,dst=/d,subpath=/in/it").volumes
    assert (image["kind"], image["source"], image["subpath"]) == ("image", "box", "in/it")
    assert image["options"][0] == "ro"


def test_a_glob_is_a_mount_for_each_path(tmp_path: Path) -> None:
    for name in ("a1", "a2", "b"):
        (tmp_path / name).touch()
    found = mount_arguments.parse(f"type=glob,src={tmp_path}/a*,dst=/d/,ro").volumes
    assert [(one["source"], one["destination"]) for one in found] == [
        (f"{tmp_path}/a1", "/d/a1"), (f"{tmp_path}/a2", "/d/a2"),
    ]  # fmt: skip
    found = mount_arguments.parse(f"type=glob,src={tmp_path}/b").volumes
    assert found[0]["destination"] == f"{tmp_path}/b"


@pytest.mark.parametrize(
    "text",
    [
        "dst=/d", "type=none,dst=/d", "type=bind,src=/s", "type=bind,src=/s,dst=d",
        "type=bind,src=/s,dst=/d,what", "type=bind,src=/s,dst=/d,ro,rw", "type=bind,src,dst=/d",
        "type=bind,src=/s,dst=/d,ro=perhaps", "type=bind,src=/s,dst=/d,bind-propagation=up",
        "type=bind,src=/s,dst=/d,relabel=x", "type=bind,src=/s,dst=/d,subpath=x",
        "type=volume,src=/s,dst=/d", "type=volume,src=v,dst=/d,subpath=../x",
        "type=volume,src=bad^name,dst=/d", "type=tmpfs,dst=/d,src=/s", "type=tmpfs,dst=/",
        "type=tmpfs,dst=/d,tmpfs-size=much", "type=tmpfs,dst=/d,tmpcopyup,notmpcopyup",
        "type=ramfs,dst=/d,tmpfs-size=1m", "type=ramfs,dst=/d,noswap", "type=image,dst=/d",
        "type=devpts,dst=/d,mode=9", "type=devpts,dst=/d,uid=-1", "type=glob,dst=/d",
        "type=glob,src=/no/such*,dst=/d",
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="--mount "):
        mount_arguments.parse(text)


def test_an_overlay_may_have_directories_of_the_users() -> None:
    found = mount_options.volume("/s:/d:O,upperdir=/u,workdir=/w")
    assert found["overlay"] == {"upperdir": "/u", "workdir": "/w"}
    assert found["options"] == ["rw", "rprivate", "rbind"]
    assert mount_options.volume("v:/d:O,U")["overlay"] == {}


def test_a_colon_in_a_path_is_escaped() -> None:
    found = mount_options.volume(r"/a\:b:/c\:d:ro")
    assert (found["source"], found["destination"]) == ("/a:b", "/c:d")


def test_volumes_from_takes_access_alone() -> None:
    assert mount_options.volumes_from("box") == ("box", "")
    assert mount_options.volumes_from("box:z,ro") == ("box", "ro")
    for text in ("box:ro,rw", "box:noexec"):
        with pytest.raises(ConfigError, match="--volumes-from"):
            mount_options.volumes_from(text)
