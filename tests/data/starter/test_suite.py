"""The starter suite keeps its promises.

Sizes, balance, apart splits, the same bytes always, and no keyword game.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from prefixbank.data.starter.grammar import Phrases, Row, compose, polish
from prefixbank.data.starter.phrase_files import load_phrases
from prefixbank.data.starter.suite import (
    HELD_OUT_SHARE,
    SPLIT_ROWS,
    STARTER_SOURCES,
    STARTER_TARGETS,
    STARTER_TASKS,
    draw_rows,
    starter_task,
)
from prefixbank.data.tasks.task import Examples, Task
from prefixbank.errors import UsageError

PAIRED = ("entailment", "paraphrase", "answer", "similarity")
LABELS = {
    "polarity": ("negative", "positive"),
    "entailment": ("contradiction", "entailment", "neutral"),
    "paraphrase": ("different", "same"),
    "topic": ("law", "money", "music", "sport"),
    "answer": ("no", "yes"),
    "question_type": ("method", "number", "person", "place", "reason", "time"),
    "emotion": ("anger", "fear", "joy", "sadness"),
    "similarity": (),
    "complaint": ("fine", "complaint"),
}
DIGESTS = {
    "polarity": "575d9fe3fa3a937043264d658818deaa9f9357acecc932f295b497df74133bff",
    "entailment": "a0199b0d8575b472a8f5e03217fefc9e3a7612bbfd7e5a51f9ce04fd51eca706",
    "paraphrase": "f7775d31fb012e51924c1fe4ab55c74f8a96df27f51e3156d41423ae536159d2",
    "topic": "409b5feeca8d2f495935c7af84e95624576e0e252dc72313c7f271cd70dbb4a8",
    "answer": "c70b68b5250a900187879b69400b8c3ec2fd0a01efd69849479065a93bff35f2",
    "question_type": "98b98b79d463643c106eca4245b3c92162dfac32a8027f65b8ee8f85cb4335c0",
    "emotion": "da1e2514e040ce0e05084815368efb7bf31e211d9a699be8a75126333fd7fe1a",
    "similarity": "7407d72ca940e3ffae7e15818c582abd05e69aebd29c8e26a41c18daa079ae45",
    "complaint": "73ba1902a69119d380bb4ed2cacd54af421eb0669b98bc50ecd0a8a9e272f545",
}
PRINT_DIGESTS = """
from prefixbank.data.starter.suite import STARTER_TASKS, starter_task
print(*(starter_task(name).digest() for name in STARTER_TASKS))
"""


def splits_of(task: Task) -> dict[str, Examples]:
    return {"train": task.train, "validation": task.validation, "test": task.test}


def all_texts(examples: Examples) -> set[str]:
    return {*examples.texts, *(examples.pairs or ())}


def joined(examples: Examples) -> list[str]:
    if examples.pairs is None:
        return list(examples.texts)
    return [
        f"{text} [SEP] {pair}" for text, pair in zip(examples.texts, examples.pairs, strict=True)
    ]


def starter_rows(name: str) -> dict[str, tuple[Row, ...]]:
    return draw_rows(name, load_phrases(name))


def frames_for_test(phrases: Phrases) -> set[str]:
    return {frame for frames in phrases.test_frames.values() for frame in frames}


def test_starter_suite_has_five_sources_and_four_targets() -> None:
    assert STARTER_SOURCES == ("polarity", "entailment", "paraphrase", "topic", "answer")
    assert STARTER_TARGETS == ("question_type", "emotion", "similarity", "complaint")


@pytest.mark.parametrize("name", STARTER_TASKS)
def test_starter_task_declares_its_kind_and_labels(name: str) -> None:
    task = starter_task(name)
    graded = name == "similarity"
    kind, metric = ("regression", "spearman") if graded else ("classification", "accuracy")
    assert (task.name, task.kind, task.metric, task.labels) == (name, kind, metric, LABELS[name])


@pytest.mark.parametrize("name", STARTER_TASKS)
def test_starter_task_has_the_promised_rows(name: str) -> None:
    lengths = {split: len(examples) for split, examples in splits_of(starter_task(name)).items()}
    assert lengths == {"train": 800, "validation": 200, "test": 400}


@pytest.mark.parametrize("name", STARTER_TASKS)
def test_starter_task_is_paired_only_when_it_compares(name: str) -> None:
    assert [examples.pairs is not None for examples in splits_of(starter_task(name)).values()] == [
        name in PAIRED
    ] * 3


@pytest.mark.parametrize("name", STARTER_TASKS)
def test_starter_labels_are_balanced_in_every_split(name: str) -> None:
    for examples in splits_of(starter_task(name)).values():
        counts = Counter(examples.labels.tolist())
        assert len(counts) == (len(LABELS[name]) or 6)
        assert max(counts.values()) - min(counts.values()) <= 1


def test_similarity_is_graded_from_zero_to_five() -> None:
    assert np.unique(starter_task("similarity").train.labels).tolist() == [
        0.0,
        1.0,
        2.0,
        3.0,
        4.0,
        5.0,
    ]


@pytest.mark.parametrize("name", STARTER_TASKS)
def test_starter_splits_share_no_single_text(name: str) -> None:
    train, validation, test = (
        all_texts(examples) for examples in splits_of(starter_task(name)).values()
    )
    assert not (train & validation or train & test or validation & test)


@pytest.mark.parametrize("name", STARTER_TASKS)
def test_starter_rows_are_not_repeated(name: str) -> None:
    for examples in splits_of(starter_task(name)).values():
        assert len(set(joined(examples))) == len(examples)


@pytest.mark.parametrize("target", STARTER_TARGETS)
def test_target_shares_no_text_with_a_source(target: str) -> None:
    source_texts = {
        text
        for name in STARTER_SOURCES
        for examples in splits_of(starter_task(name)).values()
        for text in all_texts(examples)
    }
    assert not source_texts & {
        text
        for examples in splits_of(starter_task(target)).values()
        for text in all_texts(examples)
    }


@pytest.mark.parametrize("target", STARTER_TARGETS)
def test_target_shares_no_frame_with_a_source(target: str) -> None:
    def wording(phrases: Phrases) -> set[str]:
        frames = [
            frame
            for group in (phrases.frames, phrases.test_frames)
            for each in group.values()
            for frame in each
        ]
        return {re.sub(r"\{[^}]*\}", "{}", frame) for frame in frames}

    of_sources = set().union(*(wording(load_phrases(name)) for name in STARTER_SOURCES))
    assert not wording(load_phrases(target)) & of_sources


@pytest.mark.parametrize("name", STARTER_TASKS)
def test_some_frames_occur_in_the_test_split_alone(name: str) -> None:
    rows = starter_rows(name)
    seen = {row.frame for split in ("train", "validation") for row in rows[split]}
    kept = frames_for_test(load_phrases(name))
    share = sum(row.frame in kept for row in rows["test"]) / len(rows["test"])
    assert not seen & kept
    assert abs(share - HELD_OUT_SHARE) < 0.1


@pytest.mark.parametrize("name", STARTER_TASKS)
def test_starter_rows_become_examples_in_order(name: str) -> None:
    test = starter_task(name).test
    expected = [(row.text, row.pair, row.label) for row in starter_rows(name)["test"]]
    assert (
        list(zip(test.texts, test.pairs or [""] * len(test), test.labels.tolist(), strict=True))
        == expected
    )


@pytest.mark.parametrize("name", STARTER_TASKS)
def test_starter_task_holds_the_examples_it_always_held(name: str) -> None:
    assert starter_task(name).digest() == DIGESTS[name]


def test_starter_suite_is_the_same_in_another_process() -> None:
    env = {
        **os.environ,
        "PYTHONHASHSEED": "77",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    other = subprocess.run(
        [sys.executable, "-c", PRINT_DIGESTS],
        env=env,
        check=True,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert other.stdout.split() == list(DIGESTS.values())


def test_generating_a_starter_task_is_quick() -> None:
    started = time.process_time()
    rows = starter_rows("answer")
    assert time.process_time() - started < 1.0
    assert sum(map(len, rows.values())) == sum(SPLIT_ROWS.values())


@pytest.mark.parametrize("name", STARTER_TASKS)
def test_starter_texts_are_whole_sentences(name: str) -> None:
    for examples in splits_of(starter_task(name)).values():
        bad = [
            text
            for text in all_texts(examples)
            if not re.fullmatch(r"[A-Z\d][^{}|_=]*[.?]", text) or "  " in text
        ]
        assert bad == []


@pytest.mark.parametrize("name", STARTER_TASKS)
def test_starter_texts_have_a_length_people_write(name: str) -> None:
    words = [len(text.split()) for text in joined(starter_task(name).train)]
    assert min(words) >= 5
    assert max(words) <= 50
    assert 8 <= np.median(words) <= 30


@pytest.mark.parametrize(
    ("text", "polished"),
    [
        ("a old inn", "An old inn"),
        ("such a hour", "Such an hour"),
        ("a unique, a useful and a one-off", "A unique, a useful and a one-off"),
        ("a umbrella. a uninspired end", "An umbrella. An uninspired end"),
        ("is it? it is", "Is it? It is"),
        ("a house, a honest one", "A house, an honest one"),
    ],
)
def test_polish_writes_articles_and_capitals(text: str, polished: str) -> None:
    assert polish(text) == polished


def test_frame_repeats_a_slot_and_draws_another_for_a_new_number() -> None:
    phrases = Phrases(
        labels=("x", "y"),
        frames={"*": ("{beast} {beast2} {beast}",)},
        test_frames={},
        lexicon={"beast": ("ox", "hen")},
    )
    first, second, third = (
        compose(phrases, random.Random(0), 0, held_out=False).text.lower().split()
    )
    assert first == third
    assert {first, second} == {"ox", "hen"}


@pytest.mark.parametrize(("label", "text"), [(0, "Xs, not ys"), (1, "Ys, not xs")])
def test_frame_fills_roles_by_label(label: int, text: str) -> None:
    phrases = Phrases(
        labels=("x", "y"),
        frames={"*": ("{word=}, not {word!}",)},
        test_frames={},
        lexicon={"word_x": ("xs",), "word_y": ("ys",)},
    )
    assert compose(phrases, random.Random(0), label, held_out=False).text == text


def test_frame_takes_forms_and_says_again_from_the_second_time_on() -> None:
    lexicon = {"item": [{"word": "the key", "again": "it", "many": "keys"}]}
    phrases = Phrases(
        labels=("x", "y"),
        frames={"*": ("{item}, {item}, {item.many} || {item}",)},
        test_frames={},
        lexicon=lexicon,
    )
    row = compose(phrases, random.Random(0), 0, held_out=False)
    assert (row.text, row.pair) == ("The key, it, keys", "It")


def test_unknown_starter_task_is_refused_with_a_near_name() -> None:
    with pytest.raises(UsageError, match="did you mean 'polarity'") as caught:
        starter_task("polarty")
    assert "emotion" in caught.value.expected


@pytest.mark.parametrize("name", STARTER_SOURCES + ("emotion", "question_type", "complaint"))
def test_bag_of_words_stays_below_85_percent(name: str) -> None:
    task = starter_task(name)
    words = TfidfVectorizer(ngram_range=(1, 2))
    model = LogisticRegression(C=10.0, max_iter=1000).fit(
        words.fit_transform(joined(task.train)), task.train.labels
    )
    assert model.score(words.transform(joined(task.test)), task.test.labels) < 0.85
