"""The project file `prefixbank.yaml`: defaults for the commands that are run in a folder.

A flag comes before an environment variable, that before the project file, and that before what is
built in. The file is looked for in the working folder and in those above it, up to the user's home
folder, or outside of it up to the root; the nearest one counts. Paths in it start from its folder.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from prefixbank import env
from prefixbank.errors import PrefixbankError, UsageError, did_you_mean, raise_faults

FILE: Final = "prefixbank.yaml"
KEYS: Final = ("conf_dir", "data_root", "encoder", "store")
"""What the file may set: folders, and the name of an encoder."""
BUILT_IN: Final = "built in"


@dataclass(frozen=True, kw_only=True)
class Project:
    """The contents of a project file; without `file` there is none."""

    file: Path | None = None
    values: dict[str, str] = field(default_factory=dict)

    def path(self, key: str) -> Path | None:
        """Return a path that the file sets, absolute."""
        if self.file is None or key not in self.values:
            return None
        return self.file.parent / Path(self.values[key]).expanduser()

    @property
    def defaults(self) -> dict[str, str]:
        """Defaults of settings of commands, by their names."""
        root = self.path("data_root")
        encoder = self.values.get("encoder")
        return {
            **({"encoder": encoder} if encoder else {}),
            **({"run.data_root": str(root)} if root else {}),
        }


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A folder, None if there is none, and where it was chosen: a flag, a variable or a file."""

    path: Path | None
    origin: str


def read_project() -> Project:
    """Read the project file of the working folder.

    Raises:
        UsageError: it cannot be read, or sets something else; all faults at once.
    """
    file = _nearest(Path.cwd())
    if file is None:
        return Project()
    from yaml import YAMLError, safe_load

    try:
        values = safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        reason = " ".join(str(error).split())
        raise _fault(f"{file} cannot be read: {reason}", fix=f"correct {file}") from error
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise _fault(f"{file} holds no settings", fix=f"encoder: NAME    in {file}")
    raise_faults([fault for key, value in values.items() if (fault := _wrong(file, key, value))])
    return Project(file=file, values=values)


def store_folder(flag: str | Path | None = None) -> Chosen:
    """Return the folder of the store, which need not exist.

    Args:
        flag: value of `--store`.
    """
    project = read_project()
    path = env.store_root(flag, default=project.path("store"))
    if flag:
        return Chosen(path=path, origin="--store")
    origin = env.STORE_VARIABLE if env.is_set(env.STORE_VARIABLE) else _in_file(project, "store")
    return Chosen(path=path, origin=origin)


def store_root(flag: str | Path | None = None) -> Path:
    """Return the folder of the store; see `store_folder`."""
    path = store_folder(flag).path
    assert path is not None
    return path


def conf_folder(flag: Path | None = None) -> Chosen:
    """Return the user's folder of YAML files.

    Args:
        flag: value of `--conf-dir`.

    Raises:
        UsageError: a variable or a file names something that is no folder.
    """
    if flag is not None:
        return Chosen(path=flag, origin="--conf-dir")
    project = read_project()
    named = env.conf_dir()
    chosen = (
        Chosen(path=named, origin=env.CONF_VARIABLE)
        if named
        else Chosen(path=project.path("conf_dir"), origin=_in_file(project, "conf_dir"))
    )
    if chosen.path is not None and not chosen.path.is_dir():
        raise UsageError(
            f"conf_dir {chosen.path} is not a folder (set by {chosen.origin})",
            expected="a folder with your own YAML files (task/, encoder/, experiment/ ...)",
            fix=f"correct {chosen.origin}    or give another folder: --conf-dir PATH",
        )
    return chosen


def conf_dir(flag: Path | None = None) -> Path | None:
    """Return the user's folder of YAML files, None if there is none; see `conf_folder`."""
    return conf_folder(flag).path


def _nearest(folder: Path) -> Path | None:
    """Return the project file in a folder, or in the nearest one above it."""
    home = Path.home()
    for above in (folder, *folder.parents):
        if (above / FILE).is_file():
            return above / FILE
        if above == home:
            return None
    return None


def _in_file(project: Project, key: str) -> str:
    return str(project.file) if key in project.values else BUILT_IN


def _wrong(file: Path, key: object, value: object) -> PrefixbankError | None:
    """Return what is wrong with a line of the file, if anything is."""
    if key not in KEYS:
        suggestion = did_you_mean(str(key), KEYS)
        return _fault(f"unknown setting '{key}' in {file}{suggestion}", fix=f"remove '{key}'")
    if not isinstance(value, str) or not value:
        return _fault(f"{key} = {value!r} in {file}", fix=f"{key}: TEXT    or remove it")
    return None


def _fault(what: str, *, fix: str) -> UsageError:
    return UsageError(what, expected=f"lines KEY: TEXT with {', '.join(KEYS)}", fix=fix)
