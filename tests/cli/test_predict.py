"""`prefixbank predict`: what probes and source heads say of a corpus, from one pass."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import prefixbank as pb
from prefixbank.store.store import Store
from tests.prepared import rows_of

QUICK = ("probe.bootstrap_samples=50", "probe.Cs=[1]")
READOUT = ("prefix.kind=readout", "prefix.readouts=1")


def columns_of(ran) -> dict[str, list]:
    """All rows of a result in Parquet."""
    files = sorted(Path(ran.result["path"]).glob("*.parquet"))
    return pa.concat_tables([parquet.read_table(file) for file in files]).to_pydict()


def probe(cli, name: str, *settings: str, bank: str = "demo"):
    return cli.done("probe", f"bank={bank}", *QUICK, f"name={name}", *settings)


def predict(cli, heads: str, *settings: str, bank: str = "demo"):
    return cli.done("predict", f"bank={bank}", f"heads=[{heads}]", *settings)


@pytest.fixture
def texts(tmp_path: Path) -> tuple[list[str], Path]:
    """The test texts of gamma, and a file of them."""
    texts = [str(text) for text in rows_of("gamma", "test")["text"]]
    path = tmp_path / "new.csv"
    lines = [f"n{number},{text}" for number, text in enumerate(texts)]
    path.write_text("\n".join(["key,text", *lines]) + "\n", encoding="utf-8")
    return texts, path


def gamma(cli) -> tuple[str, ...]:
    return "task=folder", f"task.path={cli.tasks / 'gamma'}"


@pytest.fixture
def sets(tmp_path: Path) -> tuple[str, ...]:
    """A task of several labels."""
    rows = rows_of("gamma", "train")
    lines = [
        f"{text},{int(index % 3 == 0)},{label}"
        for index, (text, label) in enumerate(zip(rows["text"], rows["label"], strict=True))
    ]
    (tmp_path / "sets.csv").write_text("\n".join(["text,third,good", *lines]), encoding="utf-8")
    kind = ("task.kind=multilabel", "task.metric=macro_f1", "task.columns.labels=[third,good]")
    return f"task.path={tmp_path / 'sets.csv'}", *kind


@pytest.fixture
def numbers(tmp_path: Path) -> tuple[str, ...]:
    """A task of numbers."""
    lines = [f"{text},{len(str(text)) / 7}" for text in rows_of("gamma", "train")["text"]]
    (tmp_path / "long.csv").write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    return f"task.path={tmp_path / 'long.csv'}", "task.kind=regression", "task.metric=pearson"


def test_labels_are_the_predictions_of_the_probe_by_name(cli, texts):
    _, path = texts
    tested = Path(probe(cli, "tone", *gamma(cli)).result["path"]) / "predictions.safetensors"
    found = columns_of(predict(cli, "tone", f"corpus.path={path}"))
    names = ("no", "yes")
    assert found["tone"] == [names[index] for index in load_file(tested)["0.predictions"]]
    assert list(found) == ["id", "row", "tone", "tone.probability", "tone.abstained"]
    assert found["tone.abstained"] == [False] * 20 and found["row"] == list(range(20))


def test_probabilities_are_those_of_scikit_learn_on_the_same_vectors(cli, texts):
    wanted, path = texts
    probe(cli, "tone", *gamma(cli))
    bank = pb.load_bank("demo")
    rows = rows_of("gamma", "train")
    scaler = StandardScaler().fit(bank.embed(rows["text"]).astype(np.float64))
    model = LogisticRegression(C=1, tol=1e-8, max_iter=10_000).fit(
        scaler.transform(bank.embed(rows["text"]).astype(np.float64)), rows["label"]
    )
    expected = model.predict_proba(scaler.transform(bank.embed(wanted).astype(np.float64)))
    found = columns_of(predict(cli, "tone", f"corpus.path={path}", "predict.classes=true"))
    assert np.allclose(np.column_stack([found["tone:no"], found["tone:yes"]]), expected, atol=1e-3)
    assert found["tone.probability"] == [
        max(pair) for pair in zip(found["tone:no"], found["tone:yes"], strict=True)
    ]


def test_heads_of_every_kind_share_one_pass(cli, texts, sets, numbers, monkeypatch):
    from prefixbank.steps.embed import make

    wanted, path = texts
    for name, settings in (("tone", gamma(cli)), ("sets", sets), ("long", numbers)):
        probe(cli, name, *settings)
    calls = []
    whole = make.embed_rows

    def counted(session, bank, files, rows, recipe, on_rows=None):
        calls.append(len(rows))
        return whole(session, bank, files, rows, recipe, on_rows)

    monkeypatch.setattr(make, "embed_rows", counted)
    found = columns_of(predict(cli, "tone,sets,long", f"corpus.path={path}"))
    assert calls == [20]
    vectors = pb.load_bank("demo").embed(wanted)
    of_sets = pb.load_probe("sets")
    chosen = of_sets.probabilities(vectors) > 0.5
    assert of_sets.labels == ("third", "good")
    assert found["sets"] == [
        [name for name, flag in zip(of_sets.labels, row, strict=True) if flag] for row in chosen
    ]
    assert [len(row) for row in found["sets.probability"]] == chosen.sum(axis=1).tolist()
    assert np.allclose(found["long"], pb.load_probe("long").predict(vectors))
    assert "long.probability" not in found and "long.abstained" not in found


def test_python_predicts_what_the_command_does(cli, texts, sets, numbers):
    wanted, path = texts
    for name, settings in (("tone", gamma(cli)), ("sets", sets), ("long", numbers)):
        probe(cli, name, *settings)
    found = columns_of(predict(cli, "tone,sets,long", f"corpus.path={path}"))
    predicted = pb.load_bank("demo").predict(wanted, heads=["tone", "sets", "long"])
    assert {name: list(one.labels) for name, one in predicted.items()} == {
        name: found[name] for name in ("tone", "sets", "long")
    }


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_predictions_are_calibrated_and_cut_as_the_probe_was_scored(cli, texts, sets, method):
    wanted, path = texts
    given = (f"probe.calibration={method}", "probe.threshold=f1", "max_length_tokens=4")
    tested = Path(probe(cli, "tone", *gamma(cli), *given).result["path"])
    probe(cli, "sets", *sets, *given)
    ran = predict(cli, "tone,sets", f"corpus.path={path}", "predict.classes=true")
    found = columns_of(ran)
    scored = load_file(tested / "predictions.safetensors")
    assert found["tone"] == [("no", "yes")[index] for index in scored["0.predictions"]]
    assert np.allclose(found["tone:yes"], scored["0.probabilities"][:, 1])
    assert found["tone.probability"] == [
        found[f"tone:{label}"][row] for row, label in enumerate(found["tone"])
    ]
    facts = json.loads((Path(ran.result["path"]) / "predictions.json").read_text(encoding="utf-8"))
    detail = json.loads((tested / "probe.json").read_text(encoding="utf-8"))["fits"][0]
    assert facts["heads"][0]["calibration"] == method
    assert facts["heads"][0]["thresholds"] == detail["thresholds"]
    for row, labels in enumerate(found["sets"]):
        assert sorted(labels) == [
            label
            for label, least in facts["heads"][1]["thresholds"].items()
            if found[f"sets:{label}"][row] >= least
        ]
    recipe = pb.EmbedRecipe(max_length_tokens=4)
    bank, loaded = pb.load_bank("demo", recipe=recipe), pb.load_probe("tone")
    vectors = bank.embed(wanted)
    assert loaded.embedded == ("max_length_tokens=4",) and "max_length_tokens=4" in repr(loaded)
    for wrong in (vectors[:, :-1], vectors[0], np.full_like(vectors, np.nan)):
        with pytest.raises(pb.DataError):
            loaded.probabilities(wrong)
    assert np.allclose(loaded.probabilities(vectors)[:, 1], found["tone:yes"])
    assert [loaded.labels[index] for index in loaded.predict(vectors)] == found["tone"]
    assert bank.predict(wanted, heads=["tone"])["tone"].labels == found["tone"]


def test_metadata_of_other_probes_say_nothing_of_calibration(cli, texts):
    _, path = texts
    probe(cli, "tone", *gamma(cli))
    ran = predict(cli, "tone", f"corpus.path={path}")
    facts = json.loads((Path(ran.result["path"]) / "predictions.json").read_text(encoding="utf-8"))
    assert facts["heads"][0].keys() == {"name", "kind", "labels", "abstained"}


def test_improbable_class_is_left_empty_and_counted(cli, texts):
    wanted, path = texts
    probe(cli, "tone", *gamma(cli))
    every = columns_of(predict(cli, "tone", f"corpus.path={path}"))
    least = sorted(every["tone.probability"])[7]
    ran = predict(cli, "tone", f"corpus.path={path}", f"predict.abstain_below={least}")
    found = columns_of(ran)
    below = [value < least for value in every["tone.probability"]]
    assert found["tone.abstained"] == below and sum(below) == 7
    assert [label is None for label in found["tone"]] == below
    assert ran.result["abstained"] == {"tone": 7}
    bank = pb.load_bank("demo")
    assert bank.predict(wanted, heads=["tone"], abstain_below=least)["tone"].labels == found["tone"]


def test_ids_texts_and_shards_are_those_of_the_corpus(cli, texts, tmp_path):
    wanted, path = texts
    probe(cli, "tone", *gamma(cli))
    corpus = (f"corpus.path={path}", "corpus.id_column=key")
    whole = columns_of(predict(cli, "tone", *corpus, "predict.text=true"))
    out = tmp_path / "labels.parquet"
    shards = ("corpus.shard_rows=8", "name=small", f"--out={out}")
    ran = predict(cli, "tone", *corpus, "predict.text=true", *shards)
    assert sorted(path.name for path in Path(ran.result["path"]).glob("*.parquet")) == [
        f"part-0000{number}.parquet" for number in range(3)
    ]
    assert columns_of(ran) == whole == parquet.read_table(out).to_pydict()
    assert whole["id"] == [f"n{number}" for number in range(20)] and whole["text"] == wanted


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_other_formats_hold_the_same(cli, texts, sets, form, tmp_path):
    _, path = texts
    probe(cli, "tone", *gamma(cli))
    probe(cli, "sets", *sets)
    expected = columns_of(predict(cli, "tone,sets", f"corpus.path={path}"))
    out = tmp_path / "out"
    predict(cli, "tone,sets", f"corpus.path={path}", f"predict.format={form}", f"--out={out}")
    file = out / f"part-00000.{form}"
    if form == "jsonl":
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        assert {name: [row[name] for row in rows] for name in rows[0]} == expected
        return
    with file.open(newline="", encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["tone"] for row in rows] == expected["tone"]
    assert [row["sets"] for row in rows] == ["|".join(one) for one in expected["sets"]]
    assert [float(row["tone.probability"]) for row in rows] == expected["tone.probability"]


def test_lines_of_standard_input_give_lines_of_json(cli, texts):
    wanted, path = texts
    probe(cli, "tone", *gamma(cli))
    expected = columns_of(predict(cli, "tone", f"corpus.path={path}"))
    lines = "\n".join(json.dumps({"text": text}) for text in wanted)
    for form, given in (("txt", "\n".join(wanted)), ("jsonl", lines)):
        ran = cli.done(
            "predict",
            "bank=demo",
            "heads=[tone]",
            "corpus.path=-",
            f"corpus.format={form}",
            input=given,
        )
        rows = [json.loads(line) for line in ran.out.splitlines()]
        assert [row["tone"] for row in rows] == expected["tone"]


def test_vectors_that_were_embedded_are_not_made_again(cli, texts):
    _, path = texts
    probe(cli, "tone", *gamma(cli))
    cli.done("embed", "bank=demo", f"corpus.path={path}")
    steps = predict(cli, "tone", f"corpus.path={path}").steps
    assert ("embed", "new@demo", "hit") in steps and ("predict", "new@demo", "done") in steps
    assert predict(cli, "tone", f"corpus.path={path}").steps[-1] == ("predict", "new@demo", "hit")
    assert Store(cli.store).ref("predictions", "new@demo") is not None


def test_result_that_was_made_under_another_name_has_the_new_one(cli, texts):
    _, path = texts
    probe(cli, "tone", *gamma(cli))
    first = predict(cli, "tone", f"corpus.path={path}").result
    again = predict(cli, "tone", f"corpus.path={path}", "name=other").result
    assert (first["name"], again["name"], again["key"]) == ("new@demo", "other", first["key"])


def test_probe_is_found_by_the_name_that_the_bank_has_now(cli, texts):
    _, path = texts
    cli.done("combine", "prefixes=[alpha,beta]", "name=copy")
    cli.done("probe", "bank=copy", *QUICK, *gamma(cli))
    ran = cli.done("predict", "bank=copy", "heads=[gamma]", f"corpus.path={path}")
    assert "gamma" in columns_of(ran)


def test_probe_named_after_task_and_bank_needs_its_task_only(cli, texts):
    _, path = texts
    cli.done("probe", "bank=demo", *QUICK, *gamma(cli))
    assert "gamma" in columns_of(predict(cli, "gamma", f"corpus.path={path}"))


@pytest.fixture
def blocks(cli) -> None:
    """A bank of two read-outs, `blocks`."""
    for name in ("alpha", "beta"):
        cli.train(name, *READOUT, f"name=r-{name}")
    cli.done("combine", "prefixes=[r-alpha,r-beta]", "name=blocks")


def test_sources_of_a_bank_and_probes_predict_side_by_side(cli, blocks, texts):
    wanted, path = texts
    probe(cli, "tone", *gamma(cli), bank="blocks")
    probe(cli, "one", *gamma(cli), "probe.blocks=[r-beta]", bank="blocks")
    ran = predict(cli, "r-alpha,tone,one,source/r-beta", f"corpus.path={path}", bank="blocks")
    found = columns_of(ran)
    bank = pb.load_bank("blocks")
    of_blocks = bank.blocks(wanted)
    for name in ("r-alpha", "r-beta"):
        (head,) = bank.heads[name]
        expected = [head.labels[index] for index in head.predict(of_blocks[name])]
        assert found[name] == expected
    names = pb.load_probe("tone").labels
    assert found["tone"] == [names[i] for i in pb.load_probe("tone").predict(bank.embed(wanted))]
    one = pb.load_probe("one").predict(of_blocks["r-beta"])
    assert found["one"] == [names[index] for index in one]


def test_only_blocks_that_heads_read_are_embedded(cli, blocks, texts):
    _, path = texts
    steps = predict(cli, "r-beta", f"corpus.path={path}", bank="blocks").steps
    assert [step for step in steps if step[0] == "embed" and step[2] == "done"] == [
        ("embed", "new@blocks r-beta", "done")
    ]


def test_probe_of_a_block_stays_valid_while_another_is_refreshed(cli, blocks, texts):
    _, path = texts
    probe(cli, "one", *gamma(cli), "probe.blocks=[r-beta]", bank="blocks")
    probe(cli, "both", *gamma(cli), bank="blocks")
    before = columns_of(predict(cli, "one", f"corpus.path={path}", bank="blocks"))
    cli.train("alpha", *READOUT, "name=r-alpha", "seed=1")
    cli.done("combine", "prefixes=[r-alpha,r-beta]", "name=blocks")
    assert columns_of(predict(cli, "one", f"corpus.path={path}", bank="blocks")) == before
    fault = cli.expect_fault(2, "predict", "bank=blocks", "heads=[both]", f"corpus.path={path}")
    assert "reads a block that the bank does not have, or not any more" in fault.what
    assert fault.fix.startswith("prefixbank probe bank=") and "name=NEW" in fault.fix


def test_head_of_another_bank_is_refused_by_name(cli, texts):
    _, path = texts
    probe(cli, "tone", *gamma(cli))
    probe(cli, "plain", *gamma(cli), "encoder=tiny", bank="none")
    fault = cli.expect_fault(
        2, "predict", "bank=none", "encoder=tiny", "heads=[tone]", f"corpus.path={path}"
    )
    assert fault.what.startswith("probe tone with the plain encoder: the probe was fitted on anoth")
    fault = cli.expect_fault(2, "predict", "bank=demo", "heads=[plain]", f"corpus.path={path}")
    assert fault.what.startswith("probe plain with bank demo")
    assert fault.expected.endswith("none, the plain encoder")


def test_heads_that_embed_otherwise_are_refused_together(cli, texts):
    _, path = texts
    probe(cli, "tone", *gamma(cli))
    probe(cli, "short", *gamma(cli), "max_length_tokens=8")
    fault = cli.expect_fault(2, "predict", "bank=demo", "heads=[tone,short]", f"corpus.path={path}")
    assert "max_length_tokens=8" in fault.what and "max_length_tokens=128" in fault.what


@pytest.mark.parametrize(
    ("heads", "what"),
    [
        ("", "no heads given"),
        ("tone,tone", "head tone is given twice"),
        ("tune", "no probe or key 'tune'"),
        ("source/alpha", "no source 'alpha' in the bank"),
        ("fold", "probe fold holds 2 models"),
        ("coarse", "probe coarse reads vectors calibrated by vectors=int8"),
        ("turned", "probe turned reads vectors calibrated by transform=rotation"),
    ],
)
def test_head_that_cannot_be_used_is_refused_before_any_text_is_read(cli, texts, heads, what):
    _, path = texts
    probe(cli, "tone", *gamma(cli))
    if heads == "fold":
        probe(cli, "fold", *gamma(cli), "probe.shots=4", "probe.few_shot_samples=2")
    if heads == "coarse":
        probe(cli, "coarse", *gamma(cli), "vectors=int8", "calibration_rows=12")
    if heads == "turned":
        probe(cli, "turned", *gamma(cli), "transform=rotation", "transform_size=8")
    fault = cli.expect_fault(
        2, "predict", "bank=demo", f"heads=[{heads}]", f"corpus.path={path}", "--dry-run"
    )
    assert what in fault.what


PAIRS = "text,more,label\n" + "".join(
    f"{text},{other},{label}\n"
    for text, other, label in zip(
        rows_of("alpha", "train")["text"],
        rows_of("beta", "train")["text"],
        rows_of("alpha", "train")["label"],
        strict=True,
    )
)


@pytest.mark.parametrize("readings", [("joint",), ("separate",), ("joint", "separate")])
def test_pairs_are_read_as_the_heads_need_and_no_further(cli, tmp_path, readings):
    (tmp_path / "pairs.csv").write_text(PAIRS, encoding="utf-8")
    task = (f"task.path={tmp_path / 'pairs.csv'}", "task.columns.text_pair=more")
    for name in readings:
        probe(cli, name, *task, f"pairs={name}")
    corpus = (f"corpus.path={tmp_path / 'pairs.csv'}", "corpus.column_pair=more")
    ran = predict(cli, ",".join(readings), *corpus)
    found, rows = columns_of(ran), list(csv.DictReader(PAIRS.splitlines()))
    pairs = "both" if len(readings) > 1 else readings[0]
    embedded = [
        entry for entry in Store(cli.store).entries("embed") if "part-00000" in str(entry.files)
    ]
    assert embedded[-1].document["config"]["pairs"] == pairs
    for name in readings:
        bank = pb.load_bank("demo", recipe=pb.EmbedRecipe(pairs=name))
        vectors = bank.embed([row["text"] for row in rows], [row["more"] for row in rows])
        probed = pb.load_probe(name)
        assert np.allclose(
            probed.probabilities(vectors).max(axis=1), found[f"{name}.probability"], atol=1e-4
        )


def test_probe_that_chose_one_reading_needs_that_one_only(cli, tmp_path):
    (tmp_path / "pairs.csv").write_text(PAIRS, encoding="utf-8")
    task = (f"task.path={tmp_path / 'pairs.csv'}", "task.columns.text_pair=more")
    path = Path(probe(cli, "best", *task).result["path"])
    fits = json.loads((path / "probe.json").read_text(encoding="utf-8"))["fits"]
    chosen = fits[0]["reads"]["readings"]
    corpus = (f"corpus.path={tmp_path / 'pairs.csv'}", "corpus.column_pair=more")
    predict(cli, "best", *corpus)
    (entry,) = [
        entry for entry in Store(cli.store).entries("embed") if entry.info["name"] == "pairs@demo"
    ]
    assert entry.document["config"]["pairs"] == (chosen[0] if len(chosen) == 1 else "both")


def test_texts_that_differ_where_the_encoder_does_not_look_are_their_own(cli, tmp_path):
    probe(cli, "tone", *gamma(cli), "max_length_tokens=4")
    for last in ("one", "two"):
        (tmp_path / "new.txt").write_text(f"good good good good good {last}\n", encoding="utf-8")
        ran = predict(cli, "tone", f"corpus.path={tmp_path / 'new.txt'}", "predict.text=true")
        assert columns_of(ran)["text"] == [f"good good good good good {last}"]


def test_probes_of_other_poolings_are_refused_together(cli, texts):
    _, path = texts
    plain = ("encoder=tiny", *gamma(cli))
    probe(cli, "a", *plain, bank="none")
    probe(cli, "b", *plain, "pooling.norm=layer", bank="none")
    settings = ("bank=none", "encoder=tiny", f"corpus.path={path}")
    fault = cli.expect_fault(2, "predict", "heads=[a,b]", *settings)
    assert "pooling.norm=layer" in fault.what and "pooling.norm=none" in fault.what
    assert "b" in columns_of(cli.done("predict", "heads=[b]", *settings))


@pytest.mark.parametrize("name", ["id", "row", "text", "tone.probability"])
def test_head_that_would_take_a_column_is_refused(cli, texts, name):
    _, path = texts
    probe(cli, "tone", *gamma(cli))
    probe(cli, name, *gamma(cli))
    fault = cli.expect_fault(
        2, "predict", "bank=demo", f"heads=[tone,{name}]", f"corpus.path={path}"
    )
    assert fault.what == f"head {name} has the name of another column of the predictions"


def test_probe_and_source_of_one_name_are_told_apart(cli, blocks, texts):
    _, path = texts
    probe(cli, "r-beta", *gamma(cli), bank="blocks")
    settings = ("bank=blocks", f"corpus.path={path}")
    fault = cli.expect_fault(2, "predict", "heads=[r-beta]", *settings)
    assert fault.fix == "probe/r-beta    or source/r-beta"
    fault = cli.expect_fault(2, "predict", "heads=[probe/r-beta,source/r-beta]", *settings)
    assert "has the name of another column" in fault.what
    keys = {
        cli.done("predict", f"heads=[{one}/r-beta]", *settings).result["key"]
        for one in ("probe", "source")
    }
    assert len(keys) == 2


def test_order_of_heads_is_that_of_the_columns(cli, texts):
    _, path = texts
    for name in ("one", "two"):
        probe(cli, name, *gamma(cli))
    for heads in ("one,two", "two,one"):
        found = columns_of(predict(cli, heads, f"corpus.path={path}"))
        assert [name for name in found if name in ("one", "two")] == heads.split(",")


def test_one_task_of_a_source_of_several_can_be_asked_for(cli, texts):
    _, path = texts
    cli.done(
        "train-prefix",
        "task.mixture=[alpha,beta]",
        f"run.data_root={cli.tasks}",
        "encoder=tiny",
        "prefix.length=2",
        "optim.epochs=1",
        *READOUT,
        "name=both",
    )
    cli.done("combine", "prefixes=[both]", "name=mix")
    every = columns_of(predict(cli, "both", f"corpus.path={path}", bank="mix"))
    assert {"both.alpha", "both.beta"} < set(every)
    one = columns_of(predict(cli, "source/both.beta", f"corpus.path={path}", bank="mix"))
    assert "both.alpha" not in one and one["both.beta"] == every["both.beta"]


def test_key_of_something_else_is_no_head(cli, texts):
    _, path = texts
    key = Store(cli.store).resolve("bank", "demo").key
    fault = cli.expect_fault(2, "predict", "bank=demo", f"heads=[{key}]", f"corpus.path={path}")
    assert fault.what == f"head {key} is the result of combine, not a probe"


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_lines_on_standard_output_are_those_of_the_format(cli, form):
    probe(cli, "tone", *gamma(cli))
    texts = ["a good\u2028room", "2024-01-05", "001"]
    ran = cli.done(
        "predict",
        "bank=demo",
        "heads=[tone]",
        "corpus.path=-",
        f"predict.format={form}",
        "predict.text=true",
        "corpus.shard_rows=2",
        input="\n".join(texts),
    )
    lines = ran.out.removesuffix("\n").split("\n")
    rows = list(csv.DictReader(lines)) if form == "csv" else [json.loads(line) for line in lines]
    assert [row["text"] for row in rows] == texts


def test_python_finds_probes_by_the_name_that_the_bank_has_now(cli):
    cli.done("combine", "prefixes=[alpha,beta]", "name=copy")
    cli.done("probe", "bank=copy", *QUICK, *gamma(cli))
    assert "gamma" in pb.load_bank("copy").predict(["a good room"], heads=["gamma"])


def test_probe_of_the_bank_goes_before_one_of_its_name_on_another(cli, texts):
    _, path = texts
    probe(cli, "gamma", *gamma(cli), "encoder=tiny", bank="none")
    cli.done("probe", "bank=demo", *QUICK, *gamma(cli))
    assert "gamma" in columns_of(predict(cli, "gamma", f"corpus.path={path}"))


def test_head_of_pairs_refuses_single_texts_and_the_other_way_round(cli, tmp_path, lines):
    (tmp_path / "pairs.csv").write_text(PAIRS, encoding="utf-8")
    task = (f"task.path={tmp_path / 'pairs.csv'}", "task.columns.text_pair=more")
    probe(cli, "both", *task, "pairs=joint")
    probe(cli, "tone", *gamma(cli))
    fault = cli.expect_fault(2, "predict", "bank=demo", "heads=[both]", f"corpus.path={lines}")
    assert fault.what == "head both reads pairs of texts"
    pairs = (f"corpus.path={tmp_path / 'pairs.csv'}", "corpus.column_pair=more")
    fault = cli.expect_fault(2, "predict", "bank=demo", "heads=[tone]", *pairs)
    assert fault.what == "head tone reads single texts"
    with pytest.raises(pb.UsageError, match="head both reads pairs of texts"):
        pb.load_bank("demo").predict(["a text"], heads=["both"])


def test_probe_of_an_earlier_version_is_refused(cli, texts, monkeypatch):
    from prefixbank.steps.probe import make

    _, path = texts
    write = make.write_json
    monkeypatch.setattr(
        make,
        "write_json",
        lambda target, value: write(target, {k: v for k, v in value.items() if k != "vectors"}),
    )
    probe(cli, "tone", *gamma(cli))
    fault = cli.expect_fault(2, "predict", "bank=demo", "heads=[tone]", f"corpus.path={path}")
    assert fault.what == "an earlier version of prefixbank fitted probe tone"
    with pytest.raises(pb.UsageError, match="an earlier version"):
        pb.load_probe("tone")


def test_nothing_is_predicted_from_no_text(cli, texts):
    _, path = texts
    probe(cli, "tone", *gamma(cli))
    settings = ("bank=demo", "heads=[tone]", f"corpus.path={path}", "corpus.empty=zero")
    fault = cli.expect_fault(2, "predict", *settings)
    assert "corpus.empty=zero" in fault.what and fault.fix.startswith("corpus.empty=drop")


def test_python_wants_a_list_of_heads(cli, texts):
    probe(cli, "tone", *gamma(cli))
    with pytest.raises(pb.UsageError, match="a text instead of a list of names"):
        pb.load_bank("demo").predict(["a text"], heads="tone")


def test_source_of_a_similar_name_is_suggested(cli, texts):
    _, path = texts
    cli.train("alpha", *READOUT, "name=mood")
    cli.done("combine", "prefixes=[mood]", "name=blocks")
    settings = ("bank=blocks", "heads=[moood]", f"corpus.path={path}")
    fault = cli.expect_fault(2, "predict", *settings)
    assert "did you mean the source 'mood'" in fault.what


def test_source_reads_as_much_of_a_text_as_in_training(cli, texts):
    wanted, path = texts
    length = "max_length_tokens=4"
    cli.train("alpha", *READOUT, length, "name=short")
    cli.done("combine", "prefixes=[short]", "name=brief")
    found = columns_of(predict(cli, "short", f"corpus.path={path}", bank="brief"))
    block = pb.load_bank("brief", recipe=pb.EmbedRecipe(max_length_tokens=4)).blocks(wanted)
    (head,) = pb.load_bank("brief").heads["short"]
    assert found["short"] == [head.labels[index] for index in head.predict(block["short"])]
    assert pb.load_bank("brief").predict(wanted)["short"].labels == found["short"]
    probe(cli, "tone", *gamma(cli), bank="brief")
    asked = ("predict", "bank=brief", "heads=[tone,short]", f"corpus.path={path}")
    fault = cli.expect_fault(2, *asked)
    assert fault.what == "head short reads 4 tokens of a text, and the others 128"
    probe(cli, "tone", *gamma(cli), length, bank="brief")
    cli.done(*asked)


def test_sources_may_have_dots_in_their_names(cli, texts):
    _, path = texts
    cli.train("alpha", *READOUT, "name=mood")
    cli.train("alpha", *READOUT, "name=mood.v2", "seed=1")
    cli.done("combine", "prefixes=[mood,mood.v2]", "name=dotted")
    heads = "mood,mood.v2"
    found = columns_of(predict(cli, heads, f"corpus.path={path}", bank="dotted"))
    assert {"mood", "mood.v2", "mood.v2.probability"} < set(found)
    assert set(pb.load_bank("dotted").predict(["a text"])) == {"mood", "mood.v2"}


def test_python_rounds_vectors_as_those_that_a_probe_was_fitted_on(cli, texts):
    wanted, path = texts
    probe(cli, "tone", *gamma(cli), "vectors=float16")
    found = columns_of(predict(cli, "tone", f"corpus.path={path}", "predict.classes=true"))
    names = [name for name in found if ":" in name]
    shares = pb.load_bank("demo").predict(wanted, heads=["tone"])["tone"].probabilities
    # Texts that are embedded one by one or in batches differ in their last digits.
    np.testing.assert_allclose(np.array([found[name] for name in names]).T, shares, atol=1e-3)
    vectors = pb.load_bank("demo").embed(wanted).astype(np.float16).astype(np.float32)
    np.testing.assert_allclose(pb.load_probe("tone").probabilities(vectors), shares, atol=1e-9)
