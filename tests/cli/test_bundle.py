"""`prefixbank export` and `import`: a bank and its heads in one folder, used elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import prefixbank as pb
from prefixbank.artifacts.bundle import read_bundle
from prefixbank.errors import DamagedError, EncoderError
from prefixbank.store.store import Store

QUICK = ("probe.bootstrap_samples=50", "probe.Cs=[1]")
READOUT = ("prefix.kind=readout", "prefix.readouts=1")


@pytest.fixture
def bundle(cli, tmp_path: Path) -> Path:
    """A bank of one read-out with a probe and its source's head."""
    cli.train("alpha", *READOUT, "name=mood")
    cli.done("combine", "prefixes=[mood]", "name=support")
    gamma = ("task=folder", f"task.path={cli.tasks / 'gamma'}")
    cli.done("probe", "bank=support", *gamma, *QUICK, "name=tone")
    out = tmp_path / "my bundle"
    cli.done("export", "bank=support", "heads=[tone,mood]", "license=mit", f"--out={out}")
    return out


def predicted(cli, bank: str | Path, store: Path, lines: Path, *settings: str) -> list[dict]:
    ran = cli.done(
        "predict",
        f"bank={bank}",
        *settings,
        "corpus.path=-",
        f"--store={store}",
        input=lines.read_text(encoding="utf-8"),
    )
    return [json.loads(line) for line in ran.out.splitlines()]


def test_bundle_predicts_with_an_empty_store_what_its_bank_does(cli, bundle, lines, tmp_path):
    here = predicted(cli, "support", cli.store, lines, "heads=[tone,mood]")
    assert predicted(cli, bundle, tmp_path / "other", lines) == here
    assert set(here[0]) >= {"tone", "mood"}


def test_imported_bank_and_probes_have_their_keys_and_predict_alike(cli, bundle, lines, tmp_path):
    here = predicted(cli, "support", cli.store, lines, "heads=[tone,mood]")
    other = tmp_path / "other"
    rows = cli.done("import", f"path={bundle}", "name=theirs", f"--store={other}").result
    assert [row["ref"] for row in rows] == ["bank/theirs", "probe/tone@theirs"]
    for kind, name, ours in (("bank", "theirs", "support"), ("probe", "tone@theirs", "tone")):
        theirs, mine = Store(other).resolve(kind, name), Store(cli.store).resolve(kind, ours)
        assert (theirs.key, theirs.digest) == (mine.key, mine.digest)
    assert predicted(cli, "theirs", other, lines, "heads=[tone,mood]") == here


def test_calibrated_probe_of_a_bundle_predicts_alike(cli, lines, tmp_path):
    gamma = ("task=folder", f"task.path={cli.tasks / 'gamma'}")
    given = ("probe.calibration=isotonic", "probe.threshold=f1", "max_length_tokens=4")
    cli.done("probe", "bank=demo", *gamma, *QUICK, *given, "name=tone")
    out, other = tmp_path / "bundle", tmp_path / "other"
    cli.done("export", "bank=demo", "heads=[tone]", f"--out={out}")
    here = predicted(cli, "demo", cli.store, lines, "heads=[tone]")
    assert predicted(cli, out, other, lines) == here
    cli.done("import", f"path={out}", "name=theirs", f"--store={other}")
    assert predicted(cli, "theirs", other, lines, "heads=[tone]") == here
    assert "isotonic calibration, thresholds by f1" in (out / "README.md").read_text("utf-8")


def test_imported_bank_is_not_stale_beside_prefixes_of_the_same_name(cli, bundle, lines, tmp_path):
    other = tmp_path / "other"
    cli.done("import", f"path={bundle}", f"--store={other}")
    cli.train("beta", *READOUT, "name=mood", f"--store={other}")
    assert predicted(cli, "support", other, lines, "heads=[mood]")


def test_python_reads_a_bundle(cli, bundle, tmp_path):
    texts = ["a good room", "a bad bath"]
    mine = pb.load_bank("support")
    theirs = pb.load_bank(str(bundle), store=tmp_path / "other")
    assert np.array_equal(theirs.embed(texts), mine.embed(texts))
    expected = mine.predict(texts, heads=["tone", "mood"])
    found = theirs.predict(texts)
    assert {name: one.labels for name, one in found.items()} == {
        name: one.labels for name, one in expected.items()
    }


def test_python_is_told_where_the_encoder_of_a_bundle_is_now(cli, tmp_path):
    (entry,) = Store(cli.store).entries("tiny_encoder")
    folder = Path(shutil.copytree(entry.path, tmp_path / "there"))
    place = ("encoder=folder", f"encoder.path={folder}")
    cli.train("alpha", *READOUT, *place, "name=moved")
    cli.done("combine", "prefixes=[moved]", "name=moved")
    out = tmp_path / "bundle"
    cli.done("export", "bank=moved", f"--out={out}")
    expected = pb.load_bank("moved").embed(["a text"])
    here = folder.rename(tmp_path / "here")
    with pytest.raises(EncoderError):
        pb.load_bank(str(out))
    encoder = pb.EncoderConfig(source="folder", path=str(here))
    assert np.array_equal(pb.load_bank(str(out), encoder=encoder).embed(["a text"]), expected)


def test_bundle_of_a_bank_with_another_encoder_is_another(cli, bundle):
    entry = Store(cli.store).resolve("export", "support")
    encoder = read_bundle(str(bundle)).bank.document["inputs"]["encoder"]
    assert entry.document["inputs"]["encoder"] == encoder


def test_card_says_what_the_heads_are_worth(cli, bundle):
    card = (bundle / "README.md").read_text(encoding="utf-8")
    result = Store(cli.store).resolve("probe", "tone")
    test = json.loads((result.path / "probe.json").read_text(encoding="utf-8"))["test"]
    assert card.startswith("---\nlicense: mit\ntags: [prefixbank]\n---\n# support\n")
    score = f"accuracy {test['score']:.3f} [{test['low']:.3f}, {test['high']:.3f}] | 20 |"
    assert f"| tone | gamma | no, yes | {score} 128 tokens |" in card
    assert "| mood | a source of the bank" in card and "sources: alpha" in card


def test_same_export_is_a_hit(cli, bundle):
    again = cli.done("export", "bank=support", "heads=[tone,mood]", "license=mit")
    assert again.steps[-1] == ("export", "support", "hit")
    assert sorted(again.result["heads"]) == ["mood", "tone"]


def test_folder_of_the_name_of_a_bank_takes_its_place_with_a_slash_only(cli, bundle, monkeypatch):
    cli.train("beta", *READOUT, "name=mood")
    cli.done("combine", "prefixes=[mood]", "name=support")
    shutil.copytree(bundle, bundle.parent / "support")
    monkeypatch.chdir(bundle.parent)
    exported, current = read_bundle(str(bundle)).bank.key, Store(cli.store).ref("bank", "support")
    assert exported != current.key
    assert pb.load_bank("support").entry.key == current.key
    assert pb.load_bank("support/").entry.key == exported == pb.load_bank("./support").entry.key


def test_source_of_a_bundle_is_found_beside_a_probe_of_its_name(cli, bundle, lines, tmp_path):
    other = tmp_path / "other"
    gamma = ("task=folder", f"task.path={cli.tasks / 'gamma'}", f"--store={other}")
    cli.done("probe", "bank=none", "encoder=tiny", *gamma, *QUICK, "name=mood")
    assert "mood" in predicted(cli, bundle, other, lines)[0]


def test_import_refuses_to_mix_with_another_artifact_of_the_same_key(cli, bundle, tmp_path):
    other = tmp_path / "other"
    cli.done("import", f"path={bundle}", f"--store={other}")
    entry = Store(other).resolve("bank", "support")
    other_bytes = Store(tmp_path / "third")

    def make(out: Path, work: Path) -> dict:
        (out / "file").write_text("other", encoding="utf-8")
        return {}

    other_bytes.build(entry.document, make)
    fault = cli.expect_fault(2, "import", f"path={bundle}", f"--store={other_bytes.root}")
    assert "has other bytes than that of the store" in fault.what


def test_bank_without_heads_can_be_exported(cli, bundle, tmp_path, lines):
    cli.done("export", "bank=demo", f"--out={tmp_path / 'bare'}")
    cli.done("embed", f"bank={tmp_path / 'bare'}", f"corpus.path={lines}")
    fault = cli.expect_fault(2, "predict", f"bank={tmp_path / 'bare'}", f"corpus.path={lines}")
    assert fault.what == "no heads given"


def test_altered_bundle_is_refused_and_nothing_of_it_imported(cli, bundle, tmp_path):
    weights = bundle / "head-0" / "probe.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(DamagedError, match=r"probe\.safetensors was altered"):
        pb.load_bank(str(bundle)).predict(["a text"])
    other = Store(tmp_path / "other")
    fault = cli.expect_fault(3, "import", f"path={bundle}", f"--store={other.root}")
    assert "altered" in fault.what and not other.entries() and not other.refs()


def test_bundle_that_lacks_a_head_is_refused_with_advice_that_works(cli, bundle):
    shutil.rmtree(bundle / "head-0")
    (fault,) = cli.expect_refusal(3, "import", f"path={bundle}")
    assert "head-0 is damaged" in fault.what and fault.fix.startswith("copy the whole folder")


def test_description_that_leads_out_of_the_bundle_is_refused(cli, bundle):
    path = bundle / "bundle.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    described["heads"][0]["folder"] = "../head-0"
    path.write_text(json.dumps(described), encoding="utf-8")
    assert "'../head-0' cannot be used" in cli.expect_fault(2, "import", f"path={bundle}").what


@pytest.mark.parametrize(
    ("content", "what"),
    [("{", "cannot be read"), ("[]", "cannot be read"), ('{"format": 1}', "'na")],
)
def test_description_that_is_none_is_refused(cli, bundle, lines, content, what):
    (bundle / "bundle.json").write_text(content, encoding="utf-8")
    fault = cli.expect_fault(2, "predict", f"bank={bundle}", f"corpus.path={lines}")
    assert what in fault.what


def test_bundle_of_a_newer_version_is_refused(cli, bundle):
    path = bundle / "bundle.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**described, "format": 2}), encoding="utf-8")
    assert "is a bundle of format 2" in cli.expect_fault(2, "import", f"path={bundle}").what


def test_import_of_something_else_is_refused(cli, tmp_path):
    assert cli.expect_fault(2, "import").what == "no bundle given"
    assert "there is no bundle.json" in cli.expect_fault(2, "import", f"path={tmp_path}").what
    missing = cli.expect_fault(2, "import", f"path={tmp_path / 'no'}")
    assert missing.what == f"there is no folder {tmp_path / 'no'}"
    (tmp_path / "bundle.json").write_text("{", encoding="utf-8")
    assert "cannot be read" in cli.expect_fault(2, "import", f"path={tmp_path}").what


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("onnx.json", "is an ONNX export, which onnxruntime runs"),
        ("adapter_config.json", "is an adapter, which PEFT loads"),
        ("anything", "is no bundle: there is no bundle.json in it"),
    ],
)
def test_folder_of_another_export_is_named_for_what_it_is(cli, lines, tmp_path, file, what):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / file).write_text("{}", encoding="utf-8")
    push = ("push", f"path={folder}", f"address={tmp_path / 'there'}")
    for typed in (("embed", f"bank={folder}/", f"corpus.path={lines}"), push):
        fault = cli.expect_fault(2, *typed)
        assert fault.what == f"{folder} {what}"


def test_bank_named_as_a_folder_without_a_slash_is_explained(cli, lines, tmp_path, monkeypatch):
    (tmp_path / "shipped").mkdir()
    monkeypatch.chdir(tmp_path)
    fault = cli.expect_fault(2, "embed", "bank=shipped", f"corpus.path={lines}")
    assert fault.fix.startswith("bank=shipped/ ")
    missing = cli.expect_fault(2, "embed", "bank=elsewhere/", f"corpus.path={lines}")
    assert missing.what == f"there is no folder {tmp_path / 'elsewhere'}"


def test_encoder_is_not_a_bank_to_export(cli):
    fault = cli.expect_fault(2, "export", "bank=none")
    assert "bank=none" in fault.what


def test_bundle_may_be_moved(cli, bundle, lines, tmp_path):
    before = read_bundle(str(bundle)).bank.digest
    moved = shutil.move(bundle, tmp_path / "there")
    assert read_bundle(str(moved)).bank.digest == before
    assert predicted(cli, moved, tmp_path / "other", lines)


def test_export_can_be_removed_and_nothing_was_made_from_it(cli, bundle):
    removed = cli.done("cache", "rm", "export/support", "--yes")
    assert "1 refs, 1 artifacts" in removed.out
    assert Store(cli.store).resolve("probe", "tone")


def test_prefix_goes_with_all_that_was_made_from_it_when_an_export_holds_copies(cli, bundle):
    cli.done("cache", "rm", "--dependents", "prefix/mood", "--yes")
    left = {entry.step for entry in Store(cli.store).entries()}
    assert not left & {"export", "probe"} and Store(cli.store).ref("bank", "support") is None
