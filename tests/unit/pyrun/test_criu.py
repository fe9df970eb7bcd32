from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrun.container import criu_service
from pyrun.errors import ContainerError
from pyrun.linux import criu


def test_a_number_is_written_with_its_field_in_front() -> None:
    assert criu.encode("request", {"type": criu.VERSION}) == b"\x08\x0a"


def test_a_message_in_a_message_has_its_length_in_front() -> None:
    request = {"type": criu.DUMP, "opts": {"images_dir_fd": 300, "log_file": "a"}}
    assert criu.encode("request", request) == b"\x08\x01\x12\x06\x08\xac\x02\x52\x01a"


def test_a_negative_number_takes_ten_bytes() -> None:
    data = criu.encode("options", {"images_dir_fd": -1})
    assert data == b"\x08" + b"\xff" * 9 + b"\x01"
    assert criu.decode("options", data) == {"images_dir_fd": -1}


def test_a_list_is_a_repeated_field() -> None:
    options = {"external": ["a", "b"], "ext_mnt": [{"key": "k", "val": "v"}]}
    data = b"\xaa\x02\x01a\xaa\x02\x01b" + b"\xba\x01\x06\x0a\x01k\x12\x01v"
    assert criu.encode("options", options) == data


def test_a_response_is_read_with_what_is_in_it() -> None:
    data = b"\x08\x06\x10\x01\x2a\x0a\x0a\x06resume\x10\x07"
    notify = {"script": "resume", "pid": 7}
    assert criu.decode("response", data) == {"type": 6, "success": 1, "notify": notify}


def test_fields_that_nobody_asked_for_are_skipped() -> None:
    unknown = b"\xf8\x07\x05" + b"\xf9\x07" + bytes(8) + b"\xfa\x07\x02ab" + b"\xfd\x07" + bytes(4)
    assert criu.decode("response", unknown + b"\x08\x01") == {"type": 1}


@pytest.mark.parametrize("data", [b"\x08", b"\x08\x80", b"\x4a\x05abc", b"\x0b", b"\x0a\x01a"])
def test_a_damaged_response_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut off|type"):
        criu.decode("response", data)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_response_or_an_error(data: bytes) -> None:
    try:
        found = criu.decode("response", data)
    except ValueError:
        return
    assert set(found) <= {
        "type", "success", "restore", "notify", "cr_errno", "features", "cr_errmsg", "version",
    }  # fmt: skip


def test_a_missing_criu_is_reported_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ContainerError, match=r"/no/criu \(--criu\) is not there"):
        criu_service.find("/no/criu")
    monkeypatch.setattr("pyrun.names.environment", lambda _: "/no/where:/nor/here")
    with pytest.raises(ContainerError, match=r"\$PATH \(/no/where:/nor/here\): install CRIU"):
        criu_service.find("criu")
