"""Each program is installed alone, with the tools people use, and starts without site."""

from __future__ import annotations

import re
import sys
import venv
from pathlib import Path

import pytest

from support.peers import run

TOP = Path(__file__).resolve().parents[2]
DISTRIBUTIONS = {"pyrun": "runtime", "pyconmon": "conmon", "pyengine": "engine"}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels of the three distributions and of what they depend on."""
    folder = tmp_path_factory.mktemp("wheels")
    sources = [str(TOP / name) for name in DISTRIBUTIONS.values()]
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-build-isolation"]
    run(*pip, "--wheel-dir", folder, *sources)
    return folder


def starts_alone(program: Path, name: str) -> None:
    """It prints its version, and the file that starts Python is the isolated launcher."""
    assert re.search(rf"\b{name} (version )?0\.\d+\.\d+", run(program, "--version"))
    assert " -I -S " in program.resolve().read_text()


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_pip_installs_one_program_into_a_fresh_environment(
    name: str, wheels: Path, tmp_path: Path
) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python3"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-index"]
    run(*pip, "--find-links", wheels, name)
    starts_alone(tmp_path / "venv" / "bin" / name, name)
    for other in set(DISTRIBUTIONS) - {name}:
        probe = f"import importlib.util as u; assert u.find_spec('{other}') is None"
        run(python, "-c", probe)


def test_code_that_was_compiled_before_a_change_is_not_executed(
    wheels: Path, tmp_path: Path
) -> None:
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index"]
    run(*pip, "--find-links", wheels, "--target", tmp_path, "pyrun")
    program, main = tmp_path / "bin" / "pyrun", tmp_path / "pyrun" / "__main__.py"
    assert run(program, "--version").startswith("pyrun version")
    main.write_text('print("changed")\n')
    assert run(program, "--version") == "changed\n"


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_program_works_from_a_target_folder_and_through_a_symlink(
    name: str, wheels: Path, tmp_path: Path
) -> None:
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--target"]
    run(*pip, tmp_path / "target", "--find-links", wheels, name)
    starts_alone(tmp_path / "target" / "bin" / name, name)
    link = tmp_path / "link"
    link.symlink_to(Path("target") / "bin" / name)
    starts_alone(link, name)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_uv_tool_install(name: str, wheels: Path, tmp_path: Path) -> None:
    uv = Path(sys.executable).parent / "uv"
    folders = {
        "UV_TOOL_DIR": str(tmp_path / "tools"),
        "UV_TOOL_BIN_DIR": str(tmp_path / "bin"),
        "UV_CACHE_DIR": str(tmp_path / "cache"),
    }
    install = [str(uv), "tool", "install", "-q", "--no-config", "--no-index"]
    run(*install, "--find-links", wheels, "--python", sys.executable, name, **folders)
    starts_alone(tmp_path / "bin" / name, name)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_pipx_install(name: str, wheels: Path, tmp_path: Path) -> None:
    folders = {
        "PIPX_HOME": str(tmp_path / "pipx"),
        "PIPX_BIN_DIR": str(tmp_path / "bin"),
        "UV_CACHE_DIR": str(tmp_path / "cache"),  # which pipx takes where there is uv
    }
    pipx = [sys.executable, "-m", "pipx", "install", "-q", "--python", sys.executable]
    run(*pipx, f"--pip-args=--no-index --find-links={wheels}", name, **folders)
    starts_alone(tmp_path / "bin" / name, name)
