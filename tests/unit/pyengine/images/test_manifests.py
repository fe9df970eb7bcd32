from __future__ import annotations

import json
from typing import Any

import pytest

from pyengine.errors import ArchiveError
from pyengine.images import manifests
from pyengine.images.manifests import Manifest

DIGEST = "sha256:" + "a" * 64
BLOB = {"mediaType": "x", "digest": DIGEST, "size": 1}


def encode(value: object) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"schemaVersion": 1}, "/schemaVersion: 1, not 2"),
        ({"config": None}, "/config: not a JSON object"),
        ({"config": {**BLOB, "digest": "md5:1"}}, "/config/digest: 'md5:1' is not"),
        ({"config": {**BLOB, "size": "1"}}, "/config/size: '1' is not"),
        ({"config": {**BLOB, "size": -1}}, "/config/size: -1 is not"),
        ({"layers": {}}, "/layers: not a list"),
        ({"layers": [BLOB, {**BLOB, "size": True}]}, "/layers/1/size: True is not"),
        ({"layers": [BLOB] * 501}, "501 layers, at most 500"),
    ],
)
def test_a_wrong_manifest_is_told_by_pointer(change: dict[str, Any], problem: str) -> None:
    value = {"schemaVersion": 2, "config": BLOB, "layers": [BLOB], **change}
    with pytest.raises(ArchiveError) as caught:
        Manifest(encode(value), "", "m: ")
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("given", "own", "fits"),
    [
        ("application/x-thing", "", False),
        ("", "application/x-thing", False),
        ("application/x-thing", "application/x-other", False),
        ("application/x-thing", manifests.OCI_MANIFEST, True),
        (manifests.DOCKER_MANIFEST, "application/x-thing", True),
        ("text/plain", "", True),
        ("", "", True),
    ],
)
def test_somebody_must_know_what_the_document_is(given: str, own: str, fits: bool) -> None:
    fields = {"schemaVersion": 2, "mediaType": own, "config": BLOB, "layers": []}
    if fits:
        assert Manifest(encode(fields), given, "m").layers == []
        return
    with pytest.raises(ArchiveError, match="m: unknown media type 'application/x-thing': an image"):
        Manifest(encode(fields), given, "m")


@pytest.mark.parametrize("key", ["manifests", "fsLayers", "history"])
def test_a_manifest_that_is_also_something_else_is_refused(key: str) -> None:
    """CVE-2021-41190: two readers would see two images."""
    fields = {"schemaVersion": 2, "config": BLOB, "layers": [], key: []}
    with pytest.raises(ArchiveError, match=f"m: ambiguous manifest: it also has {key}"):
        Manifest(encode(fields), manifests.OCI_MANIFEST, "m")
    index = {"schemaVersion": 2, "manifests": [], "config": BLOB, "layers": []}
    with pytest.raises(ArchiveError, match="i: ambiguous manifest: it also has config, layers"):
        manifests.index_entries(encode(index), "i")


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[]", b"1", b"9" * 5000])
def test_what_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(ArchiveError):
        Manifest(data, "", "m")


def test_a_long_manifest_is_refused_unread() -> None:
    with pytest.raises(ArchiveError, match="longer than"):
        manifests.parse(b" " * (manifests.MAX_BYTES + 1), "m")


@pytest.mark.parametrize(
    ("key", "value"),
    [("Env", "A=1"), ("Cmd", [1]), ("Entrypoint", {}), ("User", 0), ("WorkingDir", []),
     ("Labels", {"a": 1}), ("Volumes", [])],
)  # fmt: skip
def test_a_config_value_of_a_wrong_type_is_refused(key: str, value: object) -> None:
    config = {"rootfs": {"diff_ids": [DIGEST]}, "config": {key: value}}
    with pytest.raises(ArchiveError, match=f"/config/{key}: .* has the wrong type"):
        manifests.check_config(encode(config), "c")


def test_a_config_without_settings_is_fine() -> None:
    config = {"rootfs": {"diff_ids": None}, "config": None}
    assert manifests.check_config(encode(config), "c") == config


def test_the_variant_of_a_platform_may_be_left_out() -> None:
    entries = [
        manifests.Descriptor({**BLOB, "platform": fields}, "i")
        for fields in (
            {"os": "linux", "architecture": "amd64"},
            {"os": "linux", "architecture": "arm", "variant": "v6"},
            {"os": "linux", "architecture": "arm", "variant": "v7"},
        )
    ]
    assert manifests.choose_platform(entries, "linux/arm", "i") is entries[1]
    assert manifests.choose_platform(entries, "linux/arm/v7", "i") is entries[2]
    assert manifests.choose_platform(entries, "linux/arm/v8", "i") is entries[2]  # it runs older
    for wanted in ("linux/s390x", "linux/arm/v5", "linux/amd64/v2", "linux"):
        if wanted == "linux":
            assert manifests.choose_platform(entries, wanted, "i") is entries[0]
            continue
        with pytest.raises(ArchiveError, match=f"no image for {wanted}; it has linux/amd64, "):
            manifests.choose_platform(entries, wanted, "i")
    plain = manifests.Descriptor(
        {**BLOB, "platform": {"os": "linux", "architecture": "arm64"}}, "i"
    )
    assert manifests.choose_platform([*entries, plain], "linux/arm64/v8", "i") is plain


@pytest.mark.parametrize(
    ("created", "seconds"),
    [("1970-01-01T00:01:00Z", 60.0), ("1970-01-01T01:01:00.5+01:00", 60.5), ("", 0.0),
     ("0001-01-01T00:00:00Z", 0.0), ("soon", 0.0), ("2024-05-06T07:08:09.123456789Z",
                                                    1714979289.123456)],
)  # fmt: skip
def test_the_time_of_creation_is_read(created: str, seconds: float) -> None:
    assert manifests.created_at({"created": created}) == seconds


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"history": "x"}, "/history: not a list"),
        ({"history": [1]}, "/history/0: not a JSON object"),
        ({"history": [{}, {"created": 5}]}, "/history/1/created: not a string"),
        ({"history": [{"comment": [1]}]}, "/history/0/comment: not a string"),
        ({"author": 5}, "/author: not a string"),
    ],
)
def test_what_describes_an_image_is_checked_too(change: dict[str, Any], place: str) -> None:
    config = {"rootfs": {"diff_ids": [DIGEST]}, "history": [{"created_by": "x"}], **change}
    with pytest.raises(ArchiveError, match=place):
        manifests.check_config(encode(config), "c")
