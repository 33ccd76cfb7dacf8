"""Banks of read-outs: each source has a block of its own, which no other source changes."""

from __future__ import annotations

import json
import os
import shlex
import signal
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

import prefixbank as pb
from prefixbank.artifacts.embeddings import read_calibration, read_vectors
from prefixbank.core.fit_transform import fit_transform
from prefixbank.core.pairs import pair_features
from prefixbank.core.quantize import calibrate, dequantize, quantize
from prefixbank.core.transform import transformed
from prefixbank.steps.embed import make as embed_parts
from prefixbank.steps.embed import rows as embedding
from prefixbank.store.artifact import Entry
from prefixbank.store.store import Store
from tests.cli import forks
from tests.cli.command import CommandLine, Ran
from tests.prepared import Prepared, contents, copy_store
from tests.runtime.inline import Inline

TEXTS = ["the food was good", "a bad and noisy place", "warm", "a cold bath", "quiet"]
READOUT = ("prefix=readout", "prefix.readouts=2")
SIZES = {"plain": 64, "a": 64, "b": 64, "c": 5}
"""Features of each block; the bits of the last one do not fill a byte."""
SHARDS = pytest.mark.parametrize("shard_rows", [20, 2], ids=["one shard", "several shards"])


@pytest.fixture(scope="session")
def trained(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the read-outs a, b, without slots, and c, with a projection to 5 features."""
    store = copy_store(prepared.store, tmp_path_factory.mktemp("blocks") / "store")
    cli = CommandLine(store=store, tasks=prepared.tasks)
    for name, task, *more in (
        ("a", "alpha"),
        ("b", "beta", "prefix.length=0"),
        ("c", "gamma", "prefix.size=5"),
    ):
        cli.train(task, *READOUT, *more, f"name={name}", "--store", str(store))
    return store


@pytest.fixture
def cli(trained: Path, prepared: Prepared, user_store: Path) -> CommandLine:
    return CommandLine(store=copy_store(trained, user_store), tasks=prepared.tasks)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "lines.txt"
    path.write_text("".join(f"{text}\n" for text in TEXTS), encoding="utf-8")
    return path


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Of each pass over texts, the number of texts and of blocks that were made."""
    seen: list[tuple[int, int]] = []
    whole = embedding.embed_batches

    def counted(*given, count: int, **named):
        blocks = whole(*given, count=count, **named)
        seen.append((count, len(blocks)))
        return blocks

    monkeypatch.setattr(embedding, "embed_batches", counted)
    return seen


@pytest.fixture
def embed(cli: CommandLine, corpus: Path) -> Callable[..., Ran]:
    """Combine read-outs, unless the bank is named otherwise, and embed the corpus."""

    def run(sources: str, *settings: str, name: str = "bank", plain: bool = True) -> Ran:
        combine(cli, sources, name, plain=plain)
        return cli.done("embed", f"bank={name}", f"corpus.path={corpus}", *settings)

    return run


def combine(cli: CommandLine, sources: str, name: str = "bank", *, plain: bool = True) -> Ran:
    more = () if plain else ("combine.plain=false",)
    return cli.done("combine", f"prefixes=[{','.join(sources)}]", f"name={name}", *more)


def entry_of(cli: CommandLine, ran: Ran) -> Entry:
    entry = Store(cli.store).get(ran.result["key"])
    assert entry is not None
    return entry


def vectors_of(cli: CommandLine, ran: Ran) -> np.ndarray:
    entry = entry_of(cli, ran)
    stems = json.loads((entry.path / "embeddings.json").read_text(encoding="utf-8"))["parts"]
    return np.concatenate([read_vectors(entry, stem) for stem in stems])


def made(cli: CommandLine, command: Callable[[], object]) -> list[str]:
    """Names of the embeddings that a command adds to the store."""
    before = {entry.key for entry in Store(cli.store).entries("embed")}
    command()
    entries = Store(cli.store).entries("embed")
    return [entry.info["name"] for entry in entries if entry.key not in before]


def block_digests(cli: CommandLine) -> dict[str, str]:
    """Digest of the block of each read-outs, and of the plain vectors, by the read-outs' hash."""
    return {
        entry.document["inputs"].get("readouts", "plain"): entry.digest
        for entry in Store(cli.store).entries("embed")
        if "blocks" not in entry.document["inputs"]
    }


# What the vectors are.


def test_vector_is_the_plain_vector_and_what_each_source_gives_alone(cli, embed, corpus):
    whole = vectors_of(cli, embed("abc"))
    plain = cli.done("embed", "bank=none", "encoder=tiny", f"corpus.path={corpus}")
    alone = [vectors_of(cli, embed(one, name=f"only-{one}", plain=False)) for one in "abc"]
    assert np.array_equal(whole, np.hstack([vectors_of(cli, plain), *alone]))
    assert [one.shape[1] for one in alone] == [64, 64, 5]


def test_block_is_the_mean_of_tokens_that_nobody_else_sees(cli, embed):
    """By hand, with the encoder as transformers has it: two vectors behind a text, both at the
    position after its last token. They see the text and each other, the text does not see them.
    """
    combine(cli, "b")
    found = pb.load_bank("bank").blocks([TEXTS[1]])
    store = Store(cli.store)
    (folder,) = (entry.path for entry in store.entries("tiny_encoder"))
    tensors = load_file(store.resolve("prefix", "b").path / "prefix.safetensors")
    (vectors,) = (tensor for tensor in tensors.values() if tensor.dim() == 2)
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    ids = AutoTokenizer.from_pretrained(folder)([TEXTS[1]], return_tensors="pt")["input_ids"]
    count = ids.shape[1]
    visible = torch.ones(count + 2, count + 2, dtype=torch.bool)
    visible[:count, count:] = False
    mask = torch.zeros(1, 1, count + 2, count + 2).masked_fill(~visible, torch.finfo().min)
    embedded = torch.cat([model.get_input_embeddings()(ids), vectors[None]], dim=1)
    positions = torch.tensor([[*range(count), count, count]])
    with torch.no_grad():
        states = model(
            inputs_embeds=embedded, attention_mask=mask, position_ids=positions
        ).last_hidden_state[0]
    np.testing.assert_allclose(found["plain"][0], states[:count].mean(dim=0), atol=1e-5)
    np.testing.assert_allclose(found["b"][0], states[count:].mean(dim=0), atol=1e-5)


def test_block_has_the_same_bytes_alone_beside_others_and_in_any_order(
    trained, prepared, corpus, tmp_path, monkeypatch
):
    digests = []
    for number, banks in enumerate((["abc"], ["cba"], ["a", "b", "c"], ["bc", "ab"])):
        store = copy_store(trained, tmp_path / f"store-{number}")
        monkeypatch.setenv("PREFIXBANK_STORE", str(store))
        one = CommandLine(store=store, tasks=prepared.tasks)
        for name in banks:
            combine(one, name, name)
            one.done("embed", f"bank={name}", f"corpus.path={corpus}")
        digests.append(block_digests(one))
    assert len(digests[0]) == 4 and all(each == digests[0] for each in digests)


def test_plain_block_is_the_artifact_of_the_plain_encoder(cli, corpus, embed):
    plain = cli.done("embed", "bank=none", "encoder=tiny", f"corpus.path={corpus}")
    assert ("embed", "lines@bank plain", "hit") in embed("ab").steps
    digest = entry_of(cli, plain).digest
    cli.done("embed", "bank=bank", f"corpus.path={corpus}", "--force")
    assert entry_of(cli, plain).digest == digest


@pytest.mark.parametrize("pairs", ["joint", "separate", "both"])
def test_pairs_are_read_as_asked(cli, tmp_path, pairs, passes):
    seconds = TEXTS[::-1]
    path = tmp_path / "pairs.parquet"
    parquet.write_table(pa.table({"text": TEXTS, "second": seconds}), path)
    combine(cli, "ac")
    settings = (f"corpus.path={path}", "corpus.column_pair=second", f"pairs={pairs}")
    found = vectors_of(cli, cli.done("embed", "bank=bank", *settings))
    assert len(passes) == (2 if pairs == "both" else 1)
    bank = pb.load_bank("bank")
    joint, u, v = bank.blocks(TEXTS, seconds), bank.blocks(TEXTS), bank.blocks(seconds)
    expected = []
    for name in bank.block_names:
        apart = pair_features(u[name], v[name])
        by_kind = {"joint": [joint[name]], "separate": [apart], "both": [joint[name], apart]}
        expected += by_kind[pairs]
    np.testing.assert_allclose(found, np.hstack(expected), atol=1e-5)


# What is made, and what is left alone.


@SHARDS
def test_all_missing_blocks_come_from_one_pass(cli, embed, passes, shard_rows):
    embed("abc", f"corpus.shard_rows={shard_rows}")
    expected = [(5, 4)] if shard_rows == 20 else [(2, 4), (2, 4), (1, 4)]
    assert passes == expected


@SHARDS
def test_new_source_takes_one_pass_and_writes_its_block_alone(cli, embed, passes, shard_rows):
    setting = f"corpus.shard_rows={shard_rows}"
    embed("ab", setting)
    before, first = contents(cli.store), len(passes)
    names = made(cli, lambda: embed("abc", setting, name="more"))
    shards = 1 if shard_rows == 20 else 3
    assert passes[first:] == [(rows, 1) for rows in ([5] if shards == 1 else [2, 2, 1])]
    parts = [] if shards == 1 else [f"lines@more part-{number:05d} c" for number in range(3)]
    assert sorted(names) == sorted([*parts, "lines@more c", "lines@more"])
    after = contents(cli.store)
    assert {path: after[path] for path in before if path.startswith("entries/")} == {
        path: digest for path, digest in before.items() if path.startswith("entries/")
    }


def test_refreshed_source_leaves_the_others_as_hits(cli, embed, passes):
    first = embed("abc")
    digests = block_digests(cli)
    cli.train("beta", *READOUT, "prefix.length=0", "name=b", "seed=1")
    second = embed("abc")
    assert passes == [(5, 4), (5, 1)]
    assert [step for step in second.steps if step[1] != "lines@bank"] == [
        ("embed", "lines@bank plain", "hit"),
        ("embed", "lines@bank a", "hit"),
        ("embed", "lines@bank b", "MISS"),
        ("embed", "lines@bank b", "done"),
        ("embed", "lines@bank c", "hit"),
    ]
    assert digests.items() < block_digests(cli).items()
    one, other = (Path(ran.result["path"]) for ran in (first, second))
    same = [
        (one / name).read_bytes() == (other / name).read_bytes()
        for name in (f"block-{number}.part-00000.parquet" for number in range(4))
    ]
    assert same == [True, True, False, True]


def test_dropped_source_makes_nothing(cli, embed, corpus, passes):
    whole = vectors_of(cli, embed("abc"))
    names = made(cli, lambda: embed("ac", name="less"))
    assert (names, passes) == (["lines@less"], [(5, 4)])
    less = vectors_of(cli, cli.done("embed", "bank=less", f"corpus.path={corpus}"))
    assert np.array_equal(less, np.hstack([whole[:, :128], whole[:, 192:]]))


def test_bank_by_another_name_makes_nothing(cli, embed, passes):
    first = embed("ab")
    names = made(cli, lambda: embed("ab", name="twin"))
    assert (names, passes) == ([], [(5, 3)])
    assert cli.done("cache", "show", "embeddings/lines@twin").result["key"] == first.result["key"]


def test_prefix_by_another_name_makes_no_block(cli, embed, passes):
    embed("ab")
    cli.train("alpha", *READOUT, "name=z")
    ran = embed("zb", name="renamed")
    assert passes == [(5, 3)] and list(ran.result["blocks"]) == ["plain", "z", "b"]


def test_dry_run_says_what_a_new_and_a_refreshed_source_need(cli, embed, corpus, passes):
    embed("ab")
    cli.train("beta", *READOUT, "prefix.length=0", "name=b", "seed=1")
    combine(cli, "abc")
    before, passes[:] = contents(cli.store), []
    ran = cli.done("embed", "bank=bank", f"corpus.path={corpus}", "--dry-run")
    assert contents(cli.store) == before and passes == []
    assert ran.steps == [
        ("embed", "lines@bank plain", "hit"),
        ("embed", "lines@bank a", "hit"),
        ("embed", "lines@bank b", "MISS"),
        ("embed", "lines@bank c", "MISS"),
        ("embed", "lines@bank", "MISS"),
    ]
    (refreshed, new, whole) = (line for line in ran.err.splitlines() if "MISS" in line)
    assert "MISS  source b changed" in refreshed
    assert "MISS  new" in new and "needs embed lines@bank b" in whole


def test_miss_of_the_whole_names_the_blocks_that_changed(cli, embed):
    embed("ab")
    cli.train("beta", *READOUT, "prefix.length=0", "name=b", "seed=1")
    (line,) = (
        line for line in embed("ab").err.splitlines() if "lines@bank  " in line and "MISS" in line
    )
    assert "blocks.b changed" in line and "blocks.a" not in line


def test_second_run_is_a_hit(cli, embed):
    first, second = embed("abc"), embed("abc")
    assert {step[2] for step in second.steps} == {"hit"} and first.out == second.out


def test_force_makes_every_block_again_to_the_same_bytes(cli, embed, passes):
    first = entry_of(cli, embed("abc"))
    blocks = block_digests(cli)
    passes.clear()
    second = entry_of(cli, embed("abc", "--force"))
    assert (second.digest, block_digests(cli)) == (first.digest, blocks)
    assert sum(count for _, count in passes) == 4 and second.info["forced"]


def test_blocks_take_the_room_of_one_copy(cli, embed):
    path = Path(embed("abc").result["path"])
    assert {part.stat().st_nlink for part in path.glob("*.parquet")} == {2}


def test_blocks_are_copied_where_a_file_has_one_name(cli, embed, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert vectors_of(cli, embed("abc", "corpus.shard_rows=2")).shape == (5, 197)


# Stored types, copied rows, workers, ends in the middle.


@SHARDS
@pytest.mark.parametrize("kind", ["float16", "int8", "binary"])
def test_every_block_is_stored_as_asked(cli, embed, kind, shard_rows):
    """Calibrated on the first two rows. Values next to a median may become either bit."""
    ran = embed("ac", f"vectors={kind}", f"corpus.shard_rows={shard_rows}", "calibration_rows=2")
    expected, tolerance = [], []
    for block in pb.load_bank("bank").blocks(TEXTS).values():
        sample = calibrate(block[:2])
        stored = quantize(block, kind, sample, "median")
        expected.append(dequantize(stored, kind, sample, block.shape[1]))
        level = np.broadcast_to((sample.high - sample.low) / 256, block.shape)
        near = np.where(np.abs(block - sample.median) < 1e-5, 2.0, 0.0)
        tolerance.append({"float16": 1e-2 + 0 * block, "int8": level, "binary": near}[kind])
    found, allowed = vectors_of(cli, ran), np.hstack(tolerance)
    assert found.shape == (5, 64 + 64 + 5) and (allowed < 1).mean() > 0.9
    assert (np.abs(found - np.hstack(expected)) <= allowed + 1e-6).all()


ITQ = ("transform=itq", "vectors=binary", "transform_size=3", "transform_rows=4")


def test_every_block_has_a_transform_of_its_own(cli, embed):
    ran, more = embed("a", *ITQ), embed("ac", *ITQ)
    assert ran.result["vectors"]["features"] == 6
    assert more.result["blocks"] == {"plain": 3, "a": 3, "c": 3}
    described = more.result["vectors"]
    assert (described["features"], described["bytes"], described["transform"]) == (9, 3, "itq")
    # A block does not follow what stands beside it.
    entry = Store(cli.store).get(more.result["key"])
    first = Store(cli.store).get(ran.result["key"])
    for block in ("block-0", "block-1"):
        name = f"{block}.calibration.safetensors"
        assert entry.files[name].sha256 == first.files[name].sha256
    expected = []
    for block in pb.load_bank("bank").blocks(TEXTS).values():
        transform = fit_transform("itq", block[:4], 3, 0)
        expected.append(np.where(transform(block) > 0, 1.0, -1.0))
    assert np.array_equal(vectors_of(cli, more), np.hstack(expected))


@SHARDS
def test_known_rows_are_copied_in_every_block(cli, embed, corpus, passes, shard_rows):
    settings = ("reuse=true", f"corpus.shard_rows={shard_rows}")
    embed("ab", *settings)
    corpus.write_text("".join(f"{text}\n" for text in ["new", *TEXTS]), encoding="utf-8")
    passes.clear()
    ran = embed("ab", *settings)
    assert passes == [(1, 3)] and ran.result["reused_rows"] == 5
    each = [
        json.loads((entry.path / "embeddings.json").read_text(encoding="utf-8"))["reused_rows"]
        for entry in Store(cli.store).entries("embed")
        if entry.info["name"] in ("lines@bank plain", "lines@bank a", "lines@bank b")
    ]
    assert each == [0, 0, 0, 5, 5, 5]
    expected = pb.load_bank("bank").embed(["new", *TEXTS])
    np.testing.assert_allclose(vectors_of(cli, ran), expected, atol=1e-5)


def test_known_rows_of_old_blocks_are_copied_beside_a_new_one(cli, embed, corpus, passes):
    embed("ab", "reuse=true")
    corpus.write_text("".join(f"{text}\n" for text in TEXTS[1:]), encoding="utf-8")
    passes.clear()
    ran = embed("abc", "reuse=true")
    assert [count for count, _ in passes] == [4] and ran.result["reused_rows"] == 0
    expected = pb.load_bank("bank").embed(TEXTS[1:])
    np.testing.assert_allclose(vectors_of(cli, ran), expected, atol=1e-5)


def digests(store: Path) -> dict[str, str]:
    return {entry.key: entry.digest for entry in Store(store).entries()}


@pytest.mark.parametrize("kind", ["float32", "int8"])
@SHARDS
def test_workers_make_the_same_blocks(cli, corpus, tmp_path, monkeypatch, passes, kind, shard_rows):
    combine(cli, "abc")
    other = copy_store(cli.store, tmp_path / "other")
    settings = (f"vectors={kind}", "calibration_rows=2", f"corpus.shard_rows={shard_rows}")
    args = ("embed", "bank=bank", f"corpus.path={corpus}", *settings)
    cli.done(*args, "--store", str(other))
    alone, passes[:] = list(passes), []
    driver = Inline(num_workers=2).instead(monkeypatch)
    cli.done(*args, "run.workers=2")
    assert len(driver.jobs) == (1 if shard_rows == 20 else 3)
    assert digests(cli.store) == digests(other) and sorted(passes) == sorted(alone)


@pytest.mark.slow
def test_processes_of_this_machine_make_the_same_blocks(cli, corpus, tmp_path):
    combine(cli, "abc")
    other = copy_store(cli.store, tmp_path / "other")
    args = ("embed", "bank=bank", f"corpus.path={corpus}", "corpus.shard_rows=2")
    cli.done(*args, "--store", str(other))
    cli.done(*args, "run.workers=2")
    assert digests(cli.store) == digests(other)


def end_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Press Ctrl-C when a part is written for the given time."""
    whole, seen = embed_parts.publish_part, iter(range(1, 1000))

    def publish(*given, **named):
        if next(seen) == number:
            raise KeyboardInterrupt
        return whole(*given, **named)

    monkeypatch.setattr(embed_parts, "publish_part", publish)


@pytest.mark.parametrize("number", range(1, 5))
@SHARDS
def test_ended_run_resumes_to_the_same_bytes(
    cli, corpus, tmp_path, monkeypatch, passes, number, shard_rows
):
    combine(cli, "abc")
    other = copy_store(cli.store, tmp_path / "other")
    args = ("bank=bank", f"corpus.path={corpus}", f"corpus.shard_rows={shard_rows}")
    expected = Store(other).get(cli.done("embed", *args, "--store", str(other)).result["key"])
    whole, passes[:] = len(passes), []
    with monkeypatch.context() as patched:
        end_at(patched, number)
        with pytest.raises(KeyboardInterrupt):
            pb.run("embed", *args)
    ran = cli.done("embed", *args)
    assert expected is not None and entry_of(cli, ran).digest == expected.digest
    assert digests(cli.store) == digests(other)
    assert len(passes) == whole + 1 and passes[1] == (passes[0][0], 5 - number)


@pytest.mark.parametrize(
    "ways",
    [
        ["killed_in_embedding"],
        pytest.param(["killed_at_random"] * 4, marks=pytest.mark.slow),
    ],
    ids=len,
)
def test_killed_run_resumes_to_the_same_bytes(cli, corpus, tmp_path, ways):
    combine(cli, "abc")
    other = copy_store(cli.store, tmp_path / "other")
    args = ("embed", "bank=bank", f"corpus.path={corpus}", "corpus.shard_rows=2")
    cli.done(*args, "--store", str(other))
    for number, way in enumerate(ways):
        child = forks.start(tmp_path / f"{way}-{number}", cli.store, way, *args)
        assert child.end() == -signal.SIGKILL
    cli.done(*args)
    assert digests(cli.store) == digests(other)


def test_blocks_that_a_killed_run_left_take_no_pass(cli, embed, corpus, monkeypatch, passes):
    combine(cli, "abc")
    with monkeypatch.context() as patched:
        patched.setattr(embed_parts, "write_json", None)
        with pytest.raises(TypeError):
            pb.run("embed", "bank=bank", f"corpus.path={corpus}")
    embed("abc")
    assert passes == [(5, 4)]


def test_block_that_another_process_makes_is_left_to_it(cli, corpus, passes):
    combine(cli, "ab")
    args = ("embed", "bank=bank", f"corpus.path={corpus}")
    planned: list[pb.Event] = []
    pb.run(*args, dry_run=True, on_event=planned.append)
    (key,) = (event.key for event in planned if event.name == "lines@bank b")
    waiting: list[str] = []
    store = Store(cli.store)
    with ExitStack() as other:
        other.enter_context(store.work_of(key))

        def listen(event: pb.Event) -> None:
            if "another process is making this" in event.text:
                waiting.append(event.name)
                other.close()

        pb.run(*args, on_event=listen)
    assert waiting == ["lines@bank b"] and passes == [(5, 2), (5, 1)]


# The store.


def test_gc_keeps_the_blocks_of_embeddings_that_have_a_ref(cli, embed):
    ran, store = embed("abc", "corpus.shard_rows=2"), Store(cli.store)
    blocks = {name for name in entry_of(cli, ran).document["inputs"]["blocks"].values()}
    kept = {entry.key for entry in store.entries("embed") if entry.digest in blocks}
    gone = {item.path.name for item in store.gc_plan(datetime.now(UTC) + timedelta(days=99))}
    assert len(kept) == 4 and not kept & gone


def test_gc_drops_the_old_block_of_a_refreshed_source_alone(cli, embed):
    embed("ab")
    old = {entry.key for entry in Store(cli.store).entries("embed") if ends(entry, " b")}
    cli.train("beta", *READOUT, "prefix.length=0", "name=b", "seed=1")
    whole = {entry.key for entry in Store(cli.store).entries("embed") if ends(entry, "@bank")}
    embed("ab")
    plan = Store(cli.store).gc_plan(datetime.now(UTC) + timedelta(days=99))
    gone = {item.path.name for item in plan if item.path.parent.name == "embed"}
    assert gone == old | whole


def ends(entry: Entry, end: str) -> bool:
    return bool(entry.info["name"].endswith(end))


def test_embeddings_stand_without_their_blocks(cli, embed):
    ran = embed("abc")
    expected = vectors_of(cli, ran)
    for entry in Store(cli.store).entries("embed"):
        if entry.key != ran.result["key"]:
            remove(entry)
    assert np.array_equal(vectors_of(cli, ran), expected)
    assert "4 good" not in cli.done("cache", "verify", "embeddings/lines@bank").out


def remove(entry: Entry) -> None:
    for path in [entry.path, *entry.path.rglob("*")]:
        path.chmod(0o755)
    for path in entry.path.rglob("*"):
        path.unlink()
    entry.path.rmdir()


def test_bank_stands_without_its_prefixes(cli, embed, corpus):
    expected = vectors_of(cli, embed("abc"))
    for name in "abc":
        remove(Store(cli.store).resolve("prefix", name))
        Store(cli.store).remove_ref("prefix", name)
    bank = pb.load_bank("bank")
    np.testing.assert_allclose(bank.embed(TEXTS), expected, atol=1e-5)
    ran = cli.done("embed", "bank=bank", f"corpus.path={corpus}", "--force")
    assert np.array_equal(vectors_of(cli, ran), expected) and set(bank.heads) == set("abc")


def test_moved_read_outs_make_a_bank_stale_and_the_command_renews_it(cli, corpus):
    combine(cli, "ab", plain=False)
    cli.train("beta", *READOUT, "prefix.length=0", "name=b", "seed=1")
    fault = cli.expect_fault(2, "embed", "bank=bank", f"corpus.path={corpus}")
    assert "bank/bank is stale: prefix/b was" in fault.what
    renewed = cli.done(*shlex.split(fault.fix.split("    or ")[0])[1:]).result
    assert list(renewed["blocks"]) == ["a", "b"]
    assert cli.done("embed", "bank=bank", f"corpus.path={corpus}").result["rows"] == 5


# Commands that read the vectors.


@SHARDS
@pytest.mark.parametrize("kind", ["float32", "int8", "binary"])
def test_text_itself_is_its_nearest_neighbour(cli, embed, kind, shard_rows):
    embed("abc", f"vectors={kind}", f"corpus.shard_rows={shard_rows}", "calibration_rows=2")
    asked = "\n".join(TEXTS).encode()
    rows = cli.done("search", "embeddings=lines@bank", "k=1", input=asked).result
    assert [(row["query"], row["row"]) for row in rows] == list(zip(TEXTS, range(5), strict=True))


def test_scores_are_cosines_of_whole_vectors(cli, embed):
    embed("abc")
    vectors = pb.load_bank("bank").embed([*TEXTS, "good food"])
    length = np.linalg.norm(vectors, axis=1)
    cosines = vectors[:5] @ vectors[5] / (length[:5] * length[5])
    rows = cli.done("search", "embeddings=lines@bank", input=b"good food\n").result
    assert [row["row"] for row in rows] == np.argsort(-cosines).tolist()


@pytest.mark.parametrize("name", ["plain", "a", "c"])
def test_a_single_block_can_be_searched_by_its_key(cli, embed, name):
    embed("abc")
    (key,) = (
        entry.key
        for entry in Store(cli.store).entries("embed")
        if entry.info["name"] == f"lines@bank {name}"
    )
    block = pb.load_bank("bank").blocks([*TEXTS, "good food"])[name]
    length = np.linalg.norm(block, axis=1)
    cosines = block[:5] @ block[5] / (length[:5] * length[5])
    rows = cli.done("search", f"embeddings={key}", input=b"good food\n").result
    np.testing.assert_allclose([row["score"] for row in rows], np.sort(cosines)[::-1], atol=1e-5)


def test_bank_is_probed(cli, passes):
    combine(cli, "abc")
    ran = cli.done(
        "probe",
        "bank=bank",
        "task=folder",
        f"task.path={cli.tasks / 'omega'}",
        "probe.bootstrap_samples=10",
        "probe.Cs=[1]",
    )
    assert ran.result["test_rows"] == 20 and {count for _, count in passes} == {4}
    assert ran.steps[-1] == ("probe", "omega@bank", "done")


PROBE = ("probe.bootstrap_samples=10", "probe.Cs=[1]")


def probed(cli: CommandLine, *settings: str) -> Ran:
    return cli.done(
        "probe", "bank=bank", "task=folder", f"task.path={cli.tasks / 'omega'}", *PROBE, *settings
    )


@pytest.mark.parametrize("number", [2, 3])
def test_blocks_of_an_ended_probe_are_calibrated_on_train_rows(cli, tmp_path, monkeypatch, number):
    combine(cli, "abc")
    other = copy_store(cli.store, tmp_path / "other")
    probed(cli, "vectors=int8", "--store", str(other))
    task = ("task=folder", f"task.path={cli.tasks / 'omega'}")
    with monkeypatch.context() as patched:
        end_at(patched, number)
        with pytest.raises(KeyboardInterrupt):
            pb.run("probe", "bank=bank", *task, *PROBE, "vectors=int8")
    probed(cli, "vectors=int8")
    assert digests(cli.store) == digests(other)


def test_probe_of_some_blocks_makes_no_other_and_outlives_a_change_of_the_others(cli, passes):
    combine(cli, "abc")
    some = probed(cli, "probe.blocks=[plain,a]")
    assert {blocks for _, blocks in passes} == {2}
    assert some.result["key"] != probed(cli).result["key"]
    cli.train("beta", *READOUT, "prefix.length=0", "name=b", "seed=1")
    combine(cli, "abc")
    before = len(passes)
    again = probed(cli, "probe.blocks=[plain,a]")
    assert again.steps[-1] == ("probe", "omega@bank", "hit") and len(passes) == before
    assert probed(cli).steps[-1] == ("probe", "omega@bank", "done")


def test_order_of_named_blocks_makes_no_difference(cli):
    combine(cli, "abc")
    one, other = (
        probed(cli, f"probe.blocks=[{names}]").result["key"] for names in ("plain,c", "c,plain")
    )
    assert one == other


@pytest.mark.parametrize(
    ("bank", "names", "what"),
    [
        ("bank", "plan", "probe.blocks names no block 'plan'; did you mean 'plain'?"),
        ("bank", "", "probe.blocks=[] names no block"),
        ("none", "plain", "probe.blocks=[plain] with a bank without blocks"),
    ],
)
def test_blocks_that_are_not_there_are_refused(cli, bank, names, what):
    combine(cli, "abc")
    encoder = ["encoder=tiny"] if bank == "none" else []
    task = ("task=folder", f"task.path={cli.tasks / 'omega'}")
    fault = cli.expect_fault(2, "probe", f"bank={bank}", *encoder, *task, f"probe.blocks=[{names}]")
    assert fault.what == what


# What is said about blocks.


def test_bank_names_its_blocks_and_their_features(cli):
    ran = combine(cli, "abc")
    assert "weights" not in ran.result
    assert ran.result["blocks"] == {"plain": None, "a": 64, "b": 64, "c": 5}
    assert "3 prefixes, blocks: plain, a 64, b 64, c 5" in ran.err
    assert cli.done("cache", "show", "bank/bank").result["document"]["config"]["blocks"] == [
        "a",
        "b",
        "c",
    ]
    table = cli.done("combine", "prefixes=[a,c]", "name=two", "--format", "table").out
    assert "plain, a 64, c 5" in table


def test_embeddings_name_their_blocks_and_their_features(cli, embed):
    ran = embed("abc", "vectors=float16")
    assert ran.result["blocks"] == SIZES and list(ran.result["blocks"]) == list(SIZES)
    assert "5 rows as float16 of blocks plain 64, a 64, b 64, c 5" in ran.err
    shown = cli.done("cache", "show", "embeddings/lines@bank").result
    assert shown["document"]["config"]["blocks"] == list(SIZES)


def test_results_in_python_name_the_blocks(cli, corpus):
    bank = pb.combine(["a", "c"], name="bank")
    made = pb.embed(bank, corpus)
    assert (bank.blocks, bank.weights) == (("plain", "a", "c"), ())
    assert made.blocks == {"plain": 64, "a": 64, "c": 5}
    assert pb.combine(["alpha"], name="deep").blocks == ()


# Copies.


@pytest.mark.parametrize("kind", ["float32", "float16", "int8", "binary"])
def test_out_has_whole_vectors_in_one_column(cli, embed, tmp_path, kind):
    out = tmp_path / "vectors.parquet"
    ran = embed("ac", f"vectors={kind}", "calibration_rows=2", "--out", str(out))
    table = parquet.read_table(out)
    stored = np.array(table["vector"].to_pylist())
    expected = vectors_of(cli, ran)
    assert table.column_names == ["id", "row", "vector"] and table["row"].to_pylist() == [*range(5)]
    described = json.loads(table.schema.metadata[b"blocks"])
    assert described == [
        {"name": "plain", "features": 64},
        {"name": "a", "features": 64},
        {"name": "c", "features": 5},
    ]
    assert table.schema.metadata[b"features"] == b"133"
    types = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.int8()}
    width, of = (17, pa.uint8()) if kind == "binary" else (133, types[kind])
    assert table.schema.field("vector").type == pa.list_(of, width)
    if kind == "binary":
        bits = np.unpackbits(stored.astype(np.uint8), axis=1, count=133)
        assert np.array_equal(bits * 2.0 - 1, expected)
    elif kind != "int8":
        assert np.array_equal(stored.astype(np.float32), expected)


@pytest.mark.parametrize("kind", ["float32", "int8", "binary"])
def test_out_may_be_a_folder_of_several_shards(cli, embed, tmp_path, kind):
    settings = (f"vectors={kind}", "corpus.shard_rows=2", "calibration_rows=2")
    ran = embed("ac", *settings, "--out", str(tmp_path / "out"))
    files = {path.name for path in (tmp_path / "out").iterdir()}
    parts = [f"part-{number:05d}.parquet" for number in range(3)]
    more = set() if kind == "float32" else {"calibration.safetensors"}
    assert files == {*parts, "embeddings.json", "entry.json", *more}
    stored = np.array(
        [
            row
            for part in parts
            for row in parquet.read_table(tmp_path / "out" / part)["vector"].to_pylist()
        ]
    )
    whole = None
    if more:
        whole = read_calibration(tmp_path / "out" / "calibration.safetensors")
    of = {"float32": np.float32, "int8": np.int8, "binary": np.uint8}[kind]
    assert np.array_equal(dequantize(stored.astype(of), kind, whole, 133), vectors_of(cli, ran))
    facts = json.loads((tmp_path / "out" / "embeddings.json").read_text(encoding="utf-8"))
    near = {"near_threshold": 0.0} if kind == "binary" else {}
    assert facts["vectors"] == {"type": kind, "features": 133, **near}
    assert [(one["name"], one["features"]) for one in facts["blocks"]] == [
        ("plain", 64),
        ("a", 64),
        ("c", 5),
    ]


def test_out_has_the_transforms_of_all_blocks_side_by_side(cli, embed, tmp_path):
    ran = embed("ac", *ITQ, "--out", str(tmp_path / "out"))
    whole = read_calibration(tmp_path / "out" / "calibration.safetensors")
    made = transformed(pb.load_bank("bank").embed(TEXTS), whole.transforms)
    assert np.array_equal(np.where(made > 0, 1.0, -1.0), vectors_of(cli, ran))
    assert whole.near_threshold == pytest.approx(ran.result["vectors"]["near_threshold"])


def test_transformed_blocks_can_be_searched(cli, embed):
    embed("ac", "transform=rotation", "vectors=binary", "transform_size=100", "transform_rows=4")
    (first,) = cli.done("search", TEXTS[3], "embeddings=lines@bank", "k=1").result
    assert first["row"] == 3


def test_out_of_several_shards_is_one_file_if_its_name_says_so(cli, corpus, tmp_path):
    combine(cli, "ac")
    settings = ("bank=bank", f"corpus.path={corpus}", "corpus.shard_rows=2")
    cli.done("embed", *settings, "--out", str(tmp_path / "folder"))
    out = tmp_path / "vectors.parquet"
    cli.done("embed", *settings, "--out", str(out))
    parts = sorted((tmp_path / "folder").glob("part-*.parquet"))
    assert len(parts) == 3
    whole = parquet.read_table(out)
    assert whole.equals(pa.concat_tables(parquet.read_table(part) for part in parts))
    metadata = parquet.read_schema(parts[0]).metadata
    metadata.pop(b"truncated_rows")  # of a part
    assert parquet.read_schema(out).metadata == metadata
    cli.done("embed", *settings, "--out", str(out))  # the same again is no error


# Heads.


@pytest.mark.parametrize(("name", "task"), [("a", "alpha"), ("b", "beta"), ("c", "gamma")])
def test_head_has_the_score_that_training_reported(cli, name, task):
    combine(cli, "abc")
    bank = pb.load_bank("bank")
    rows = parquet.read_table(cli.tasks / task / "validation.parquet").to_pydict()
    (head,) = bank.heads[name]
    right = head.predict(bank.blocks(rows["text"])[name]) == np.array(rows["label"])
    path = Store(cli.store).resolve("prefix", name).path / "result.json"
    reported = json.loads(path.read_text(encoding="utf-8"))
    assert right.mean() == reported["validation"]
    assert (head.task, head.kind, head.metric, head.labels) == (
        task,
        "classification",
        reported["metric"],
        ("no", "yes"),
    )


def test_source_of_several_tasks_has_a_head_for_each(cli):
    settings = ("task.mixture=[alpha,beta]", f"run.data_root={cli.tasks}", "encoder=tiny")
    small = ("prefix.length=2", "optim.epochs=1", "optim.batch_size=20", "optim.lr=0.03")
    cli.done("train-prefix", *settings, *small, *READOUT, "name=both")
    combine(cli, ["both", "c"])
    bank = pb.load_bank("bank")
    assert [head.task for head in bank.heads["both"]] == ["alpha", "beta"]
    path = Store(cli.store).resolve("prefix", "both").path / "result.json"
    reported = json.loads(path.read_text(encoding="utf-8"))["tasks"]
    for place, task in enumerate(("alpha", "beta")):
        rows = parquet.read_table(cli.tasks / task / "validation.parquet").to_pydict()
        predicted = bank.predict(rows["text"])[f"both.{task}"].values
        assert (predicted == np.array(rows["label"])).mean() == reported[place]["validation"]


def test_all_heads_predict_from_one_pass(cli, passes):
    combine(cli, "abc")
    bank = pb.load_bank("bank")
    predicted = bank.predict(TEXTS)
    assert passes == [(5, 3)] and list(predicted) == ["a", "b", "c"]
    blocks = bank.blocks(TEXTS)
    assert all(
        np.array_equal(predicted[name].values, bank.heads[name][0].predict(blocks[name]))
        for name in "abc"
    )


def test_loaded_bank_has_its_blocks_by_name(cli):
    combine(cli, "ca")
    bank = pb.load_bank("bank")
    blocks = bank.blocks(TEXTS)
    assert bank.block_names == ["plain", "c", "a"] == list(blocks)
    assert np.array_equal(bank.embed(TEXTS), np.hstack(list(blocks.values())))


def test_head_refuses_the_block_of_another_source(cli):
    combine(cli, "ac")
    bank = pb.load_bank("bank")
    blocks = bank.blocks(TEXTS)
    with pytest.raises(pb.UsageError, match=r"shape \[5, 64\] for the head of gamma"):
        bank.heads["c"][0].predict(blocks["a"])


def test_bank_without_blocks_says_so(cli):
    bank = pb.load_bank("demo")
    assert (bank.block_names, bank.heads) == ([], {})
    for ask, what in ((bank.blocks, "has no blocks"), (bank.predict, "has no heads of its own")):
        with pytest.raises(pb.UsageError, match=what):
            ask(TEXTS)


# Refusals.


def test_kinds_are_not_mixed(cli):
    fault = cli.expect_fault(2, "combine", "prefixes=[a,alpha]", "name=new")
    assert fault.what == "prefix 'alpha' is deep, prefix 'alpha' is readout"


@pytest.mark.parametrize(
    "rule", ["concat_prefixes", "concat_vectors", "mean_vectors", "mean_prefixes"]
)
def test_read_outs_have_no_other_rule(cli, rule):
    fault = cli.expect_fault(2, "combine", "prefixes=[a,b]", "name=new", f"combine={rule}")
    assert fault.what == f"combine.rule={rule} with prefixes of prefix.kind=readout"
    assert fault.expected.startswith("combine.rule=blocks")


def test_deep_prefixes_have_no_blocks(cli):
    fault = cli.expect_fault(2, "combine", "prefixes=[alpha,beta]", "name=new", "combine=blocks")
    assert fault.what == "combine.rule=blocks with prefixes of prefix.kind=deep"


def test_blocks_have_no_weights(cli):
    fault = cli.expect_fault(2, "combine", "prefixes=[a,b]", "name=new", "combine.weights=[1,2]")
    assert "combine.weights=[1.0, 2.0] with combine.rule=blocks" in fault.what


def test_two_sources_of_one_name_are_refused_and_the_hint_helps(cli):
    old = Store(cli.store).ref("prefix", "b").key
    cli.train("beta", *READOUT, "prefix.length=0", "name=b", "seed=1")
    fault = cli.expect_fault(2, "combine", f"prefixes=[b,{old}]", "name=new")
    assert fault.what.startswith("a prefix named 'b' in a bank of blocks: another prefix")
    cli.train("beta", *READOUT, "prefix.length=0", "name=b-2")
    blocks = cli.done("combine", "prefixes=[b,b-2]", "name=new").result["blocks"]
    assert list(blocks) == ["plain", "b", "b-2"]


@pytest.mark.parametrize("plain", [True, False])
def test_source_is_not_called_plain(cli, plain):
    cli.train("alpha", *READOUT, "name=plain")
    more = () if plain else ("combine.plain=false",)
    fault = cli.expect_fault(2, "combine", "prefixes=[plain,b]", "name=new", *more)
    assert "named 'plain'" in fault.what and "vector of the plain encoder" in fault.what


def test_bank_is_the_same_however_its_prefixes_are_given(cli):
    keys = [Store(cli.store).ref("prefix", name).key for name in "ab"]
    banks = (["a", "b"], [f"prefix/{name}" for name in "ab"], keys)
    assert len({combine(cli, bank).result["key"] for bank in banks}) == 1


def test_similar_read_outs_are_combined_without_weights(cli):
    ran = cli.done(
        "transfer",
        "combine",
        "task=folder",
        f"task.path={cli.tasks / 'omega'}",
        "encoder=tiny",
        "prefix.length=2",
        "optim.epochs=1",
        "optim.batch_size=20",
        *READOUT,
        "sources=[a,c]",
        "k=1",
    )
    assert ran.result["rule"] == "blocks" and "weight" not in ran.err


def test_block_that_is_too_small_for_a_transform_is_named_before_any_is_made(cli, tmp_path, passes):
    combine(cli, "ac")
    path = tmp_path / "many.txt"
    path.write_text("".join(f"text {number}\n" for number in range(12)), encoding="utf-8")
    size = ("transform=pca", "transform_size=7")
    ran = cli("embed", "bank=bank", f"corpus.path={path}", *size)
    assert ran.code == 2 and "transform_size=7 on block c of 5 features" in ran.err
    assert passes == [(1, 3)]
