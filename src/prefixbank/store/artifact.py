"""An artifact on disk: a folder of files, and entry.json, which describes them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from prefixbank.errors import DamagedError, UsageError
from prefixbank.names import is_file_name
from prefixbank.store.faults import damaged, storage_errors
from prefixbank.store.files import flush, is_there, regular_files, sha256_of, walk, write_flushed
from prefixbank.store.key import JSON, canonical_json, key_of, shorten

ENTRY_FILE = "entry.json"


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """SHA-256 (64 hexadecimal digits) and size of a file when it was published."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One immutable artifact.

    `document` determines it, and `key` is the hash of that document. `digest` is the hash of its
    files' names and bytes. `info` holds further facts (`created`, names, scores); neither key nor
    digest depends on it.
    """

    key: str
    step: str
    path: Path
    document: JSON
    files: dict[str, FileRecord]
    digest: str
    info: JSON

    @property
    def short_key(self) -> str:
        """First 8 digits of the key."""
        return shorten(self.key)

    @property
    def size_bytes(self) -> int:
        """Bytes of all files without entry.json."""
        return sum(record.size_bytes for record in self.files.values())

    def file(self, name: str) -> Path:
        """Return the path of a file after checking its size and SHA-256, which reads all of it.

        Raises:
            UsageError: the artifact has no such file.
            DamagedError: the file is missing, or differs from what was published.
            StoreError: the file cannot be read.
        """
        if name not in self.files:
            raise UsageError(
                f"artifact {self.short_key} ({self.step}) has no file {name!r}",
                expected=f"one of: {', '.join(self.files) or 'none at all'}",
                fix=f"prefixbank cache show {self.short_key}",
            )
        if fault := self.fault_of(name):
            raise damaged(
                f"artifact {self.short_key} ({self.step}) is damaged: {fault} in {self.path}",
                delete=self.path,
            )
        return self.path / name

    def fault_of(self, name: str) -> str:
        """Return what is wrong with a listed file, else an empty string; reads all of it."""
        path, record = self.path / name, self.files[name]
        with storage_errors(self.path):
            if path.resolve() != self.path.resolve() / name:
                return f"{name} is a link"
            if not path.is_file():
                return f"{name} is missing"
            if (size := path.stat().st_size) != record.size_bytes:
                return f"{name} has {size} bytes instead of {record.size_bytes}"
            return "" if sha256_of(path) == record.sha256 else f"{name} was altered"


def digest_of(files: dict[str, FileRecord]) -> str:
    """Return an artifact's digest: the SHA-256 (64 hexadecimal digits) of its files' SHA-256s.

    File names are part of it.
    """
    return hashlib.sha256(
        canonical_json({name: record.sha256 for name, record in files.items()})
    ).hexdigest()


def seal(folder: Path, document: JSON, info: JSON) -> Entry:
    """Hash the files of a folder, flush them to disk, and write entry.json last.

    Args:
        folder: what a maker has written: files with plain names, perhaps in folders; no links.
        document: what determines them.
        info: further facts, under the rules of `canonical_json`.

    Returns:
        The entry, at `folder`.

    Raises:
        ValueError, TypeError: a file that cannot be published, or an `info` that is not JSON.
    """
    files = {}
    for name, path in regular_files(folder).items():
        if name == ENTRY_FILE or not is_file_name(name):
            raise ValueError(
                f"a maker wrote the file {name!r}; expected letters, digits and '._@-', and not "
                f"{ENTRY_FILE}"
            )
        files[name] = FileRecord(sha256=sha256_of(path), size_bytes=path.stat().st_size)
    body = {
        "document": document,
        "info": info,
        "key": key_of(document),
        "step": document["step"],
        "digest": digest_of(files),
    }
    body["files"] = {name: asdict(record) for name, record in files.items()}
    body = json.loads(canonical_json(body))
    for path in walk(folder):
        flush(path)
    write_flushed(
        folder / ENTRY_FILE,
        json.dumps(body, indent=2, ensure_ascii=False, sort_keys=True).encode("utf-8") + b"\n",
    )
    flush(folder)
    return _entry(folder, body)


def read_entry(path: Path) -> Entry:
    """Read the entry in folder `path`, which is in a store or is a copy.

    Its files are checked when they are opened.

    Raises:
        DamagedError: entry.json is missing or unreadable, or its key, step, digest and document
            contradict each other.
        StoreError: it cannot be read.
    """
    try:
        with storage_errors(path):
            entry = _entry(path, json.loads(_entry_bytes(path), parse_constant=_refuse_constant))
        fault = _mismatch(entry)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        fault = f"{ENTRY_FILE} cannot be read ({error})"
    if fault:
        raise damaged(f"artifact {path} is damaged: {fault}", delete=path)
    return entry


def entry_at(path: Path) -> Entry:
    """Read the entry in folder `<step>/<key>` of a store, as `read_entry`.

    Its step and key must be those of the folder.
    """
    entry = read_entry(path)
    if (entry.step, entry.key) != (path.parent.name, path.name):
        what = f"artifact {path} is damaged: {ENTRY_FILE} is that of {entry.step}/{entry.key}"
        raise damaged(what, delete=path)
    return entry


def entry_if_there(path: Path) -> Entry | None:
    """Read as `entry_at`, or return None if there is no such folder (gc may just have moved it)."""
    try:
        return entry_at(path)
    except DamagedError:
        if is_there(path):
            raise
        return None


def _entry_bytes(path: Path) -> bytes:
    try:
        return (path / ENTRY_FILE).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise ValueError("there is no such file") from error


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _entry(path: Path, body: Any) -> Entry:
    listed = dict(body["files"]).items()
    return Entry(
        key=str(body["key"]),
        step=str(body["step"]),
        path=path,
        document=dict(body["document"]),
        files={
            name: FileRecord(sha256=str(record["sha256"]), size_bytes=int(record["size_bytes"]))
            for name, record in listed
        },
        digest=str(body["digest"]),
        info=dict(body["info"]),
    )


def _mismatch(entry: Entry) -> str:
    """Return how the parts of entry.json contradict each other, else an empty string."""
    if key_of(entry.document) != entry.key:
        return f"its document has the key {key_of(entry.document)}, {ENTRY_FILE} says {entry.key}"
    if entry.document["step"] != entry.step:
        return (
            f"its document is of step {entry.document['step']!r}, {ENTRY_FILE} says {entry.step!r}"
        )
    if digest_of(entry.files) != entry.digest:
        return f"its list of files has another digest than {ENTRY_FILE} says"
    bad = [name for name in entry.files if not is_file_name(name)]
    return f"it lists the file {bad[0]!r}" if bad else ""
