"""The commands as Python functions, and a loaded bank."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import prefixbank
from prefixbank.config.running import RunConfig
from prefixbank.config.schema import EmbedRecipe, EncoderConfig
from prefixbank.core.attention.prefix_attention import Slots
from prefixbank.data.encoders.encoder import load_encoder
from prefixbank.data.encoders.files import describe_folder
from prefixbank.errors import PrefixbankError, UsageError
from prefixbank.runtime.events import Event
from prefixbank.runtime.unit import Waiting
from prefixbank.store import Entry, Store
from tests.fixtures import merge_once, shared_settings  # noqa: F401
from tests.prepared import SMALL, Prepared, copy_store, prepare

TEXTS = ["the food was good", "a bad and noisy place, with a cold bath", "warm"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Prepared:
    return prepare(tmp_path_factory.getbasetemp())


@pytest.fixture(autouse=True)
def tasks(prepared, user_store, monkeypatch):
    """Folder of the tasks; the store used by default is a copy of the prepared one."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    copy_store(prepared.store, user_store)
    return prepared.tasks


@pytest.fixture
def bank():
    return prefixbank.load_bank("demo")


def test_vectors_are_float32_one_for_each_text(bank):
    vectors = bank.embed(TEXTS)
    assert (vectors.shape, vectors.dtype) == ((3, 64), np.float32) and np.isfinite(vectors).all()


def test_vector_of_a_text_does_not_depend_on_the_others(bank):
    alone = np.concatenate([bank.embed([text]) for text in TEXTS])
    np.testing.assert_allclose(bank.embed(TEXTS), alone, atol=1e-5)


def test_vectors_come_in_the_order_of_the_texts(bank):
    np.testing.assert_allclose(bank.embed(TEXTS[::-1]), bank.embed(TEXTS)[::-1], atol=1e-5)


def test_vectors_equal_a_pass_through_the_model_with_the_stored_prefixes(bank):
    """The definition: both prefixes in front of the keys and values of every layer, each with
    weight 1/2; mean over real tokens.
    """
    store = Store(bank.entry.path.parents[2])
    (folder,) = (entry.path for entry in store.entries("tiny_encoder"))
    prefixes = [
        load_file(store.resolve("prefix", name).path / "prefix.safetensors")["prefix"]
        for name in ("alpha", "beta")
    ]
    joined = torch.cat(prefixes, dim=3)
    bias = torch.full((2, 4, joined.shape[3]), float(np.log(0.5)))
    encoder = load_encoder(describe_folder(folder, EncoderConfig(), "tiny"), "cpu")
    inputs = encoder.tokenizer(TEXTS[:1], return_tensors="pt")
    with torch.no_grad():
        hidden = encoder.model(
            **inputs, prefix_slots=Slots(keys=joined[:, 0], values=joined[:, 1], bias=bias)
        ).last_hidden_state
    np.testing.assert_allclose(bank.embed(TEXTS[:1]), hidden.mean(dim=1).numpy(), atol=1e-5)


def test_pairs_are_read_jointly(bank):
    joint = bank.embed(TEXTS, TEXTS[::-1])
    assert joint.shape == (3, 64) and np.abs(joint - bank.embed(TEXTS)).max() > 1e-3


def test_encoder_is_loaded_once_for_many_calls(bank, monkeypatch):
    bank.embed(TEXTS)
    monkeypatch.setattr("prefixbank.data.encoders.encoder.load_encoder", None)
    assert bank.embed(TEXTS).shape == (3, 64)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("a text",), "one text instead of a list"),
        ((["a text"], "second"), "one text instead of a list"),
        (([],), "no texts"),
        ((["a", "b"], ["c"]), "2 texts and 1 second texts"),
    ],
    ids=["text", "pair", "nothing", "uneven"],
)
def test_texts_that_mean_nothing_are_refused(bank, args, said):
    with pytest.raises(UsageError, match=said):
        bank.embed(*args)


def test_bank_can_be_named_by_name_ref_and_key(bank):
    names = ("bank/demo", bank.entry.key, bank.entry.short_key)
    assert {prefixbank.load_bank(name).entry.key for name in names} == {bank.entry.key}


def test_unknown_bank_is_refused_with_a_near_name():
    with pytest.raises(UsageError, match="did you mean 'demo'"):
        prefixbank.load_bank("demoo")


def test_prefix_is_no_bank():
    with pytest.raises(UsageError, match="not a bank"):
        prefixbank.load_bank("prefix/alpha")


def test_recipe_limits_the_length():
    short = prefixbank.load_bank("demo", recipe=EmbedRecipe(max_length_tokens=4)).embed(TEXTS)
    assert np.abs(short - prefixbank.load_bank("demo").embed(TEXTS)).max() > 1e-3


def test_how_to_run_changes_no_vector(bank):
    small = prefixbank.load_bank("demo", run=RunConfig(embed_tokens=8, threads=1))
    np.testing.assert_allclose(small.embed(TEXTS), bank.embed(TEXTS), atol=1e-5)


def test_functions_return_entries(tasks):
    made = prefixbank.train_prefix("task=folder", f"task.path={tasks / 'gamma'}", *SMALL)
    bank = prefixbank.combine("prefixes=[gamma]", "name=own")
    probe = prefixbank.probe(
        "bank=own",
        "task=folder",
        f"task.path={tasks / 'gamma'}",
        "probe.bootstrap_samples=10",
        "probe.Cs=[1]",
    )
    assert [entry.step for entry in (made, bank, probe)] == ["train_prefix", "combine", "probe"]
    assert all(isinstance(entry, Entry) for entry in (made, bank, probe))


def test_dry_run_returns_waiting_for_a_miss_and_the_entry_for_a_hit(tasks):
    plan = prefixbank.Options(dry_run=True)
    args = ("task=folder", f"task.path={tasks / 'alpha'}", *SMALL)
    assert isinstance(prefixbank.train_prefix(*args, options=plan), Entry)
    assert prefixbank.train_prefix(*args, "seed=9", options=plan) == Waiting(
        step="train-prefix", name="alpha"
    )


def test_options_name_another_store(tasks, tmp_path):
    entry = prefixbank.train_prefix(
        "task=folder",
        f"task.path={tasks / 'alpha'}",
        *SMALL,
        options=prefixbank.Options(store=tmp_path / "s"),
    )
    assert entry.path.is_relative_to(tmp_path / "s")


def test_events_go_to_the_listener_and_nothing_is_printed(tasks, capsys):
    events: list[Event] = []
    prefixbank.train_prefix(
        "task=folder",
        f"task.path={tasks / 'gamma'}",
        *SMALL,
        options=prefixbank.Options(emit=events.append),
    )
    assert [event.kind for event in events] == ["miss", "progress", "progress", "progress", "done"]
    assert capsys.readouterr() == ("", "")


def test_progress_counts_steps_up_to_the_total(tasks):
    events: list[Event] = []
    args = ("task=folder", f"task.path={tasks / 'gamma'}", *SMALL, "optim.batch_size=10")
    prefixbank.train_prefix(*args, options=prefixbank.Options(emit=events.append))
    steps = [
        (event.done, event.total)
        for event in events
        if event.kind == "progress" and event.text.startswith("loss")
    ]
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_faults_are_raised_and_not_printed(capsys):
    with pytest.raises(PrefixbankError):
        prefixbank.combine("prefixes=[nobody]", "name=new")
    assert capsys.readouterr() == ("", "")


def test_corpus_can_be_embedded_where_there_is_no_standard_input(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("good\n", encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", None)
    assert prefixbank.embed("bank=demo", f"corpus.path={tmp_path / 'a.txt'}").step == "embed"


@pytest.mark.parametrize("stdin", [None, io.StringIO("good")], ids=["none", "text alone"])
def test_standard_input_without_bytes_is_refused(monkeypatch, stdin):
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(UsageError, match="standard input has no rows"):
        prefixbank.embed("bank=demo", "corpus.path=-")


def test_public_names_are_those_documented():
    assert set(prefixbank.__all__) >= {
        "train_prefix",
        "train_multitask",
        "combine",
        "embed",
        "probe",
        "run",
        "load_bank",
        "Options",
    }
    assert all(getattr(prefixbank, name) is not None for name in prefixbank.__all__)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = prefixbank.nothing
