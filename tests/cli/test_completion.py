"""Completion as shells ask for it, in fresh processes, and as words that shells have cut."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from prefixbank.cli.completion import whole_word

NAMES = {"task=", "embeddings="}
SHELL = (
    "import json, sys; from prefixbank.cli.app import app\n"
    "try: app(prog_name='prefixbank')\n"
    "finally: print(json.dumps(sorted({'torch', 'hydra', 'pyarrow'} & set(sys.modules))))"
)


@pytest.mark.parametrize(
    ("given", "incomplete", "pieces"),
    [
        (["task=polarity"], "seed=", ("", "seed=")),
        (["task"], "", ("task=", "task=")),
        (["task", "="], "pol", ("task=", "task=pol")),
        (["task", "=", "polarity"], "", ("", "")),
        (["task", "=", "task"], "", ("", "")),
        (["embeddings", "=", "lines", "@"], "de", ("embeddings=lines@", "embeddings=lines@de")),
        (["a text"], "", ("", "")),
    ],
)
def test_word_that_bash_cut_is_put_together(given, incomplete, pieces):
    assert whole_word(given, incomplete, NAMES) == pieces


def ask(shell: str, **variables: str) -> tuple[list[str], list[str]]:
    """Return the answers to a shell, and which heavy libraries were loaded for them."""
    done = subprocess.run(
        [sys.executable, "-c", SHELL],
        env={**os.environ, "_PREFIXBANK_COMPLETE": f"complete_{shell}", **variables},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    *answers, heavy = done.stdout.splitlines()
    return answers, json.loads(heavy)


@pytest.mark.parametrize(
    ("words", "answers"),
    [
        (("train-prefix", "task", "=", "pol"), ["polarity"]),
        (("embed", "vectors", "="), ["float32", "float16", "int8", "binary"]),
        (("transfer", "map", "experiment", "=", "transfer_map_"), ["transfer_map_smoke"]),
        (("config", "show", "transfer", "combine", "k"), ["k=3"]),
    ],
)
def test_bash_gets_the_piece_that_follows_and_nothing_heavy_is_loaded(words, answers):
    line = "\n".join(("prefixbank", *words))
    assert ask("bash", COMP_WORDS=line, COMP_CWORD=str(len(words))) == (answers, [])


def test_zsh_and_fish_get_whole_words():
    line = "prefixbank train-prefix task=pol"
    assert ask("zsh", _TYPER_COMPLETE_ARGS=line)[0] == ["""_arguments '*: :(("task=polarity"))'"""]
    fish = {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    assert ask("fish", **fish)[0] == ["task=polarity"]


def test_wrong_store_completes_to_nothing():
    line = "prefixbank\nembed\n--store\n\nbank\n=\n"
    assert ask("bash", COMP_WORDS=line, COMP_CWORD="5")[1] == []
