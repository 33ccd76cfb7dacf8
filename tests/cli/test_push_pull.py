"""`prefixbank push` and `pull`: a bundle by way of a folder, of fsspec, and of the hub."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import huggingface_hub
import pytest
from huggingface_hub.errors import HFValidationError

from prefixbank.artifacts.bundle import is_part
from prefixbank.data import remote
from prefixbank.store.store import Store
from tests.cli.test_bundle import bundle, predicted  # noqa: F401  # pytest finds fixtures by name

COMMITS = {None: "a" * 40, "main": "a" * 40, "v1": "b" * 40}


class FakeHub:
    """The part of `HfApi` that is used, on folders: one for each repository and commit."""

    def __init__(self, root: Path) -> None:
        self.root, self.made, self.messages = root, {}, []

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
        assert exist_ok
        if "/" not in repo_id:
            raise HFValidationError(repo_id)
        self.made.setdefault(repo_id, private)

    def upload_folder(
        self, *, repo_id: str, folder_path: Path, allow_patterns: list[str], commit_message: str
    ) -> Any:
        self.messages.append(commit_message)
        for name in allow_patterns:
            target = self.root / repo_id / COMMITS["main"] / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder_path / name, target)
        return SimpleNamespace(oid=COMMITS["main"])

    def repo_info(self, repo_id: str, *, revision: str | None) -> Any:
        folder = self.root / repo_id / COMMITS[revision]
        if not folder.is_dir():
            raise OSError(f"404 {repo_id}\nmore")
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
        siblings = [SimpleNamespace(rfilename=name) for name in [".gitattributes", *names]]
        return SimpleNamespace(sha=COMMITS[revision], siblings=siblings)

    def snapshot_download(
        self, repo_id: str, *, revision: str, allow_patterns: list[str], local_dir: Path
    ) -> None:
        for name in allow_patterns:
            source = self.root / repo_id / revision / name
            if source.is_file():
                (local_dir / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, local_dir / name)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub(tmp_path / "hub")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: fake)
    return fake


@pytest.fixture
def memory() -> Any:
    """The file system of fsspec in memory, empty."""
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


@pytest.mark.parametrize("address", ["memory://shared/support", "{tmp}/shared/support"])
def test_bundle_comes_back_as_it_was(cli, bundle, memory, tmp_path, lines, address):  # noqa: F811
    address = address.format(tmp=tmp_path)
    pushed = cli.done("push", f"path={bundle}", f"address={address}").result
    assert pushed[0]["address"] == address and pushed[0]["commit"] == ""
    other = tmp_path / "other"
    rows = cli.done("pull", f"address={address}", "name=theirs", f"--store={other}").result
    assert [row["ref"] for row in rows] == ["bank/theirs", "probe/tone@theirs"]
    heads = "heads=[tone,mood]"
    here = predicted(cli, "support", cli.store, lines, heads)
    assert predicted(cli, "theirs", other, lines, heads) == here


def test_hub_commit_is_resolved_printed_and_kept(cli, bundle, hub, tmp_path):  # noqa: F811
    (row,) = cli.done("push", f"path={bundle}", "address=hf://me/support", "message=first").result
    assert row["commit"] == COMMITS["main"] and hub.made == {"me/support": True}
    assert hub.messages == ["first"]
    other = tmp_path / "other"
    pull = ("pull", "address=hf://me/support", f"--store={other}")
    rows = cli.done(*pull, "revision=main").result
    assert {one["commit"] for one in rows} == {COMMITS["main"]}
    entry = Store(other).resolve("bank", "support")
    assert entry.info["pulled"] == {"address": "hf://me/support", "commit": COMMITS["main"]}
    assert entry.key == Store(cli.store).resolve("bank", "support").key


def test_older_revision_is_pulled_from_its_commit(cli, bundle, hub, tmp_path):  # noqa: F811
    cli.done("push", f"path={bundle}", "address=hf://me/support", "private=false")
    folder = hub.root / "me/support"
    shutil.move(folder / COMMITS["main"], folder / COMMITS["v1"])
    pull = ("pull", "address=hf://me/support", f"--store={tmp_path / 'other'}")
    assert cli.done(*pull, "revision=v1").result[0]["commit"] == COMMITS["v1"]
    assert hub.made == {"me/support": False}


def test_what_the_hub_refuses_is_said_in_three_lines(cli, bundle, hub):  # noqa: F811
    fault = cli.expect_fault(1, "pull", "address=hf://me/absent")
    assert fault.what == "cannot use hf://me/absent: 404 me/absent"
    fault = cli.expect_fault(2, "push", f"path={bundle}", "address=hf://support")
    assert "hf://support' is no repository" in fault.what


@pytest.mark.parametrize("command", ["push", "pull"])
def test_hub_is_not_asked_offline(cli, bundle, monkeypatch, command):  # noqa: F811
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path = [f"path={bundle}"] if command == "push" else []
    fault = cli.expect_fault(1, command, *path, "address=hf://me/support")
    assert "HF_HUB_OFFLINE=1" in fault.what and "address=FOLDER" in fault.fix


def test_nothing_is_overwritten(cli, bundle, tmp_path):  # noqa: F811
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("mine", encoding="utf-8")
    push = ("push", f"path={bundle}", f"address={tmp_path / 'there'}")
    assert "exists already" in cli.expect_fault(2, *push).what
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["file"]


def test_altered_bundle_is_not_pushed(cli, bundle, tmp_path):  # noqa: F811
    weights = bundle / "head-0" / "probe.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    fault = cli.expect_fault(3, "push", f"path={bundle}", f"address={tmp_path / 'there'}")
    assert "was altered" in fault.what and not (tmp_path / "there").exists()


def test_copy_that_stops_half_way_is_no_bundle(cli, bundle, tmp_path, monkeypatch):  # noqa: F811
    local = type(fsspec.filesystem("file"))
    put, left = local.put_file, [3]

    def put_some(self: Any, source: str, target: str, **options: Any) -> None:
        left[0] -= 1
        if not left[0]:
            raise OSError("no space left")
        put(self, source, target, **options)

    monkeypatch.setattr(local, "put_file", put_some)
    address = f"address={tmp_path / 'there'}"
    assert "no space left" in cli.expect_fault(1, "push", f"path={bundle}", address).what
    assert not (tmp_path / "there" / "bundle.json").exists()
    assert "there is no bundle" in cli.expect_fault(2, "pull", address).what


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        (("address={tmp}/absent",), "there is no bundle at"),
        (("address={tmp}", "revision=main"), "which is no repository"),
        (("address=nowhere://a/b",), "address=nowhere://a/b: "),
        ((), "no address given"),
    ],
)
def test_address_without_a_bundle_is_refused(cli, tmp_path, settings, what):
    given = [one.format(tmp=tmp_path / "empty") for one in settings]
    assert what in cli.expect_fault(2, "pull", *given).what


def test_push_needs_a_bundle_and_an_address(cli, tmp_path):
    assert "no address given" in cli.expect_fault(2, "push", f"path={tmp_path}").what
    push = ("push", f"path={tmp_path}", f"address={tmp_path / 'there'}")
    assert "there is no bundle.json" in cli.expect_fault(2, *push).what


def test_only_files_of_a_bundle_are_copied_and_none_leads_out():
    names = ["bundle.json", "bank/entry.json", "head-0/../../x", "model.bin", "head-0/a/../b"]
    assert remote.chosen(names, is_part, "bundle.json", "here") == [
        "bundle.json",
        "bank/entry.json",
    ]


def test_files_that_were_not_exported_stay_where_they_are(cli, bundle, tmp_path):  # noqa: F811
    (bundle / "customers.csv").write_text("name\n", encoding="utf-8")
    (bundle / "encoder").mkdir()
    (bundle / "encoder" / "config.json").write_text("{}", encoding="utf-8")
    cli.done("push", f"path={bundle}", f"address={tmp_path / 'there'}")
    pushed = {path.relative_to(tmp_path / "there").as_posix() for path in tmp_path.rglob("there/*")}
    assert "customers.csv" not in pushed and "bundle.json" in pushed
    assert (tmp_path / "there/encoder/config.json").is_file()


@pytest.mark.parametrize("address", ["hf:/me/x", "s3:bucket/x", "memory:/x"])
def test_address_that_is_almost_a_url_is_refused(cli, bundle, address):  # noqa: F811
    fault = cli.expect_fault(2, "push", f"path={bundle}", f"address={address}")
    assert "neither a URL nor a path" in fault.what and "://" in fault.fix
    assert not Path(address.partition(":")[0] + ":").exists()


def test_push_that_stopped_half_way_is_finished_by_the_same_command(
    cli,
    bundle,  # noqa: F811
    tmp_path,
):
    there = tmp_path / "there"
    (there / "bank").mkdir(parents=True)
    (there / "bank" / "bank.json").write_text("{", encoding="utf-8")
    push = ("push", f"path={bundle}", f"address={there}")
    cli.done(*push)
    assert (there / "bank" / "bank.json").read_text(encoding="utf-8") != "{"
    assert "exists already" in cli.expect_fault(2, *push).what
