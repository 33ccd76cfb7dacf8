"""The tiny encoder's key follows its vocabulary, which comes from the starter suite."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prefixbank.data.encoders.tiny_vocabulary import tiny_vocabulary
from prefixbank.data.starter import phrase_files
from prefixbank.data.starter.suite import starter_task
from prefixbank.runtime import tiny_encoder
from prefixbank.store.key import key_of

PLAN = """
import sys
from prefixbank.runtime import tiny_encoder
from prefixbank.store.key import key_of
print(key_of(tiny_encoder.unit().document), *{"torch", "transformers"} & set(sys.modules))
"""


def forget() -> None:
    starter_task.cache_clear()
    tiny_vocabulary.cache_clear()


def key() -> str:
    return key_of(tiny_encoder.unit().document)


@pytest.fixture
def key_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, str], str]]:
    """Gives the key with one text of the phrases of `topic` replaced by another."""
    folder = tmp_path / "phrases"
    shutil.copytree(phrase_files.FOLDER, folder)
    topic = folder / "topic.yaml"
    text = topic.read_text(encoding="utf-8")

    def replaced(old: str, new: str) -> str:
        assert text.count(old) == 1
        topic.write_text(text.replace(old, new), encoding="utf-8")
        forget()
        return key()

    with monkeypatch.context() as patch:
        patch.setattr(phrase_files, "FOLDER", folder)
        yield replaced
    forget()


def test_another_word_of_the_starter_suite_changes_the_key(key_with):
    assert key_with("[barrister,", "[advocate,") != key_with("[barrister,", "[barrister,")


def test_comment_in_a_phrase_file_does_not_change_the_key(key_with):
    assert key_with("labels:", "# A remark.\nlabels:") == key_with("labels:", "labels:")


def test_another_number_of_words_changes_the_key(monkeypatch):
    before = key()
    monkeypatch.setattr("prefixbank.data.encoders.tiny_vocabulary.WORDS", 100)
    forget()
    assert key() != before
    forget()


def test_planning_loads_no_torch_and_gives_the_same_key():
    done = subprocess.run(
        [sys.executable, "-c", PLAN], capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout.split() == [key()]
