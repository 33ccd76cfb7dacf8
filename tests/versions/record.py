"""What versions.json records of each step: its version, and a hash of each of its definitions.

A step's `VERSION` is part of every key, so it has to rise when the step's code can give another
result. The record makes that a decision: it changes with the code, and a test fails until it is
written again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.versions.definitions import LOOSE
from tests.versions.reach import VERSION, Code

RECORD = Path(__file__).with_name("versions.json")
REFRESH = "python -m tests.versions.refresh"
ON_IMPORT = "(on import)"
SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What is recorded of a step."""

    version: int
    definitions: Mapping[str, frozenset[str]]
    """Name within its module to the hashes of the reached definitions of that name."""


def current(code: Code) -> dict[str, Recorded]:
    """What should be recorded for each step."""
    steps = {}
    for name, step in code.steps.items():
        found: dict[str, set[str]] = {}
        for path in step.reached.came_from:
            if path not in code.versions:
                called = code.definitions[path].name
                label = ON_IMPORT if called == LOOSE else called
                found.setdefault(label, set()).add(code.digest(path))
        steps[name] = Recorded(
            version=step.version,
            definitions={name: frozenset(hashes) for name, hashes in found.items()},
        )
    return steps


def read_record(path: Path = RECORD) -> dict[str, Recorded]:
    """What is recorded; nothing if there is no file yet."""
    if not path.exists():
        return {}
    document = json.loads(path.read_text(encoding="utf-8"))
    found: dict[str, dict[str, set[str]]] = {step: {} for step in document["versions"]}
    for name, lines in document["definitions"].items():
        for line in lines:
            digest, *steps = line.split()
            for step in steps:
                found[step].setdefault(name, set()).add(digest)
    return {
        step: Recorded(
            version=version,
            definitions={name: frozenset(hashes) for name, hashes in found[step].items()},
        )
        for step, version in document["versions"].items()
    }


def write_record(steps: Mapping[str, Recorded], path: Path = RECORD) -> None:
    """Record the steps: a line for each definition, with the steps that reach it."""
    lines: dict[str, dict[str, list[str]]] = {}
    for step in sorted(steps):
        for name, hashes in steps[step].definitions.items():
            for digest in hashes:
                lines.setdefault(name, {}).setdefault(digest, []).append(step)
    versions = [f'    "{step}": {steps[step].version}' for step in sorted(steps)]
    definitions = []
    for name in sorted(lines):
        shown = [" ".join((digest, *lines[name][digest])) for digest in sorted(lines[name])]
        definitions.append(f'    "{name}": {json.dumps(shown)}')
    parts = (("versions", versions), ("definitions", definitions))
    text = ",\n".join(f'  "{name}": {{\n' + ",\n".join(part) + "\n  }" for name, part in parts)
    path.write_text(f"{{\n{text}\n}}\n", encoding="utf-8")


def changed(before: Recorded, after: Recorded) -> list[str]:
    """Definitions in which two records differ, `+` or `-` in front of what came or went."""
    lines = []
    for name in sorted(before.definitions.keys() | after.definitions.keys()):
        was, now = (one.definitions.get(name, frozenset()) for one in (before, after))
        if was != now:
            lines.append(f"{'' if was and now else '+' if now else '-'}{name}")
    return lines


def differences(
    recorded: Mapping[str, Recorded], now: Mapping[str, Recorded], files: Mapping[str, str]
) -> list[str]:
    """One line for each step whose code or version is not what was recorded, with what to do.

    Args:
        recorded: what was recorded.
        now: what should be.
        files: where each step's version is.
    """
    lines = []
    for name in sorted(recorded.keys() | now.keys()):
        before, after = recorded.get(name), now.get(name)
        if before is None or after is None:
            how = "is not recorded" if before is None else "is recorded but gone"
            lines.append(f"{name}: {how}; run {REFRESH}")
        elif after.version < before.version:
            fell = f"{VERSION} fell from {before.version} to {after.version}"
            lines.append(f"{name}: {fell}; it only rises, or old keys name other results")
        elif after.version > before.version:
            rose = f"{VERSION} rose from {before.version} to {after.version}"
            lines.append(f"{name}: {rose}; run {REFRESH}")
        elif names := changed(before, after):
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            what = f"its code changed ({', '.join(names[:SHOWN])}{more})"
            do = f"raise {VERSION} in {files[name]} if results can differ, then run {REFRESH}"
            lines.append(f"{name}: {what}; {do}")
    return lines
