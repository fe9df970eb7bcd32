from __future__ import annotations

import pytest

from pyengine.images import platforms


@pytest.mark.parametrize(
    ("found", "wanted", "fits"),
    [
        ({"os": "linux", "architecture": "arm64"}, "linux/arm64", True),
        ({"os": "linux", "architecture": "arm64", "variant": "v8"}, "linux/arm64", True),
        ({"os": "linux", "architecture": "arm64"}, "linux/arm64/v8", True),
        ({"os": "linux", "architecture": "arm", "variant": "v6"}, "linux/arm/v7", False),
        ({"os": "linux", "architecture": "s390x"}, "linux/arm64", False),
        ({"os": "freebsd", "architecture": "arm64"}, "linux/arm64", False),
        ({}, "linux/arm64", False),
    ],
)
def test_an_image_for_another_platform_is_told(
    capsys: pytest.CaptureFixture[str], found: dict[str, str], wanted: str, fits: bool
) -> None:
    platforms.warn_unless_fits(found, wanted)
    message = f"image platform ({'/'.join(found.values())}) does not match the expected platform"
    assert (f"{message} ({wanted})" in capsys.readouterr().err) is not fits


def test_this_machine_is_what_is_wanted_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    system, architecture = platforms.host().split("/")
    platforms.warn_unless_fits({"os": system, "architecture": architecture}, None)
    assert capsys.readouterr().err == ""
    platforms.warn_unless_fits({"os": system, "architecture": "pdp11"}, None)
    assert f"(linux/pdp11) does not match the expected platform ({platforms.host()})" in (
        capsys.readouterr().err
    )
