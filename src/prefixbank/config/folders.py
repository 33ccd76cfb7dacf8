"""The folders of YAML files: prefixbank's own, and a user's with the same layout."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from prefixbank.errors import PrefixbankError, UsageError, raise_faults
from prefixbank.names import check_utf8

_PACKAGE_LINE = re.compile(r"\s*#\s*@package\b")


def conf_root() -> Path:
    """Return the folder of YAML files that come with prefixbank.

    It is `conf/` of a checkout, else the copy in the package.

    Raises:
        PrefixbankError: neither exists.
    """
    source = Path(__file__).resolve().parents[2]
    checkout = source.parent / "conf"
    if source.name == "src" and (checkout / "train_prefix.yaml").is_file():
        return checkout
    packaged = Path(str(resources.files("prefixbank"))) / "conf"
    if not packaged.is_dir():
        raise PrefixbankError(
            f"prefixbank's YAML files are not at {packaged}",
            expected="a complete installation",
            fix="pip install --force-reinstall prefixbank",
        )
    return packaged


def folders(conf_dir: Path | None) -> list[Path]:
    """Return the folders to search: prefixbank's own, then the user's if there is one.

    Raises:
        UsageError: the user's folder is missing, has no group, or contains files that Hydra would
            silently ignore.
    """
    root = conf_root()
    if conf_dir is None:
        return [root]
    check_utf8("--conf-dir", str(conf_dir))
    user = conf_dir.expanduser().resolve()
    names = _group_names(root)
    if not any((user / name).is_dir() for name in names):
        raise UsageError(
            f"--conf-dir {conf_dir} "
            + ("has none of the group folders" if user.is_dir() else "is not a folder"),
            expected=f"a folder with one or more of: {', '.join(f'{name}/' for name in names)}",
            fix=f"mkdir -p {user}/task    and put the YAML files there",
        )
    raise_faults(_user_faults(root, user, names))
    return [root, user]


def groups(conf_dir: Path | None = None) -> dict[str, list[str]]:
    """Return the options of each group, sorted: `{"encoder": ["bank", "bert_base", ...], ...}`."""
    searched = folders(conf_dir)
    return {
        name: sorted(file.stem for folder in searched for file in (folder / name).glob("*.yaml"))
        for name in _group_names(searched[0])
    }


def option_file(group: str, option: str, conf_dir: Path | None) -> Path | None:
    """Return the file of a group's option, or `None`."""
    files = [folder / group / f"{option}.yaml" for folder in folders(conf_dir)]
    return next((file for file in files if file.is_file()), None)


def _group_names(root: Path) -> list[str]:
    return sorted(folder.name for folder in root.iterdir() if folder.is_dir())


def _user_faults(root: Path, user: Path, names: list[str]) -> list[UsageError]:
    files = sorted(
        file
        for folder in [user, *(user / name for name in names)]
        for file in folder.glob("*.y*ml")
    )
    return [
        fault
        for file in files
        if (fault := _file_fault(file, root / file.relative_to(user), in_group=file.parent != user))
    ]


def _file_fault(file: Path, own: Path, *, in_group: bool) -> UsageError | None:
    """Return the error for a user's file that Hydra would silently ignore, or None."""
    if own.is_file():
        what, expected, fix = (
            f"{file} and {own} have the same name",
            "each option in one place",
            f"rename {file}, and use its new name",
        )
    elif in_group and file.suffix == ".yml":
        what, expected, fix = (
            f"{file} would not be read",
            "names that end in .yaml",
            f"mv {file} {file.with_suffix('.yaml')}",
        )
    elif in_group and _package_line_is_late(file):
        what, expected, fix = (
            f"'# @package' in {file} would not be read",
            "it is the first line",
            f"move it to the first line of {file}",
        )
    else:
        return None
    return UsageError(what, expected=expected, fix=fix)


def _package_line_is_late(file: Path) -> bool:
    lines = [
        line
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.strip()
    ]
    return any(_PACKAGE_LINE.match(line) for line in lines[1:])
