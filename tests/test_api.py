"""prefixbank from Python: a loaded bank, typed functions, commands as strings."""

from __future__ import annotations

import dataclasses
import inspect
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import prefixbank as pb
from prefixbank import api
from prefixbank.config.running import RunConfig
from prefixbank.config.schema import EmbedRecipe, EncoderConfig
from prefixbank.core.attention.prefix_attention import Slots
from prefixbank.data.encoders.encoder import load_encoder
from prefixbank.data.encoders.files import describe_folder
from prefixbank.data.tasks.task import SPLITS
from prefixbank.errors import PrefixbankError, UsageError
from prefixbank.store.store import Store
from tests.fixtures import (  # noqa: F401
    encoders_loaded_once,
    merge_once,
    shared_encoders,
    shared_settings,
)
from tests.prepared import SMALL, Prepared, copy_store, prepare, rows_of

TEXTS = ["the food was good", "a bad and noisy place, with a cold bath", "warm"]
RECIPE = pb.PrefixRecipe(
    prefix=pb.PrefixConfig(length=2), optim=pb.OptimConfig(epochs=1, batch_size=20, lr=0.03)
)
"""What `SMALL` sets on a command line."""
QUICK_PROBE = pb.ProbeConfig(bootstrap_samples=10, Cs=(1.0,))
QUICK_PROBE_SETTINGS = ("probe.bootstrap_samples=10", "probe.Cs=[1]")


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
    return pb.load_bank("demo")


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
    ("args", "message"),
    [
        (("a text",), "one text instead of a list"),
        ((["a text"], "second"), "one text instead of a list"),
        (([],), "no texts"),
        ((["a", "b"], ["c"]), "2 texts and 1 second texts"),
        (({"a", "b"},), "a set instead of a list"),
        ((iter("ab"),), "instead of a list"),
        ((None,), "a NoneType instead of a list"),
        ((["a", None],), "1 row not a text: row 2"),
        ((["a", float("nan")],), "1 row not a text: row 2 nan"),
        (([["a", "b"]],), "1 row not a text: row 1"),
        ((["a", " "],), "1 row without text: row 2"),
        ((["a", "a\ud83db"],), "half of a surrogate pair.*: row 2"),
        ((["a", "b"], ["c", None]), "second texts: 1 row not a text: row 2"),
    ],
    ids=[
        "text",
        "pair",
        "nothing",
        "uneven",
        "set",
        "iterator",
        "none",
        "none-in-a-row",
        "nan",
        "list-in-a-row",
        "blank",
        "surrogate",
        "none-in-a-pair",
    ],
)
def test_texts_that_mean_nothing_are_refused(bank, args, message):
    with pytest.raises(UsageError, match=message):
        bank.embed(*args)


def test_bank_can_be_named_by_name_ref_and_key(bank):
    names = ("bank/demo", bank.entry.key, bank.entry.short_key)
    assert {pb.load_bank(name).entry.key for name in names} == {bank.entry.key}


def test_unknown_bank_is_refused_with_a_similar_name():
    with pytest.raises(UsageError, match="did you mean 'demo'"):
        pb.load_bank("demoo")


def test_prefix_is_no_bank():
    with pytest.raises(UsageError, match="not a bank"):
        pb.load_bank("prefix/alpha")


def test_recipe_limits_the_length():
    short = pb.load_bank("demo", recipe=EmbedRecipe(max_length_tokens=4)).embed(TEXTS)
    assert np.abs(short - pb.load_bank("demo").embed(TEXTS)).max() > 1e-3


def test_how_to_run_changes_no_vector(bank):
    small = pb.load_bank("demo", run=RunConfig(embed_tokens=8, threads=1))
    np.testing.assert_allclose(small.embed(TEXTS), bank.embed(TEXTS), atol=1e-5)


def in_memory(name: str = "gamma") -> pb.Task:
    """The task that `prepare` wrote into a folder of this name."""
    splits = {split: rows_of(name, split) for split in SPLITS}
    rows = {split: pb.Rows(table["text"], table["label"]) for split, table in splits.items()}
    return pb.Task.from_rows(
        *rows["train"][:2],
        name=name,
        label_names=("no", "yes"),
        validation=rows["validation"],
        test=rows["test"],
    )


def train(task: str | pb.Task | pb.TaskConfig, **others: object) -> pb.PrefixResult:
    return pb.train_prefix(task, encoder="tiny", recipe=RECIPE, **others)


def key_of(command: str, *settings: str) -> str:
    artifact = pb.run(command, *settings).artifact
    assert artifact is not None
    return artifact.key


def folder(path) -> tuple[str, str]:
    return "task=folder", f"task.path={path}"


@pytest.fixture
def csv_file(tmp_path) -> Path:
    """Rows without splits: labels are names, validation and test rows are held out."""
    rows = rows_of("csv", "train")
    names = [("no", "yes")[label] for label in rows["label"]]
    lines = [f"{text},{name}" for text, name in zip(rows["text"], names, strict=True)]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    return path


def test_prefix_of_a_task_in_memory_is_the_one_of_the_task_folder(tasks):
    made = train(in_memory())
    assert made.key == key_of("train-prefix", *folder(tasks / "gamma"), *SMALL)
    assert made.key == train(pb.TaskConfig(path=str(tasks / "gamma"))).key


def test_prefix_of_rows_in_memory_is_the_one_of_the_csv_file(csv_file):
    lines = csv_file.read_text(encoding="utf-8").splitlines()[1:]
    texts, labels = zip(*(line.rsplit(",", 1) for line in lines), strict=True)
    split_off = ("task.splits={train: rows.csv, validation: '', test: ''}", "task.name=rows")
    settings = ("task=files", f"task.path={csv_file.parent}", *split_off, *SMALL)
    assert train(pb.Task.from_rows(texts, labels)).key == key_of("train-prefix", *settings)


def test_prefix_of_a_named_task_is_that_of_the_command():
    one_epoch = pb.PrefixRecipe(optim=pb.OptimConfig(epochs=0))
    made = pb.train_prefix("polarity", encoder="tiny", recipe=one_epoch)
    assert made.key == key_of("train-prefix", "task=polarity", "encoder=tiny", "optim.epochs=0")


def test_bank_is_that_of_the_command_however_prefixes_are_given():
    alpha = pb.open_store().resolve("prefix", "alpha")
    keys = {
        key_of("combine", "prefixes=[alpha,beta]", "name=one"),
        pb.combine(["alpha", "prefix/beta"], name="two").key,
        pb.combine([alpha.key, "beta"], name="three").key,
        pb.combine(
            [train(in_memory("alpha"), name="alpha"), train(in_memory("beta"))], name="four"
        ).key,
    }
    assert len(keys) == 1


def test_probe_of_a_task_in_memory_is_the_one_of_the_command(tasks, bank):
    task = in_memory()
    made = [
        pb.probe(given, task, probe=QUICK_PROBE)
        for given in ("demo", bank, pb.combine(["alpha", "beta"], name="demo"))
    ]
    settings = ("bank=demo", *folder(tasks / "gamma"), *QUICK_PROBE_SETTINGS)
    assert {one.key for one in made} == {key_of("probe", *settings)}
    assert {one.name for one in made} == {"gamma@demo"}


def test_probe_of_pairs_chooses_their_reading_as_the_command_does():
    pairs = pb.Task.from_rows(
        [f"{text} {row}" for row in range(20) for text in TEXTS],
        [0, 1, 0] * 20,
        [*TEXTS[::-1]] * 20,
        name="paired",
    )
    best = pb.probe("demo", pairs, probe=QUICK_PROBE)
    joint = pb.probe("demo", pairs, probe=QUICK_PROBE, recipe=pb.ProbeRecipe(pairs="joint"))
    assert best.facts["chosen"].startswith("pairs ") and joint.facts["chosen"] == ""


def test_embeddings_of_a_file_are_those_of_the_command(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    made = pb.embed("demo", tmp_path / "a.txt")
    assert (made.key, made.rows) == (
        key_of("embed", "bank=demo", f"corpus.path={tmp_path / 'a.txt'}"),
        3,
    )
    assert all((made.path / file).is_file() for file in made.files)


def test_results_have_the_facts_that_the_command_prints(tasks):
    prefix, bank = train(in_memory()), pb.combine(["alpha", "beta"], name="demo")
    probe = pb.probe(bank, in_memory(), probe=QUICK_PROBE)
    assert (prefix.step, prefix.name, prefix.task) == ("train-prefix", "gamma", "gamma")
    assert prefix.validation == prefix.facts["validation"]
    assert (bank.prefixes, bank.weights) == (("alpha", "beta"), (0.5, 0.5))
    assert probe.metric == "accuracy" and probe.low <= probe.score <= probe.high
    rows = pb.run("probe", "bank=demo", *folder(tasks / "gamma"), *QUICK_PROBE_SETTINGS).rows
    assert rows == (probe.facts,)


def test_name_is_the_one_given_even_for_a_hit():
    train(in_memory())
    assert train(in_memory(), name="other").name == "other"
    assert pb.open_store().ref("prefix", "other") is not None


def test_bank_of_a_result_is_stale_once_the_prefix_is_trained_again():
    pb.combine([train(in_memory())], name="own")
    recipe = dataclasses.replace(RECIPE, seed=1)
    pb.train_prefix(in_memory(), encoder="tiny", recipe=recipe)
    with pytest.raises(UsageError, match="bank/own is stale"):
        pb.load_bank("own")


def test_result_whose_ref_moved_on_is_taken_by_its_key():
    first = train(in_memory())
    recipe = dataclasses.replace(RECIPE, seed=1)
    second = pb.train_prefix(in_memory(), encoder="tiny", recipe=recipe)
    made = [pb.combine([prefix], name="own").key for prefix in (first, second)]
    assert made[0] != made[1]


def test_notes_about_a_task_in_memory_reach_the_listener():
    events: list[pb.Event] = []
    rows = rows_of("gamma", "train")
    train(pb.Task.from_rows(rows["text"], rows["label"]), on_event=events.append)
    notes = [event.text for event in events if event.kind == "note"]
    assert any(note.startswith("test: ") for note in notes)


def test_functions_are_silent_and_tell_the_listener(capsys):
    events: list[pb.Event] = []
    train(in_memory(), on_event=events.append)
    assert [event.kind for event in events] == ["miss", "progress", "progress", "progress", "done"]
    assert capsys.readouterr() == ("", "")


def test_progress_is_a_line_for_each_step_on_stderr(capsys):
    train(in_memory(), progress=True)
    out, err = capsys.readouterr()
    assert (
        out == ""
        and [line.split()[:2] for line in err.splitlines()] == [["train-prefix", "gamma"]] * 2
    )


def test_progress_counts_steps_up_to_the_total():
    events: list[pb.Event] = []
    recipe = dataclasses.replace(RECIPE, optim=dataclasses.replace(RECIPE.optim, batch_size=10))
    pb.train_prefix(in_memory(), encoder="tiny", recipe=recipe, on_event=events.append)
    steps = [
        (event.done, event.total)
        for event in events
        if event.kind == "progress" and event.text.startswith("loss")
    ]
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_another_store_can_be_named(tmp_path):
    assert train(in_memory(), store=tmp_path / "s").path.is_relative_to(tmp_path / "s")
    assert pb.open_store(tmp_path / "s").ref("prefix", "gamma") is not None


def test_force_trains_again():
    events: list[pb.Event] = []
    train(in_memory("alpha"), force=True, on_event=events.append)
    assert (events[0].kind, events[0].text) == ("miss", "--force")


@pytest.mark.parametrize(
    "run", [pb.RunConfig(workers=2), pb.RunConfig(driver="slurm")], ids=["workers", "slurm"]
)
def test_functions_start_no_workers(run):
    with pytest.raises(UsageError, match="in a function") as caught:
        train(in_memory(), run=run)
    assert "pb.run" in caught.value.fix


def test_one_prefix_has_to_be_in_a_list():
    with pytest.raises(UsageError, match="one prefix instead of a list"):
        pb.combine("alpha", name="x")


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: pb.train_prefix(None, encoder="tiny"), "task"),
        (lambda: pb.train_prefix(["polarity"], encoder="tiny"), "task"),
        (lambda: pb.train_prefix("polarity", encoder=None), "encoder"),
        (lambda: pb.train_prefix("polarity", encoder="tiny", recipe=pb.OptimConfig()), "recipe"),
        (lambda: pb.train_prefix("polarity", encoder="tiny", run={"threads": 1}), "run"),
        (lambda: pb.combine({"polarity", "topic"}, name="x"), "prefixes"),
        (lambda: pb.combine([None], name="x"), "prefix"),
        (lambda: pb.combine(["polarity"], name="x", combine="mean_vectors"), "combine"),
        (lambda: pb.load_bank(None), "bank"),
        (lambda: pb.probe("demo", "polarity", probe="linear"), "probe"),
        (lambda: pb.embed("demo", ["a", "b"]), "corpus"),
        (lambda: pb.run(None), "command"),
        (lambda: pb.run("combine", ["prefixes=[polarity]"]), "a setting"),
    ],
)
def test_argument_of_another_type_is_refused_by_its_name(call, argument):
    with pytest.raises(UsageError) as caught:
        call()
    assert caught.value.what.startswith(f"{argument} has the type ")


def test_prefix_and_bank_are_not_taken_for_each_other(bank):
    prefix = pb.open_store().resolve("prefix", "alpha")
    with pytest.raises(UsageError, match="is the result of combine, not a prefix"):
        pb.combine([bank.entry.key], name="x")
    with pytest.raises(UsageError, match="is the result of train-prefix, not a bank"):
        pb.load_bank(prefix.key)
    with pytest.raises(UsageError, match="is the result of train-prefix, not a bank"):
        pb.probe(prefix.key, "polarity")


def test_command_of_two_words_may_be_two_arguments():
    with pytest.raises(UsageError, match="no task given"):
        pb.run("transfer", "similar")


def test_loaded_bank_and_store_say_what_they_are(bank, user_store):
    key = bank.entry.key[:8]
    assert repr(bank) == (
        f"LoadedBank(name='demo', key={key!r}, sources=['alpha', 'beta'], encoder='tiny')"
    )
    assert repr(pb.open_store()) == f"Store({str(user_store)!r})"


def test_results_say_what_they_are_and_their_scores():
    prefix = train(in_memory())
    probe = pb.probe("demo", in_memory(), probe=QUICK_PROBE)
    assert prefix.score == prefix.validation
    assert repr(prefix) == (
        f"PrefixResult(name='gamma', key={prefix.key[:8]!r}, task='gamma', "
        f"validation={round(prefix.score, 3)!r})"
    )
    assert repr(probe) == (
        f"ProbeResult(name='gamma@demo', key={probe.key[:8]!r}, metric='accuracy', "
        f"score={round(probe.score, 3)!r}, low={round(probe.low, 3)!r}, "
        f"high={round(probe.high, 3)!r})"
    )


def test_artifact_of_a_command_is_what_the_function_returns():
    made = pb.combine(["alpha"], name="alone")
    artifact = pb.run("combine", "prefixes=[alpha]", "name=alone").artifact
    assert isinstance(artifact, pb.BankResult) and artifact == made


def test_dir_lists_the_api_before_it_is_loaded():
    code = "import prefixbank, sys; print(*dir(prefixbank)); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    names, loaded = done.stdout.decode().splitlines()
    assert set(pb.__all__) <= set(names.split()) and loaded == "False"


def test_unknown_names_are_refused_with_a_similar_one():
    with pytest.raises(UsageError, match="did you mean 'polarity'"):
        pb.train_prefix("polarty", encoder="tiny")  # codespell:ignore polarty
    with pytest.raises(UsageError, match="did you mean 'minilm'"):
        pb.train_prefix("polarity", encoder="minilmm")


def test_mixture_with_a_fault_is_refused():
    with pytest.raises(UsageError, match="is a single task"):
        train(pb.TaskConfig(mixture=("polarity",)))


def test_faults_are_raised_and_not_printed(capsys):
    with pytest.raises(PrefixbankError):
        pb.combine(["nobody"], name="new")
    assert capsys.readouterr() == ("", "")


def test_run_returns_the_artifact_and_the_row_of_the_command(tasks):
    result = pb.run("train-prefix", *folder(tasks / "alpha"), *SMALL)
    assert result.artifact is not None and result.rows == (result.artifact.facts,)
    assert (result.artifact.step, result.artifact.name) == ("train-prefix", "alpha")


def test_dry_run_finds_a_hit_and_makes_no_miss(tasks):
    args = ("train-prefix", *folder(tasks / "alpha"), *SMALL)
    found = pb.run(*args, dry_run=True).artifact
    assert found is not None and found.path.is_dir()
    assert pb.run(*args, "seed=9", dry_run=True) == pb.CommandResult(rows=())


def test_run_takes_the_users_yaml_files(tmp_path):
    (tmp_path / "optim").mkdir()
    (tmp_path / "optim" / "mine.yaml").write_text("epochs: 0\n", encoding="utf-8")
    settings = ("task=polarity", "encoder=tiny", "optim=mine")
    result = pb.run("train-prefix", *settings, conf_dir=str(tmp_path), dry_run=True)
    with pytest.raises(UsageError, match="optim has no option 'mine'"):
        pb.run("train-prefix", *settings)
    assert result.rows == ()


def test_command_that_lists_gives_its_rows(tasks):
    result = pb.run("transfer similar", *folder(tasks / "gamma"), *SMALL)
    assert result.artifact is None
    assert {row["source"] for row in result.rows} == {"prefix/alpha", "prefix/beta"}


def test_unknown_command_is_refused_with_a_similar_one():
    with pytest.raises(UsageError, match="did you mean 'combine'"):
        pb.run("combines", "name=x")


def test_corpus_can_be_embedded_where_there_is_no_standard_input(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("good\n", encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", None)
    assert pb.embed("demo", tmp_path / "a.txt").rows == 1


@pytest.mark.parametrize("stdin", [None, io.StringIO("good")], ids=["none", "text alone"])
def test_standard_input_without_bytes_is_refused(monkeypatch, stdin):
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(UsageError, match="standard input has no rows"):
        pb.embed("demo", "-")


def test_every_public_name_exists_and_says_what_it_is():
    public = {name: getattr(pb, name) for name in pb.__all__ if name != "__version__"}
    assert set(public) == set(api.__all__) and set(pb.__all__) <= set(dir(pb))
    assert [name for name, one in public.items() if not one.__doc__] == []


def test_every_argument_of_a_public_function_is_described():
    functions = [getattr(pb, name) for name in pb.__all__ if name.islower() and name[0] != "_"]
    missing = [
        f"{function.__name__}({name})"
        for function in (*functions, pb.Task.from_rows, pb.Task.from_table)
        for name in inspect.signature(function).parameters
        if f"\n    {name}: " not in inspect.getdoc(function)
    ]
    assert functions and missing == []


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pb.nothing


def test_module_is_the_command_line():
    from prefixbank import __main__
    from prefixbank.cli.app import main

    assert __main__.main is main


def test_module_runs_as_the_command_line(user_store):
    command = [sys.executable, "-m", "prefixbank", "cache", "ls", "train-prefix"]
    environment = {**os.environ, "PYTHONPATH": str(Path(pb.__file__).parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert {ref for row in json.loads(done.stdout) for ref in row["refs"]} == {
        "prefix/alpha",
        "prefix/beta",
    }


@pytest.mark.parametrize("closed", [pytest.param(">&-", marks=pytest.mark.slow), "<&- >&- 2>&-"])
def test_command_works_without_standard_streams(user_store, tmp_path, closed):
    (tmp_path / "lines.txt").write_text("a text\n", encoding="utf-8")
    typed = f'"$0" -m prefixbank embed bank=demo corpus.path=lines.txt --out vectors {closed}'
    environment = {**os.environ, "PYTHONPATH": str(Path(pb.__file__).parents[1])}
    done = subprocess.run(
        ["sh", "-c", typed, sys.executable], env=environment, cwd=tmp_path, capture_output=True
    )
    assert (done.returncode, done.stdout, b"Traceback" in done.stderr) == (0, b"", False)
    assert (tmp_path / "vectors" / "part-00000.parquet").exists()
