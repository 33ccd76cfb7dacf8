"""The phrase files of the starter suite: read strictly, complete, with nothing to spare."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from prefixbank.data.starter import phrase_files
from prefixbank.data.starter.grammar import SLOT, Entry, Phrases
from prefixbank.data.starter.phrase_files import FOLDER, load_phrases
from prefixbank.data.starter.suite import STARTER_TASKS
from prefixbank.errors import DataError

SMALL = """
labels: ["no", "yes"]
lexicon:
  beast: [ox, hen]
  deed:
    forms: [base, past]
    rows:
      - [go, went]
scopes:
  barn:
    place: [in the barn]
texts:
  ask: ["does the {beast} {deed.base}?", "what does the {beast} do?"]
  tell: "the {beast} {deed.past}."
frames:
  "no":
    - [ask, "the {beast} sleeps."]
  "*":
    - [ask, tell]
    - "just one text"
test_frames: {}
"""


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Reads a text as the file of a task."""
    monkeypatch.setattr(phrase_files, "FOLDER", tmp_path)

    def phrases_of(text: str) -> Phrases:
        (tmp_path / "small.yaml").write_text(text, encoding="utf-8")
        return load_phrases("small")

    return phrases_of


def mapping_nodes(node: yaml.Node) -> list[yaml.MappingNode]:
    """The mappings of a YAML document, the outermost first."""
    if isinstance(node, yaml.MappingNode):
        return [node, *(found for _, value in node.value for found in mapping_nodes(value))]
    children = node.value if isinstance(node, yaml.SequenceNode) else []
    return [found for child in children for found in mapping_nodes(child)]


def texts_in(entry: Entry) -> list[str]:
    return [entry] if isinstance(entry, str) else list(entry.values())


def slots_used(phrases: Phrases) -> set[tuple[str, str | None]]:
    """Name and form of every slot, in frames and in words, with roles replaced by labels."""
    frames = [*phrases.frames.values(), *phrases.test_frames.values()]
    words = [each for lexicon in (phrases.lexicon, *phrases.scopes) for each in lexicon.values()]
    texts = [frame for group in frames for frame in group]
    texts += [text for entries in words for entry in entries for text in texts_in(entry)]
    found: set[tuple[str, str | None]] = set()
    for name, role, _, form in (slot for text in texts for slot in SLOT.findall(text)):
        names = [f"{name}_{label}" for label in phrases.labels] if role else [name]
        found |= {(each, form or None) for each in names}
    return found


def test_every_phrase_file_is_a_task():
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(
        f"{name}.yaml" for name in STARTER_TASKS
    )


@pytest.mark.parametrize("name", STARTER_TASKS)
def test_phrase_file_names_nothing_twice(name: str):
    node = yaml.compose((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    keys = [[key.value for key, _ in mapping.value] for mapping in mapping_nodes(node)]
    assert keys and [each for each in keys if len(each) != len(set(each))] == []


@pytest.mark.parametrize("name", STARTER_TASKS)
def test_phrase_file_has_words_for_every_slot_and_no_others(name: str):
    phrases = load_phrases(name)
    used = slots_used(phrases)
    for scope in phrases.scopes:
        lexicon = {**phrases.lexicon, **scope}
        assert {slot for slot, _ in used} == set(lexicon)
        for slot, form in used:
            forms = [entry.keys() for entry in lexicon[slot] if not isinstance(entry, str)]
            assert all((form or "word") in each for each in forms), slot


@pytest.mark.parametrize("name", STARTER_TASKS)
def test_phrase_file_repeats_no_word_and_no_frame(name: str):
    phrases = load_phrases(name)
    lexicons = (phrases.lexicon, *phrases.scopes)
    lists = [list(words) for lexicon in lexicons for words in lexicon.values()]
    lists += [list(group) for group in (*phrases.frames.values(), *phrases.test_frames.values())]
    assert [each for each in lists if any(each.count(one) > 1 for one in each)] == []


def test_phrases_are_read_as_they_are_written(read):
    phrases = read(SMALL)
    assert (phrases.labels, phrases.graded) == (("no", "yes"), False)
    assert phrases.lexicon == {"beast": ["ox", "hen"], "deed": [{"base": "go", "past": "went"}]}
    assert phrases.scopes == ({"place": ["in the barn"]},)
    assert phrases.test_frames == {}


def test_pair_of_names_stands_for_every_pair_of_their_texts_in_order(read):
    assert read(SMALL).frames == {
        "no": [
            "does the {beast} {deed.base}? || the {beast} sleeps.",
            "what does the {beast} do? || the {beast} sleeps.",
        ],
        "*": [
            "does the {beast} {deed.base}? || the {beast} {deed.past}.",
            "what does the {beast} do? || the {beast} {deed.past}.",
            "just one text",
        ],
    }


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ('labels: ["no", "yes"]', "labels: [no, yes]", "labels.0"),
        ('  "no":', "  no:", "frames"),
        ("beast: [ox, hen]", "beast: [ox, 7]", "lexicon.beast"),
        ("[go, went]", "[go]", "zip"),
        ("[ask, tell]", "[ask, told]", "no text has the name 'told'"),
        ("[ask, tell]", "[ask, tell, tell]", "frames"),
        ('  "*":', "  maybe:", "frames of maybe, which is not a label"),
        ("scopes:", "scope:", "scope"),
        ("test_frames: {}", "test_frames: {", "line"),
        ("labels:", "? !!python/object/apply:os.getcwd []\nlabels:", "could not determine"),
    ],
)
def test_phrase_file_with_a_fault_is_refused(read, right: str, wrong: str, said: str):
    assert SMALL.count(right) == 1
    with pytest.raises(DataError, match=said) as caught:
        read(SMALL.replace(right, wrong))
    assert "small.yaml" in caught.value.what
