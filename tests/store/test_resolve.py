from __future__ import annotations

import itertools

import pytest

from prefixbank.errors import DamagedError, UsageError
from prefixbank.store.files import discard
from prefixbank.store.key import key_of


@pytest.fixture
def entry(store, put, doc):
    made = put(doc())
    store.set_ref("prefix", "sst2", made.key)
    return made


def same_start(doc, digits):
    """Two documents whose keys begin alike.

    A short search through learning rates, ended by the birthday paradox.
    """
    seen = {}
    for number in itertools.count():
        document = doc(lr=number / 1000)
        start = key_of(document)[:digits]
        if start in seen:
            return seen[start], document
        seen[start] = document


@pytest.mark.parametrize("text", ["prefix/sst2", "sst2"])
def test_resolve_finds_a_ref(store, entry, text):
    assert store.resolve("prefix", text) == entry


@pytest.mark.parametrize("digits", [6, 8, 31, 32])
def test_resolve_finds_a_key_by_its_first_digits(store, entry, digits):
    assert store.resolve("prefix", entry.key[:digits]) == entry


def test_resolve_refuses_fewer_than_six_digits(store, entry):
    with pytest.raises(UsageError):
        store.resolve("prefix", entry.key[:5])


def test_resolve_lets_a_ref_win_over_a_key(store, entry, put, doc):
    other = put(doc(lr=0.5))
    store.set_ref("prefix", entry.key[:8], other.key)
    assert store.resolve("prefix", entry.key[:8]) == other


def test_resolve_lists_the_candidates_when_digits_are_ambiguous(store, put, doc):
    keys = [put(document).key for document in same_start(doc, 6)]
    with pytest.raises(UsageError, match="matches 2 entries") as caught:
        store.resolve("prefix", keys[0][:6])
    assert all(key in caught.value.expected for key in keys)


def test_resolve_finds_ambiguous_digits_when_one_more_tells_them_apart(store, put, doc):
    entries = [put(document) for document in same_start(doc, 6)]
    assert store.resolve("prefix", entries[1].key[:20]) == entries[1]


def test_resolve_suggests_a_near_name(store, entry):
    with pytest.raises(UsageError, match="did you mean 'sst2'"):
        store.resolve("prefix", "sts2")


def test_resolve_suggests_a_near_name_with_its_kind(store, entry):
    with pytest.raises(UsageError, match="did you mean 'prefix/sst2'"):
        store.resolve("prefix", "prefix/sts2")


def test_resolve_lists_what_there_is(store, entry):
    store.set_ref("bank", "demo", entry.key)
    with pytest.raises(UsageError) as caught:
        store.resolve("prefix", "unheard-of")
    assert ("prefix/sst2" in caught.value.expected, "bank/demo" in caught.value.expected) == (
        True,
        False,
    )


def test_resolve_does_not_list_pins(store, entry):
    store.pin(entry.key)
    with pytest.raises(UsageError) as caught:
        store.resolve("", "unheard-of")
    assert "pin/" not in caught.value.expected


def test_resolve_names_the_store_it_looked_in(store):
    with pytest.raises(UsageError, match=str(store.root)):
        store.resolve("prefix", "sst2")


def test_resolve_refuses_a_ref_of_another_kind(store, entry):
    store.set_ref("bank", "demo", entry.key)
    with pytest.raises(UsageError, match="'bank/demo' is not a prefix"):
        store.resolve("prefix", "bank/demo")


@pytest.mark.parametrize(
    "text", ["", "/", "../x", "prefix/../sst2", "prefix/", "/sst2", "*", "SST2"]
)
def test_resolve_refuses_what_no_ref_can_be_called(store, entry, text):
    with pytest.raises(UsageError):
        store.resolve("prefix", text)


@pytest.mark.parametrize("text", ["demo", "bank/demo"])
def test_resolve_finds_a_ref_of_any_kind_when_none_is_wanted(store, entry, put, doc, text):
    bank = put(doc("combine"))
    store.set_ref("bank", "demo", bank.key)
    assert store.resolve("", text) == bank


def test_resolve_lists_the_refs_when_a_name_is_of_two_kinds(store, entry, put, doc):
    store.set_ref("bank", "sst2", put(doc("combine")).key)
    with pytest.raises(UsageError, match="matches 2 entries") as caught:
        store.resolve("", "sst2")
    assert caught.value.expected == "one of: bank/sst2, prefix/sst2"


def test_resolve_finds_a_pinned_key_once(store, entry):
    store.pin(entry.key)
    assert store.resolve("", entry.key) == entry


def test_resolve_calls_a_ref_without_entry_damaged(store, entry):
    discard(entry.path)
    with pytest.raises(DamagedError, match="prefix/sst2 points to"):
        store.resolve("prefix", "sst2")
