"""What a `KEY=VALUE` word may become: names of settings, choices, refs, tasks and paths.

Shells ask for it at each press of the tab key, so nothing heavy is imported.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from prefixbank.artifacts.encoder import KINDS
from prefixbank.commands.table import Command
from prefixbank.config.folders import groups
from prefixbank.config.settings import alternatives, full_names, hint_at, names_at, written
from prefixbank.store.store import Store

REFS = {
    "bank": "bank",
    "embeddings": "embeddings",
    "heads": "probe",
    "prefixes": "prefix",
    "sources": "prefix",
    "prefix.init": "prefix",
    "of": "bank",
}
"""Kind of the refs that a setting may name."""
ENCODERS = ("bank", "teacher", "of")
"""Settings that may name a fine-tuned encoder, by its whole ref."""
TASKS = ("tasks", "task.mixture", "experiment.sources", "experiment.targets")
"""Settings that name tasks of the task group."""
PATHS = ("path", "data_root", "folder", "tracker_dir")
"""Last names of the settings that take a file or a folder."""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """Completes the settings of one command.

    Args:
        command: which one.
        store: has the refs.
        conf_dir: a folder of further YAML files.
    """

    command: Command[Any]
    store: Store
    conf_dir: Path | None = None

    def words(self, word: str) -> list[str]:
        """Return what `word` may become.

        Names of settings come group by group: `op` becomes `optim=` and `optim.`. Where a single
        setting is left, its values come at once.
        """
        name, equals, value = word.partition("=")
        if equals:
            return self._with_values(name, value)
        names = _next_parts(self.names(), word)
        if len(names) == 1 and names[0].endswith("="):
            return self._with_values(names[0].rstrip("="), "") or names
        if len(names) == 1 and names[0] != word:
            return self.words(names[0])
        return names

    def names(self) -> list[str]:
        """Return the names of all groups and settings, each with an equals sign."""
        settings: type = self.command.settings
        options = groups(self.conf_dir)
        chosen = [name for name in names_at(settings, ()) if name in options]
        return [f"{name}=" for name in sorted({*chosen, *full_names(settings)})]

    def _with_values(self, name: str, value: str) -> list[str]:
        """Return `name=value` for each value that begins in this way.

        In a list it is the last item that is completed.
        """
        hint, done, begun = hint_at(self.command.settings, name.split(".")), "", value
        if value.startswith("["):
            cut = max(value.rfind("["), value.rfind(",")) + 1
            done, begun = value[:cut], value[cut:]
        if any(name.rpartition(".")[2] == path for path in PATHS):
            found = _paths(begun)
        else:
            found = [one for one in self._values(name, hint) if one.startswith(begun)]
        if _is_list(hint) and not done:
            done = "["
        return [f"{name}={done}{one}" for one in found]

    def _values(self, name: str, hint: Any) -> list[str]:
        choices = groups(self.conf_dir)
        if name in choices:
            return choices[name]
        if name in TASKS:
            return choices["task"]
        listed = _choices(hint)
        if name in (*REFS, *ENCODERS):
            return [*listed, *self._refs(name)]
        return listed or self._default(name)

    def _refs(self, name: str) -> list[str]:
        refs, kind = self.store.refs(), REFS.get(name)
        names = [ref.name for ref in refs if ref.kind == kind]
        if name in ("bank", "of"):
            names.append("none")
        if name in ENCODERS:
            names += [str(ref) for ref in refs if ref.kind in KINDS.values()]
        return [f"{kind}/{one}" for one in names] if name == "prefix.init" else names

    def _default(self, name: str) -> list[str]:
        """Return the default of a setting, if it has one that is not empty."""
        value: Any = self.command.settings()
        for part in name.split("."):
            value = getattr(value, part, "")
        text = written(value) if isinstance(value, int | float | str) else ""
        return [text] if text else []


def _next_parts(names: Iterable[str], word: str) -> list[str]:
    """Return names that begin with `word`, up to the end of the part that it is in."""
    found: dict[str, None] = {}
    for name in names:
        if name.startswith(word):
            dot = name.find(".", len(word))
            found[name if dot < 0 else name[: dot + 1]] = None
    return list(found)


def _is_list(hint: Any) -> bool:
    return any(get_origin(one) is tuple for one in alternatives(hint))


def _choices(hint: Any) -> list[str]:
    """Return the values that a type lists: of a Literal, of truth, of the items of a list."""
    found: list[str] = []
    for one in alternatives(hint):
        if one is bool:
            found += ["true", "false"]
        elif get_origin(one) is Literal:
            found += map(str, get_args(one))
        elif get_origin(one) is tuple:
            found += _choices(get_args(one)[0])
    return list(dict.fromkeys(found))


def _paths(begun: str) -> list[str]:
    """Return the files and folders that begin in this way; folders end in a slash."""
    folder, _, name = begun.rpartition("/")
    above = f"{folder}/" if "/" in begun else ""
    try:
        inside = sorted(Path(above or ".").expanduser().iterdir())
    except OSError:
        return []
    return [
        f"{above}{path.name}{'/' if path.is_dir() else ''}"
        for path in inside
        if path.name.startswith(name) and (name or not path.name.startswith("."))
    ]
