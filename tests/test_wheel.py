"""What is published.

The distributions hold what they should, and the wheel works in an environment that has nothing
else.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.source import PACKAGE, ROOT

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(1200)]

EDITABLE = (
    "import sys; from hatchling.build import build_editable; print(build_editable(sys.argv[1]))"
)


def run(*command: str | Path, cwd: Path) -> str:
    """Return the standard output of a command that has to succeed."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


def files_below(folder: Path) -> set[str]:
    """Paths relative to the folder, without what Python and the desktop leave behind."""
    paths = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {
        path.as_posix()
        for path in paths
        if "__pycache__" not in path.parts and path.name != ".DS_Store"
    }


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the source distribution and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    (path,) = distributions.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folder of the programs of an environment that holds the wheel and what it requires, nothing
    else; it is large, so it goes again.
    """
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder, cwd=folder)
    programs = folder / "bin"
    run(
        programs / "python",
        "-m",
        "pip",
        "install",
        "-q",
        "--no-compile",
        "-c",
        ROOT / "constraints.txt",
        f"{wheel}[starter]",
        cwd=folder,
    )
    yield programs
    shutil.rmtree(folder)


def test_wheel_holds_the_package_and_conf(wheel: Path):
    package = {f"prefixbank/{path}" for path in files_below(PACKAGE)}
    conf = {f"prefixbank/conf/{path}" for path in files_below(ROOT / "conf")}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == package | conf


def test_wheel_holds_the_license(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        (license_file,) = (name for name in archive.namelist() if name.endswith("licenses/LICENSE"))
        assert archive.read(license_file) == (ROOT / "LICENSE").read_bytes()


def test_source_distribution_holds_conf_and_tests(distributions: Path):
    (path,) = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    expected = {
        f"{folder}/{name}" for folder in ("conf", "tests") for name in files_below(ROOT / folder)
    }
    assert expected <= held, sorted(expected - held)


def test_editable_install_copies_nothing(tmp_path: Path):
    name = run(sys.executable, "-c", EDITABLE, tmp_path, cwd=ROOT).split()[-1]
    with zipfile.ZipFile(tmp_path / name) as archive:
        assert [held for held in archive.namelist() if ".dist-info/" not in held] == [
            "_prefixbank.pth"
        ]


def test_installed_package_is_the_wheel(installed: Path, tmp_path: Path):
    where = run(
        installed / "python", "-c", "import prefixbank; print(prefixbank.__file__)", cwd=tmp_path
    )
    assert Path(where.strip()).is_relative_to(installed.parent)


def test_installed_command_shows_help(installed: Path, tmp_path: Path):
    assert "train-prefix" in run(installed / "prefixbank", "--help", cwd=tmp_path)


def test_installed_command_finds_the_packaged_conf(installed: Path, tmp_path: Path):
    said = run(installed / "prefixbank", "config", "check", cwd=tmp_path)
    assert said.strip()


def test_installed_requirements_agree(installed: Path, tmp_path: Path):
    assert "No broken requirements" in run(installed / "python", "-m", "pip", "check", cwd=tmp_path)
