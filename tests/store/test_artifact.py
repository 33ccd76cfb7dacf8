from __future__ import annotations

import hashlib
import json
import shutil

import pytest

from prefixbank.errors import DamagedError, UsageError
from prefixbank.store.artifact import read_entry
from prefixbank.store.key import canonical_json, key_of


def rewrite(entry, **parts):
    path = entry.path / "entry.json"
    path.write_text(
        json.dumps({**json.loads(path.read_text(encoding="utf-8")), **parts}), encoding="utf-8"
    )


def test_entry_reads_back_as_it_was_published(put, doc):
    entry = put(doc(), {"a.bin": b"12", "shards/b.bin": b"345"}, accuracy=0.5)
    assert read_entry(entry.path) == entry


def test_entry_records_hash_and_size_of_every_file(put, doc):
    entry = put(doc(), {"a.bin": b"12", "shards/b.bin": b"345"})
    found = {name: (record.sha256, record.size_bytes) for name, record in entry.files.items()}
    assert found == {
        "a.bin": (hashlib.sha256(b"12").hexdigest(), 2),
        "shards/b.bin": (hashlib.sha256(b"345").hexdigest(), 3),
    }


def test_entry_size_is_the_sum_of_its_files(put, doc):
    assert put(doc(), {"a.bin": b"12", "b.bin": b"345"}).size_bytes == 5


def test_short_key_is_the_first_eight_digits(put, doc):
    assert put(doc()).short_key == key_of(doc())[:8]


def test_digest_depends_on_names_and_bytes_alone(put, doc):
    first = put(doc(lr=0.1), {"a.bin": b"12", "b.bin": b"3"}, note="x")
    second = put(doc(lr=0.2), {"b.bin": b"3", "a.bin": b"12"}, note="y")
    assert first.digest == second.digest


@pytest.mark.parametrize(
    "files", [{"a.bin": b"13"}, {"b.bin": b"12"}, {"a.bin": b"12", "b.bin": b""}, {}]
)
def test_digest_changes_with_a_name_or_a_byte(put, doc, files):
    assert put(doc(lr=0.1), {"a.bin": b"12"}).digest != put(doc(lr=0.2), files).digest


def test_info_does_not_enter_the_key(put, doc):
    assert put(doc(), accuracy=0.5).key == key_of(doc())


def test_file_gives_the_published_bytes(put, doc):
    assert put(doc(), {"shards/b.bin": b"345"}).file("shards/b.bin").read_bytes() == b"345"


def test_file_is_damaged_when_missing(put, doc):
    entry = put(doc())
    (entry.path / "prefix.bin").unlink()
    with pytest.raises(DamagedError, match=r"prefix\.bin is missing"):
        entry.file("prefix.bin")


def test_file_is_damaged_when_truncated(put, doc):
    entry = put(doc(), {"prefix.bin": b"0123456789"})
    (entry.path / "prefix.bin").write_bytes(b"01234")
    with pytest.raises(DamagedError, match=r"prefix\.bin has 5 bytes instead of 10"):
        entry.file("prefix.bin")


def test_file_is_damaged_when_one_bit_is_flipped(put, doc):
    entry = put(doc(), {"prefix.bin": b"0123456789"})
    (entry.path / "prefix.bin").write_bytes(b"0123456788")
    with pytest.raises(DamagedError, match=r"prefix\.bin was altered"):
        entry.file("prefix.bin")


def test_file_is_damaged_when_it_became_a_link(put, doc, tmp_path):
    entry = put(doc(), {"prefix.bin": b"0123456789"})
    (tmp_path / "elsewhere").write_bytes(b"0123456789")
    (entry.path / "prefix.bin").unlink()
    (entry.path / "prefix.bin").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedError, match=r"prefix\.bin is a link"):
        entry.file("prefix.bin")


def test_damage_leads_to_exit_code_3(put, doc):
    entry = put(doc())
    (entry.path / "prefix.bin").unlink()
    with pytest.raises(DamagedError) as caught:
        entry.file("prefix.bin")
    assert caught.value.exit_code == 3


def test_damage_says_which_folder_to_delete(put, doc):
    entry = put(doc())
    (entry.path / "prefix.bin").unlink()
    with pytest.raises(DamagedError) as caught:
        entry.file("prefix.bin")
    assert str(entry.path) in caught.value.fix


def test_file_that_was_never_published_is_asked_wrongly(put, doc):
    with pytest.raises(UsageError, match="has no file 'bank.bin'"):
        put(doc()).file("bank.bin")


def test_a_copy_elsewhere_can_be_read(put, doc, tmp_path):
    entry = put(doc(), {"prefix.bin": b"01"})
    shutil.copytree(entry.path, tmp_path / "copy")
    assert read_entry(tmp_path / "copy").file("prefix.bin").read_bytes() == b"01"


@pytest.mark.parametrize(
    "text",
    [None, "", "{", "[]", "{}", "null", '{"key": 1e999}', "[" * 100_000, '{"info": NaN}', "\udcff"],
)
def test_entry_is_damaged_when_entry_json_is_missing_or_unreadable(put, doc, text):
    path = put(doc()).path
    (path / "entry.json").unlink()
    if text is not None:
        (path / "entry.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DamagedError, match=r"entry\.json"):
        read_entry(path)


@pytest.mark.parametrize(
    "parts",
    [
        {"key": "0" * 32},
        {"step": "combine"},
        {"digest": "0" * 64},
        {"document": {"step": "train_prefix"}},
        {"files": {}},
        {"files": {"prefix.bin": {"sha256": "0" * 64, "size_bytes": 10}}},
        {"files": {"prefix.bin": {"sha256": "0" * 64, "size_bytes": 1e999}}},
        {"files": ["prefix.bin"]},
    ],
)
def test_entry_is_damaged_when_its_parts_contradict_each_other(put, doc, parts):
    entry = put(doc())
    rewrite(entry, **parts)
    with pytest.raises(DamagedError):
        read_entry(entry.path)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a/../../b", "a//b", ""])
def test_entry_is_damaged_when_it_lists_a_file_outside_itself(put, doc, name):
    entry = put(doc(), {})
    sha256 = hashlib.sha256(b"").hexdigest()
    listing = json.dumps({name: sha256}, separators=(",", ":")).encode()
    rewrite(
        entry,
        files={name: {"sha256": sha256, "size_bytes": 0}},
        digest=hashlib.sha256(listing).hexdigest(),
    )
    with pytest.raises(DamagedError, match="it lists the file"):
        read_entry(entry.path)


def test_entry_in_the_folder_of_another_key_is_damaged(store, put, doc):
    entry, other = put(doc(lr=0.1)), put(doc(lr=0.2))
    shutil.copy(entry.path / "entry.json", other.path / "entry.json")
    with pytest.raises(DamagedError, match="is that of"):
        store.get(other.key)


def test_digest_is_the_hash_of_names_and_hashes(put, doc):
    entry = put(doc(), {"b.bin": b"2", "a.bin": b"1"})
    hashes = {"a.bin": hashlib.sha256(b"1").hexdigest(), "b.bin": hashlib.sha256(b"2").hexdigest()}
    assert entry.digest == hashlib.sha256(canonical_json(hashes)).hexdigest()
