"""`transform=`: vectors, and bits, of another size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import prefixbank as pb
from prefixbank.artifacts.embeddings import read_calibration, read_stored, read_vectors
from prefixbank.config.schema import EmbedRecipe, key_config
from prefixbank.core import fit_transform as fitting
from prefixbank.core.fit_transform import fit_transform
from prefixbank.core.quantize import calibrate, dequantize, quantize, share_near
from prefixbank.errors import UsageError
from prefixbank.steps.embed import corpus as embed_corpus
from prefixbank.steps.embed import make as embed_parts
from prefixbank.store.artifact import Entry
from prefixbank.store.store import Store
from tests.prepared import copy_store
from tests.runtime.inline import Inline

FOODS = ("soup", "bread", "rice", "tea", "fish", "cake", "salad", "stew")
WORDS = ("cold", "warm", "good", "bad", "late")
TEXTS = [f"the {food} was {word} today" for food in FOODS for word in WORDS]
FIRST = 30
"""Rows of the first shard, which the transform is fitted on."""
SAMPLE = (f"transform_rows={FIRST}", f"calibration_rows={FIRST}")
SMALL = ("transform_size=8", *SAMPLE)
ITQ = ("transform=itq", "vectors=binary", *SMALL)
SHARDS = pytest.mark.parametrize("shard_rows", [100, FIRST], ids=["one shard", "two shards"])


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "STEPS", 20)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "lines.txt"
    path.write_text("".join(f"{text}\n" for text in TEXTS), encoding="utf-8")
    return path


@pytest.fixture
def embed(cli, corpus):
    def run(*settings: str, call=cli.done):
        return call("embed", "bank=demo", f"corpus.path={corpus}", *settings)

    return run


def entry_of(cli, ran) -> Entry:
    entry = Store(cli.store).get(ran.result["key"])
    assert entry is not None
    return entry


def stems(entry: Entry) -> list[str]:
    names: list[str] = facts(entry)["parts"]
    return names


def facts(entry: Entry) -> dict:
    return json.loads(entry.file("embeddings.json").read_text(encoding="utf-8"))


@SHARDS
@pytest.mark.parametrize(
    ("kind", "vectors", "size", "size_bytes"),
    [
        ("pca", "float32", 8, 32),
        ("pca", "int8", 8, 8),
        ("rotation", "float16", 64, 128),
        ("rotation", "binary", 100, 13),
        ("itq", "binary", 8, 1),
        ("autoencoder", "binary", 70, 9),
    ],
)
def test_vectors_are_transformed_by_what_the_first_rows_fit(
    cli, embed, shard_rows, kind, vectors, size, size_bytes
):
    ran = embed(
        f"transform={kind}",
        f"vectors={vectors}",
        f"transform_size={size}",
        "transform_seed=3",
        f"corpus.shard_rows={shard_rows}",
        *SAMPLE,
    )
    entry, bank = entry_of(cli, ran), pb.load_bank("demo")
    shards = [TEXTS] if shard_rows == 100 else [TEXTS[:FIRST], TEXTS[FIRST:]]
    exact = [bank.embed(texts) for texts in shards]
    transform = fit_transform(kind, exact[0][:FIRST], size, 3)
    made = [transform(one) for one in exact]
    sample = calibrate(made[0][:FIRST], (transform,))
    stored = np.concatenate([quantize(one, vectors, sample, "median") for one in made])
    assert np.array_equal(
        np.concatenate([read_stored(entry, stem) for stem in stems(entry)]), stored
    )
    assert np.array_equal(
        np.concatenate([read_vectors(entry, stem) for stem in stems(entry)]),
        dequantize(stored, vectors, sample, size),
    )
    described = {"type": vectors, "features": size, "transform": kind, "bytes": size_bytes}
    if vectors == "binary":
        assert set(np.unique(read_vectors(entry, stems(entry)[0]))) == {-1.0, 1.0}
        described["near_threshold"] = share_near(made[0][:FIRST], np.zeros(size, np.float32))
    assert facts(entry)["vectors"] == ran.result["vectors"] == described
    assert f" as {vectors} after {kind} ({size} " in ran.err and f"{size_bytes} bytes" in ran.err


def test_calibration_can_be_read_back(cli, embed):
    found = read_calibration(entry_of(cli, embed(*ITQ)).file("calibration.safetensors"))
    exact = pb.load_bank("demo").embed(TEXTS)[:FIRST]
    transform = fit_transform("itq", exact, 8, 0)
    (read,) = found.transforms
    assert np.array_equal(read.mean, transform.mean)
    assert np.array_equal(read.matrix, transform.matrix)
    assert np.array_equal(found.low, transform(exact).min(axis=0))


def digests(store: Path) -> dict[str, str]:
    return {entry.key: entry.digest for entry in Store(store).entries()}


def test_workers_make_the_same_shards(cli, embed, tmp_path, monkeypatch):
    other = copy_store(cli.store, tmp_path / "other")
    settings = (*ITQ, f"corpus.shard_rows={FIRST}")
    embed(*settings, "--store", str(other))
    Inline(num_workers=2).instead(monkeypatch)
    embed(*settings, "run.workers=2")
    assert digests(cli.store) == digests(other)


@pytest.mark.parametrize("where", ["behind the fit", "in the second shard"])
def test_killed_run_goes_on_to_the_same_bytes(cli, embed, tmp_path, monkeypatch, where):
    other = copy_store(cli.store, tmp_path / "other")
    settings = (*ITQ, f"corpus.shard_rows={FIRST}")
    embed(*settings, "--store", str(other))

    def killed(*given: object, **named: object) -> None:
        raise KeyboardInterrupt

    module, name = (
        (embed_parts, "publish_part") if where == "behind the fit" else (embed_corpus, "link")
    )
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, name, killed)
        embed(*settings, call=lambda command, *given: pb.run(command, *given))
    with monkeypatch.context() as patch:
        patch.setattr(embed_parts, "fit_transform", killed)  # what was fitted is kept
        embed(*settings)
    assert digests(cli.store) == digests(other)


def test_grown_corpus_keeps_its_transform_and_its_first_shard(cli, corpus, embed):
    settings = (*ITQ, f"corpus.shard_rows={FIRST}")
    before = entry_of(cli, embed(*settings))
    corpus.write_text("".join(f"{text}\n" for text in [*TEXTS, "new"]), encoding="utf-8")
    ran = embed(*settings)
    after = entry_of(cli, ran)
    assert "2 shards: 1 hits, 1 to run" in ran.err
    for name in ("calibration.safetensors", "part-00000.parquet"):
        assert before.files[name].sha256 == after.files[name].sha256


@pytest.mark.parametrize(
    ("settings", "idle"),
    [
        ((), "transform_size=8"),
        ((), "transform_rows=8"),
        ((), "transform_seed=8"),
        (("transform=pca", *SMALL), "transform_seed=8"),
        (ITQ, "binary_threshold=zero"),
    ],
)
def test_settings_without_an_effect_reach_no_key(embed, settings, idle):
    embed(*settings)
    assert embed(*settings, idle).steps[-1][-1] == "hit"


def test_default_recipe_has_the_key_of_before():
    assert not [name for name in key_config(EmbedRecipe()) if name.startswith("transform")]


@pytest.mark.parametrize(
    "settings",
    [
        ("transform=pca", *SMALL),
        ("transform=pca", "vectors=int8", *SMALL),
        ("transform=rotation", "vectors=binary", "transform_size=200", *SAMPLE),
        ITQ,
        ("transform=autoencoder", "vectors=binary", "transform_size=128", *SAMPLE),
    ],
    ids=" ".join,
)
def test_text_itself_is_among_its_nearest_neighbours(cli, embed, settings):
    embed(*settings)
    asked = TEXTS[7]
    found = cli.done("search", asked, "embeddings=lines@demo", "k=12", "--format", "json")
    rows = json.loads(found.out)
    assert 7 in [row["row"] for row in rows]
    scores = [row["score"] for row in rows]
    # 8 bits are the same for several texts, so that others may be as near.
    assert scores == sorted(scores, reverse=True) and (settings is ITQ or rows[0]["row"] == 7)


def gamma(cli) -> tuple[str, ...]:
    return ("bank=demo", "task=folder", f"task.path={cli.tasks / 'gamma'}", *QUICK)


QUICK = ("probe.bootstrap_samples=20", "probe.Cs=[0.1]")


def test_probe_reads_bits_that_its_train_rows_fit(cli):
    cli.done("probe", *gamma(cli), *ITQ)
    (entry,) = [
        one for one in Store(cli.store).entries("embed") if one.info["name"] == "gamma@demo"
    ]
    assert stems(entry) == ["train", "validation", "test"]
    for stem in stems(entry):
        vectors = read_vectors(entry, stem)
        assert vectors.shape[1] == 8 and set(np.unique(vectors)) == {-1.0, 1.0}
    (fit,) = read_calibration(entry.file("calibration.safetensors")).transforms
    assert fit.matrix.shape == (64, 8)


def test_readings_of_pairs_have_transforms_of_their_own(cli):
    settings = ("transform=pca", "transform_size=6")
    ran = cli.done("probe", "bank=demo", "task=similarity", "task.max_rows=60", *settings, *QUICK)
    (probe,) = json.loads((Path(ran.result["path"]) / "probe.json").read_text("utf-8"))["fits"]
    assert [one["readings"] for one in probe["candidates"]] == [
        ["joint"],
        ["separate"],
        ["joint", "separate"],
    ]
    (entry,) = Store(cli.store).entries("embed")
    calibration = read_calibration(entry.file("calibration.safetensors"))
    assert [one.matrix.shape for one in calibration.transforms] == [(64, 6), (256, 6)]
    assert [(one["reading"], one["size"]) for one in facts(entry)["layout"]] == [
        ("joint", 6),
        ("separate", 6),
    ]


@pytest.mark.parametrize(
    ("settings", "what", "fix"),
    [
        (
            ("transform=itq", "vectors=int8"),
            "transform=itq with vectors=int8",
            "vectors=binary    or transform=pca vectors=int8",
        ),
        (
            ("transform=autoencoder",),
            "transform=autoencoder with vectors=float32",
            "vectors=binary    or transform=pca vectors=float32",
        ),
        (
            ("transform=pca", "transform_size=65"),
            "transform=pca transform_size=65 on vectors of 64 features",
            "transform_size=64    or transform=rotation, which can give more",
        ),
        (
            ("transform=itq", "vectors=binary"),
            "transform=itq of vectors to 64 features, fitted on 40 rows",
            "transform_size=39    or transform=rotation, which any number of rows will do for",
        ),
        (
            ("transform=pca", "transform_size=20", "transform_rows=20"),
            "transform=pca of vectors to 20 features, fitted on 20 rows",
            "transform_size=19    or transform=rotation, which any number of rows will do for",
        ),
        (
            ("transform=pca", "corpus.shard_rows=30"),
            "transform_rows=4096 with shards of 30 rows",
            "corpus.shard_rows=4096    or transform_rows=30",
        ),
        (
            ("transform=pca", "reuse=true"),
            "reuse=true with transform=pca, which one corpus calibrates",
            "transform=none vectors=float16    or drop reuse=true",
        ),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, tuple) else "",
)
def test_transform_that_cannot_be_fitted_is_refused(cli, embed, monkeypatch, settings, what, fix):
    def fitted(*given: object) -> None:
        raise AssertionError("all rows were embedded before")

    monkeypatch.setattr(embed_parts, "fit_transform", fitted)
    fault = embed(*settings, call=lambda *given: cli.expect_fault(2, *given))
    assert (fault.what, fault.fix) == (what, fix)


@pytest.mark.parametrize("choice", ["probe.layers=best", "probe.positions=best"])
def test_no_layer_or_position_of_transformed_vectors_is_chosen(cli, choice):
    fault = cli.expect_fault(2, "probe", *gamma(cli), "transform=rotation", choice)
    assert fault.what.startswith(f"{choice} with transform=rotation")


def test_bank_in_memory_has_no_transform(cli):
    with pytest.raises(UsageError, match="a bank in memory with transform=pca"):
        pb.load_bank("demo", recipe=pb.EmbedRecipe(transform="pca"))


def test_rows_without_an_effect_change_no_byte(cli, tmp_path):
    """Without int8 or binary vectors `calibration_rows` counts for nothing, and is in no key."""
    path = tmp_path / "many.txt"
    path.write_text("".join(f"text {number}\n" for number in range(30)), encoding="utf-8")
    made = ("embed", "bank=none", "encoder=tiny", f"corpus.path={path}")
    pca = ("transform=pca", "transform_size=4", "vectors=float16")
    usual = cli.done(*made, *pca).result["key"]
    entry = Store(cli.store).get(usual)
    assert entry is not None
    again = cli.done(*made, *pca, "calibration_rows=7", "--force").result["key"]
    found = Store(cli.store).get(again)
    assert found is not None and (again, found.digest) == (usual, entry.digest)
