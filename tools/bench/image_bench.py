"""Images: a Debian tree on its way in and out, and a store that holds many images."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from measuring import BIN, call, interleave, machine, report

CACHE = Path(os.environ.get("BENCH_CACHE") or Path.home() / ".cache" / "pyrun-bench")
SOURCES = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
BLOB_CACHE = Path("/var/lib/containers/cache")


def debian_tree() -> Path:
    """A minbase tree, made once with debootstrap from this machine's own mirror."""
    tree = CACHE / "minbase"
    if not tree.exists():
        text = "\n".join(path.read_text() for path in SOURCES if path.is_file())
        found = re.search(r"https?://\S+/debian(?=[\s/])", text)
        if found is None:
            sys.exit("bench: no Debian mirror in /etc/apt/sources.list*")
        CACHE.mkdir(parents=True, exist_ok=True)
        staged = CACHE / f"minbase.{os.getpid()}"
        command = ["debootstrap", "--variant=minbase", "bookworm", str(staged), found[0]]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        staged.rename(tree)
    return tree


def archive(layers: int) -> Path:
    """An oci-archive of the tree in so many layers of about the same size, made once."""
    path = CACHE / f"minbase-{layers}.oci.tar"
    if path.exists():
        return path
    tree = debian_tree()
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        blobs = Path(folder) / "blobs/sha256"
        blobs.mkdir(parents=True)
        diff_ids, descriptors = [], []
        for members in shares(tree, layers):
            tar = io.BytesIO()
            with tarfile.open(fileobj=tar, mode="w", format=tarfile.PAX_FORMAT) as writer:
                for member in members:
                    writer.add(member, str(member.relative_to(tree)), recursive=False)
            packed = gzip.compress(tar.getvalue(), 6, mtime=0)
            diff_ids.append(f"sha256:{hashlib.sha256(tar.getvalue()).hexdigest()}")
            descriptors.append(write_blob(blobs, packed, "layer.v1.tar+gzip"))
        config = {
            "architecture": ARCHITECTURE, "os": "linux", "config": {"Cmd": ["bash"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }  # fmt: skip
        entry = write_blob(blobs, json.dumps(config).encode(), "config.v1+json")
        manifest = {"schemaVersion": 2, "config": entry, "layers": descriptors}
        top = write_blob(blobs, json.dumps(manifest).encode(), "manifest.v1+json")
        index = {"schemaVersion": 2, "manifests": [top]}
        (Path(folder) / "index.json").write_text(json.dumps(index))
        (Path(folder) / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        names = ["oci-layout", "index.json", "blobs"]
        subprocess.run(["tar", "-C", folder, "-cf", f"{path}.new", *names], check=True)
    Path(f"{path}.new").rename(path)
    return path


def shares(tree: Path, count: int) -> list[list[Path]]:
    """The tree's entries in order, cut into shares of about the same number of bytes."""
    entries = [tree, *sorted(tree.rglob("*"))]
    sizes = [1024 + (one.lstat().st_size if one.is_file() else 0) for one in entries]
    limit = sum(sizes) / count
    cut: list[list[Path]] = [[]]
    filled = 0.0
    for entry, size in zip(entries, sizes, strict=True):
        if filled >= limit * len(cut) and len(cut) < count:
            cut.append([])
        cut[-1].append(entry)
        filled += size
    return cut


def write_blob(folder: Path, data: bytes, kind: str) -> dict[str, object]:
    """Write a blob under its digest; its descriptor."""
    digest = hashlib.sha256(data).hexdigest()
    (folder / digest).write_bytes(data)
    media_type = f"application/vnd.oci.image.{kind}"
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}


@contextlib.contextmanager
def registry(work: Path) -> Iterator[str]:
    """Debian's docker-registry on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = work / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {work}/r}}}}"
        f"\nhttp: {{addr: '127.0.0.1:{port}'}}\n"
    )
    words = ["docker-registry", "serve", str(config)]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while server.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def hide_blob_cache(work: Path) -> None:
    """Podman remembers blobs of registries machine-wide; here it begins with an empty memory."""
    if BLOB_CACHE.is_dir():
        (work / "cache").mkdir()
        subprocess.run(["mount", "--bind", str(work / "cache"), str(BLOB_CACHE)], check=True)


def timed(command: list[str]) -> float:
    """As ``call``, beginning with a quiet disk."""
    os.sync()
    return call(command)


def run(rounds: int, work: Path) -> None:
    """Pull, push, load and save by pyengine and podman; copies by pyengine's skopeo and skopeo."""
    programs = {"pyengine": str(BIN / "pyengine"), "podman": "podman", "skopeo": "skopeo"}
    one, ten = archive(1), archive(10)
    hide_blob_cache(work)
    plain = work / "docker.tar"
    call(["skopeo", "copy", f"oci-archive:{one}", f"docker-archive:{plain}:localhost/bench:1"])
    with registry(work) as host:
        for name, source in (("one", one), ("ten", ten)):
            call(["skopeo", "copy", "--dest-tls-verify=false", f"oci-archive:{source}",
                  f"docker://{host}/{name}:1"])  # fmt: skip

        def candidate(
            name: str, base: list[str], copier: list[str]
        ) -> Callable[[], dict[str, float]]:
            count = iter(range(1000))

            def once() -> dict[str, float]:
                number = next(count)
                out = work / "out"

                def clear() -> None:
                    call([*base, "rmi", "-af"])
                    for path in (work / "cache").glob("*"):
                        path.unlink()

                def pushed(kind: str) -> float:
                    to = f"docker://{host}/{name}-{kind}-{number}:1"
                    return timed([*base, "push", "-q", "--tls-verify=false", "x:1", to])

                def saved(form: str) -> float:
                    elapsed = timed([*base, "save", "-q", "--format", form, "-o", str(out), "x:1"])
                    out.unlink()
                    return elapsed

                def pulled(what: str) -> float:
                    return timed([*base, "pull", "-q", "--tls-verify=false", f"{host}/{what}:1"])

                clear()
                times = {"pull": pulled("one")}
                call([*base, "tag", f"{host}/one:1", "x:1"])
                for path in (work / "cache").glob("*"):
                    path.unlink()
                times["push"] = pushed("pulled")
                times["save oci-archive"] = saved("oci-archive")
                times["save docker-archive"] = saved("docker-archive")
                clear()
                times["load oci-archive"] = timed([*base, "load", "-q", "-i", str(one)])
                clear()
                times["load docker-archive"] = timed([*base, "load", "-q", "-i", str(plain)])
                call([*base, "tag", "localhost/bench:1", "x:1"])
                times["push what was loaded uncompressed"] = pushed("loaded")
                clear()
                times["pull of 10 layers"] = pulled("ten")
                clear()
                times["load of 10 layers"] = timed([*base, "load", "-q", "-i", str(ten)])
                clear()
                source = f"docker://{host}/one:1"
                words = [*copier, "copy", "--src-tls-verify=false", source, f"oci:{out}:x"]
                times["skopeo copy to a layout"] = timed(words)
                shutil.rmtree(out)
                return times

            return once

        pyengine = [programs["pyengine"], "--root", f"{work}/e", "--runroot", f"{work}/er"]
        podman = ["podman", "--root", f"{work}/p", "--runroot", f"{work}/pr"]
        candidates = {
            "pyengine": candidate("pyengine", pyengine, [programs["pyengine"], "skopeo"]),
            "podman": candidate("podman", podman, ["skopeo"]),
        }
        try:
            report("images", machine(programs), interleave(candidates, rounds), ["podman"])
        finally:
            for line in Path("/proc/self/mounts").read_text().splitlines():
                if line.split()[1].startswith(f"{work}/"):
                    subprocess.run(["umount", "-l", line.split()[1]], check=False)


def run_scale(images: int, rounds: int, work: Path) -> None:
    """``images``, ``image inspect`` and ``image exists`` of an empty and of a full store."""
    program = str(BIN / "pyengine")
    one = work / "one.tar"
    config = {"architecture": ARCHITECTURE, "os": "linux", "rootfs": {"diff_ids": []}}
    with tarfile.open(one, "w") as writer:
        entry = {"Config": "c.json", "RepoTags": ["localhost/known:1"], "Layers": []}
        for name, value in (("c.json", config), ("manifest.json", [entry])):
            data = json.dumps(value).encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            writer.addfile(info, io.BytesIO(data))
    bases = {name: [program, "--root", f"{work}/{name}", "--runroot", f"{work}/{name}-run"]
             for name in ("empty", "full")}  # fmt: skip
    for base in bases.values():
        call([*base, "load", "-q", "-i", str(one)])
    fill(work / "full", images)

    def candidate(base: list[str]) -> Callable[[], dict[str, float]]:
        return lambda: {
            "images": call([*base, "images"]),
            "images -q": call([*base, "images", "-q"]),
            "image inspect": call([*base, "image", "inspect", "known:1"]),
            "image exists": call([*base, "image", "exists", "known:1"]),
            "tag": call([*base, "tag", "known:1", "other:1"]),
        }

    candidates = {name: candidate(base) for name, base in bases.items()}
    facts = machine({"pyengine": program}) | {"images": images, "layers": images * 10}
    report("scale", facts, interleave(candidates, rounds), ["empty"])


def fill(root: Path, images: int) -> None:
    """Rows and files of images of ten layers each, as ``load`` would leave them."""
    database = sqlite3.connect(root / "pyengine.db")
    with database:
        for number in range(images):
            layers = [
                hashlib.sha256(f"{number}/{place}".encode()).hexdigest() for place in range(10)
            ]
            diff_ids = [f"sha256:{one}" for one in layers]
            config = {"architecture": ARCHITECTURE, "os": "linux", "config": {"Cmd": ["sh"]},
                      "rootfs": {"type": "layers", "diff_ids": diff_ids}}  # fmt: skip
            entry = write_blob(root / "blobs/sha256", json.dumps(config).encode(), "config.v1+json")
            identity = str(entry["digest"])[7:]
            listed = []
            for name in layers:
                (root / "layers" / name / "etc").mkdir(parents=True)
                listed.append(write_blob(root / "blobs/sha256", name.encode(), "layer.v1.tar"))
            manifest = {"schemaVersion": 2, "config": entry, "layers": listed}
            data = json.dumps(manifest).encode()
            top = write_blob(root / "blobs/sha256", data, "manifest.v1+json")
            blobs = [entry, top, *listed]
            database.executemany(
                "INSERT INTO blobs VALUES (?, ?, ?)",
                [(one["digest"], one["size"], one["mediaType"]) for one in blobs],
            )
            database.executemany(
                "INSERT INTO layers VALUES (?, 10240)", [(one,) for one in diff_ids]
            )
            now = time.time()
            database.execute(
                "INSERT INTO images VALUES (?, ?, ?, ?, ?, ?)",
                (identity, top["digest"], json.dumps(config), now, now, 102400),
            )
            database.executemany(
                "INSERT INTO image_layers VALUES (?, ?, ?)",
                [(identity, place, diff_id) for place, diff_id in enumerate(diff_ids)],
            )
            database.executemany(
                "INSERT INTO image_blobs VALUES (?, ?)",
                [(identity, one["digest"]) for one in blobs],
            )
            name = f"registry.example.com/team{number % 50}/app{number}:1"
            database.execute("INSERT INTO names VALUES (?, ?)", (name, identity))
    database.close()
