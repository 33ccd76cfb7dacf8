"""Pooling that is learned with source tasks: trained, combined, embedded, probed and exported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

import prefixbank as pb
from prefixbank.artifacts.embeddings import read_stored, read_vectors
from prefixbank.store.artifact import Entry
from prefixbank.store.store import Store
from tests.cli.command import CommandLine, Ran

TEXTS = ["the food was good", "a bad and noisy place", "warm"]
ATTENTION = ("pooling=attention", "pooling.heads=2", "optim.head_lr=0.3")
PROBE = ("probe.bootstrap_samples=20", "probe.Cs=[1]")


def trained(cli: CommandLine, *settings: str) -> Ran:
    return cli.done(
        "train-multitask",
        "tasks=[alpha,beta]",
        f"run.data_root={cli.tasks}",
        "encoder=tiny",
        "optim.epochs=1",
        "optim.batch_size=20",
        "optim.head_lr=0.3",
        "name=both",
        *settings,
    )


def entry_of(cli: CommandLine, ran: Ran) -> Entry:
    entry = Store(cli.store).get(ran.result["key"])
    assert entry is not None
    return entry


def embedded(cli: CommandLine, bank: str, lines: Path, *settings: str) -> np.ndarray:
    ran = cli.done("embed", f"bank={bank}", f"corpus.path={lines}", *settings)
    return read_vectors(entry_of(cli, ran), "part-00000")


def attended(tokens: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Definition of attention over the tokens [T, E] of a text with the queries [A, E] of heads."""
    heads, size = queries.shape
    scaled = (tokens - tokens.mean(1, keepdims=True)) / np.sqrt(tokens.var(1, keepdims=True) + 1e-5)
    parts = []
    for head in range(heads):
        weights = np.exp(scaled @ queries[head] / np.sqrt(size))
        share = slice(head * size // heads, (head + 1) * size // heads)
        parts.append((weights / weights.sum()) @ tokens[:, share])
    return np.concatenate(parts)


def test_vectors_of_a_multitask_encoder_are_those_of_its_folder_in_transformers(cli, lines):
    ran = trained(cli, "pooling=attention", "pooling.heads=2", "pooling.size=6")
    folder = entry_of(cli, ran).path / "encoder"
    learned = {
        name: one.double().numpy()
        for name, one in load_file(folder / "pooling.safetensors").items()
    }
    assert np.abs(learned["queries"]).max() > 0.01  # zeros before training
    model, tokenizer = (
        AutoModel.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    wanted = []
    for text in TEXTS:
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        pooled = attended(states.double().numpy(), learned["queries"][0])
        wanted.append(learned["weight"] @ pooled + learned["bias"])
    np.testing.assert_allclose(embedded(cli, "multitask/both", lines), wanted, atol=1e-5)
    bank = pb.load_bank("multitask/both")
    np.testing.assert_allclose(bank.embed(TEXTS), wanted, atol=1e-5)


def test_prefixes_that_learned_to_pool_make_a_bank_that_pools_so(cli, lines, tmp_path):
    for name in ("alpha", "beta"):
        cli.train(name, *ATTENTION, f"name={name}-own")
    own = "prefixes=[alpha-own,beta-own]"
    ran = cli.done("combine", own, "name=own", "combine=concat_vectors")
    bank = entry_of(cli, ran)
    assert bank.document["config"]["pooling"]["position"] == "attention"
    each = []
    for name in ("alpha", "beta"):
        cli.done("combine", f"prefixes=[{name}-own]", f"name=only-{name}")
        each.append(embedded(cli, f"only-{name}", lines))
    found = embedded(cli, "own", lines)
    np.testing.assert_allclose(found, np.hstack(each), atol=1e-5)
    # Exported, too.
    cli.done("export", "bank=own", f"--out={tmp_path / 'bundle'}")
    np.testing.assert_allclose(pb.load_bank(f"{tmp_path}/bundle").embed(TEXTS), found, atol=1e-5)
    # One pass, pooled in the way of each.
    cli.done("combine", own, "name=one-pass")
    assert embedded(cli, "one-pass", lines).shape == found.shape
    cli.done("probe", "bank=own", "task=folder", f"task.path={cli.tasks / 'gamma'}", *PROBE)


def test_source_is_scored_with_its_own_pooling(cli, lines):
    """The head that was trained on the pooled vector fits the vectors of a bank of one."""
    ran = cli.train("alpha", *ATTENTION, "pooling.layers=mix", "name=own")
    entry = entry_of(cli, ran)
    cli.done("combine", "prefixes=[own]", "name=one")
    head = load_file(entry.file("head.safetensors"))
    assert embedded(cli, "one", lines).shape[1] == head["weight"].shape[1]
    assert set(load_file(entry.file("pooling.safetensors"))) == {"queries", "mix", "scale"}


def test_queries_are_embedded_with_the_learned_pooling(cli, lines):
    trained(cli, "pooling=attention")
    cli.done("embed", "bank=multitask/both", f"corpus.path={lines}", "name=lines")
    rows = cli.done("search", "embeddings=lines", "k=1", input="\n".join(TEXTS).encode()).result
    assert [row["row"] for row in rows] == [0, 1, 2]
    assert [row["score"] for row in rows] == pytest.approx([1, 1, 1])


def test_positions_are_told_apart_and_a_projection_is_not(cli):
    position = "pooling.position=[mean,attention]"
    trained(cli, position, "name=listed")
    gamma = ("task=folder", f"task.path={cli.tasks / 'gamma'}", *PROBE, "probe.positions=best")
    assert cli.done("probe", "bank=multitask/listed", *gamma).code == 0
    trained(cli, position, "pooling.size=8", "name=projected")
    fault = cli.expect_fault(2, "probe", "bank=multitask/projected", *gamma)
    assert "a projection of all leaves nothing to choose from" in fault.what


def test_keys_know_learned_pooling_only_where_there_is_some(cli):
    plain = entry_of(cli, trained(cli)).document["config"]["pooling"]
    assert set(plain) == {"position", "layers", "last_k", "layer", "norm"}
    keys = {
        trained(cli, *settings).result["key"]
        for settings in (
            (),
            ("pooling=attention",),
            ("pooling=attention", "pooling.heads=2"),
            ("pooling.size=4",),
            ("pooling.layers=mix",),
            ("pooling.size=4", "pooling.binary=true"),
            ("pooling.skip_first=true",),
        )
    }
    assert len(keys) == 7


def test_binary_pooling_gives_signs_which_bits_keep(cli, lines):
    ran = trained(cli, "pooling.binary=true", "pooling.size=21")
    tensors = load_file(entry_of(cli, ran).file("encoder/pooling.safetensors"))
    codes = embedded(cli, "multitask/both", lines)
    assert codes.shape == (3, 21) and set(np.unique(codes)) == {-1.0, 1.0}
    kept = cli.done(
        "embed",
        "bank=multitask/both",
        f"corpus.path={lines}",
        "vectors=binary",
        "binary_threshold=zero",
    )
    assert np.array_equal(read_vectors(entry_of(cli, kept), "part-00000"), codes)
    assert read_stored(entry_of(cli, kept), "part-00000").nbytes == 3 * 3
    assert tensors["weight"].shape == (21, 64) and "vectors" not in kept.result


def test_probe_reads_codes_and_score_is_of_codes(cli):
    trained(cli, "pooling.binary=true", "pooling.size=16")
    gamma = ("task=folder", f"task.path={cli.tasks / 'gamma'}")
    bits = ("vectors=binary", "binary_threshold=zero")
    scores = [
        cli.done("probe", "bank=multitask/both", *gamma, *PROBE, *settings).result["score"]
        for settings in ((), bits)
    ]
    assert scores[0] == scores[1]


def test_first_token_is_left_out_on_wish(cli, lines):
    every = embedded(cli, "none", lines, "encoder=tiny")
    rest = embedded(cli, "none", lines, "encoder=tiny", "pooling.skip_first=true")
    first = embedded(cli, "none", lines, "encoder=tiny", "pooling=cls")
    assert np.abs(every - rest).max(axis=1).min() > 1e-3
    # Of n tokens, "warm" has n - 1 without the first.
    difference = every[2] - rest[2]
    shares = (first[2] - rest[2]) / difference
    assert np.median(shares) == pytest.approx(round(float(np.median(shares))), abs=1e-3)
    np.testing.assert_allclose(first[2] - rest[2], np.median(shares) * difference, atol=1e-4)


@pytest.mark.parametrize(
    ("args", "what", "fix"),
    [
        (
            ("embed", "bank=none", "encoder=tiny", "pooling=attention", "corpus.path=LINES"),
            "learned pooling with bank=none",
            "train-multitask",
        ),
        (
            (
                "train-prefix",
                "task=folder",
                "task.path=ALPHA",
                "encoder=tiny",
                "prefix=readout",
                "pooling.size=3",
            ),
            "learned pooling with prefix.kind=readout",
            "prefix.kind=deep",
        ),
        (
            (
                "train-prefix",
                "task=folder",
                "task.path=ALPHA",
                "encoder=tiny",
                "pooling.binary=true",
            ),
            "pooling.binary=true without a learned projection",
            "pooling.size=384",
        ),
        (
            ("train-prefix", "task=folder", "task.path=ALPHA", "encoder=tiny", "pooling.heads=2"),
            "pooling.heads=2 without attention",
            "pooling=attention",
        ),
        (
            ("combine", "prefixes=[alpha,beta]", "name=x", "pooling=attention"),
            "combine with learned pooling, position=attention layers=last, which no prefix",
            "train-prefix",
        ),
        (
            ("combine", "prefixes=[alpha,own]", "name=x"),
            "prefix 'alpha' was trained with pooling position=attention layers=last heads=2, "
            "prefix 'alpha' with position=mean layers=last",
            "or leave it out",
        ),
        (
            ("combine", "prefixes=[own]", "name=x", "pooling=cls"),
            "pooling position=cls layers=last for prefixes that learned their own",
            "drop the pooling settings",
        ),
        (
            ("combine", "prefixes=[own]", "name=x", "pooling=mean"),
            "pooling position=mean layers=last for prefixes that learned their own",
            "drop the pooling settings",
        ),
        (
            ("embed", "bank=one", "corpus.path=LINES", "pooling=mean"),
            "pooling settings with bank=one, which has its own",
            "drop the pooling settings",
        ),
        (
            ("combine", "prefixes=[own,other]", "name=x", "combine=mean_prefixes"),
            "combine.rule=mean_prefixes with learned pooling",
            "combine=concat_prefixes",
        ),
        (
            ("export", "bank=one", "format=peft", "--out=OUT"),
            "a bank with learned pooling with format=peft",
            "format=bundle",
        ),
        (
            ("run", "experiment=smoke", "encoder=tiny", "pooling=attention"),
            "an experiment with learned pooling",
            "experiment.finetuned",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_means_nothing_is_refused(cli, lines, tmp_path, args, what, fix):
    cli.train("alpha", *ATTENTION, "name=own")
    cli.train("beta", *ATTENTION, "name=other")
    cli.done("combine", "prefixes=[own]", "name=one")
    paths = {"LINES": lines, "ALPHA": cli.tasks / "alpha", "OUT": tmp_path / "out"}
    for name, path in paths.items():
        args = tuple(arg.replace(name, str(path)) for arg in args)
    fault = cli.expect_fault(2, *args)
    assert fault.what.startswith(what) and fix in fault.fix


def test_heads_that_do_not_divide_the_features_are_refused(cli):
    ran = cli(
        "train-multitask",
        "tasks=[alpha]",
        f"run.data_root={cli.tasks}",
        "encoder=tiny",
        "pooling=attention",
        "pooling.heads=7",
    )
    assert ran.code == 2 and "pooling.heads=7 for an encoder of size 64" in ran.err


def test_bank_file_holds_what_each_member_learned(cli):
    for name in ("alpha", "beta"):
        cli.train(name, *ATTENTION, f"name={name}-own")
    ran = cli.done("combine", "prefixes=[alpha-own,beta-own]", "name=own")
    bank = entry_of(cli, ran)
    tensors = load_file(bank.file("bank.safetensors"))
    for index, name in enumerate(("alpha", "beta")):
        prefix = Store(cli.store).resolve("prefix", f"{name}-own")
        own = load_file(prefix.file("pooling.safetensors"))
        assert torch.equal(tensors[f"{index}.pooling.queries"], own["queries"])
    assert json.loads((bank.path / "bank.json").read_text())["pooling"]["heads"] == 2


def test_student_begins_with_what_its_teacher_learned(cli, lines):
    learned = ("pooling=attention", "pooling.layers=mix", "pooling.size=6")
    trained(cli, *learned)
    student = ("train-student", "teacher=multitask/both", f"run.data_root={cli.tasks}")
    cli.done(*student, "student.layers=2", "optim.epochs=0", "name=whole")
    vectors = embedded(cli, "multitask/both", lines)
    np.testing.assert_allclose(embedded(cli, "student/whole", lines), vectors, atol=1e-6)
    ran = cli.done(*student, "student.layers=1", "optim.epochs=0", "name=half")
    teacher, half = (
        load_file(Store(cli.store).resolve(kind, name).path / "encoder" / "pooling.safetensors")
        for kind, name in (("multitask", "both"), ("student", "half"))
    )
    assert ran.result["tasks"] == ["alpha", "beta"]
    assert torch.equal(half["mix"], teacher["mix"][:2]) and len(teacher["mix"]) == 3
    assert torch.equal(half["queries"], teacher["queries"])


STUDY = ("run", "experiment=smoke", "encoder=tiny", "experiment.targets=[gamma]")


@pytest.mark.parametrize(
    ("representation", "setting"),
    [("mean_vectors", "pooling.size=4"), ("mean_prefixes", "pooling.position=attention")],
)
def test_study_refuses_means_that_mean_nothing_before_any_training(cli, representation, setting):
    overrides = f'experiment.overrides={{alpha: ["{setting}"], beta: ["{setting}"]}}'
    fault = cli.expect_fault(
        2,
        *(*STUDY, "experiment.sources=[alpha,beta]", f"run.data_root={cli.tasks}", overrides),
        f"experiment.representations=[plain,{representation}]",
    )
    assert fault.what == f"representation {representation} of sources with learned pooling"


def test_report_names_the_pooling_that_was_learned(cli):
    overrides = 'experiment.overrides={alpha: ["pooling.size=4"], beta: ["pooling.size=4"]}'
    ran = cli.done(
        *(*STUDY, "experiment.sources=[alpha,beta]", f"run.data_root={cli.tasks}", overrides),
        "experiment.representations=[plain,concat_vectors,finetuned]",
        'experiment.finetuned=["pooling.position=attention"]',
        *("finetune.epochs=0", "optim.epochs=0", "probe.bootstrap_samples=20"),
    )
    text = (Path(ran.result["path"]) / "report.md").read_text(encoding="utf-8")
    assert "pooling learned: position=mean layers=last size=4; the epoch" in text
    assert "on a target: all weights, pooling learned: position=attention layers=last." in text


def test_median_of_signs_is_refused(cli, lines):
    trained(cli, "pooling.binary=true", "pooling.size=16")
    ran = cli("embed", "bank=multitask/both", f"corpus.path={lines}", "vectors=binary")
    assert ran.code == 2
    assert "binary_threshold=median for vectors that are 1 and -1 already" in ran.err
    assert "fix: vectors=binary binary_threshold=zero" in ran.err
