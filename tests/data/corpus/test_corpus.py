"""Texts without labels, from every form they may come in."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from prefixbank.config.commands import CorpusConfig
from prefixbank.data.corpus.corpus import open_corpus, shards_of
from prefixbank.data.corpus.texts import Texts
from prefixbank.data.row_faults import ENOUGH
from prefixbank.errors import DataError, Faults, UsageError

ROWS = (
    ("a", "first text", "its pair"),
    ("b", "second, with a comma", "2"),
    ("c", "dritter Text: größer", "x"),
)
TEXTS, PAIRS, IDS = (tuple(row[place] for row in ROWS) for place in (1, 2, 0))
HEADER = ("id", "text", "other")


def table_of(form: str) -> bytes:
    """`ROWS` as a file of the given form."""
    match form:
        case "csv":
            quoted = [",".join(f'"{value}"' for value in row) for row in (HEADER, *ROWS)]
            return "\r\n".join(quoted).encode()
        case "tsv":
            return "\n".join("\t".join(row) for row in (HEADER, *ROWS)).encode()
        case "jsonl" | "ndjson":
            lines = [
                f'{{"id": "{row[0]}", "text": "{row[1]}", "other": "{row[2]}"}}' for row in ROWS
            ]
            return "\n".join(lines).encode()
    buffer = io.BytesIO()
    parquet.write_table(pa.table(dict(zip(HEADER, zip(*ROWS, strict=True), strict=True))), buffer)
    return buffer.getvalue()


def read_corpus(config: CorpusConfig, stdin: io.BytesIO) -> Texts:
    """All rows of a corpus of one shard."""
    with open_corpus(config, stdin) as corpus:
        (texts,) = corpus.shards()
        return texts


def read(folder: Path, name: str, content: bytes, **columns: str) -> Texts:
    (folder / name).write_bytes(content)
    return read_corpus(CorpusConfig(path=str(folder / name), **columns), io.BytesIO(b"not this"))


def refused(folder: Path, name: str, content: bytes, **columns: str) -> DataError:
    with pytest.raises(DataError) as caught:
        read(folder, name, content, **columns)
    return caught.value


every_table = pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "ndjson", "parquet", "CSV"])


@every_table
def test_table_gives_texts_pairs_and_ids(tmp_path: Path, form: str):
    rows = read(
        tmp_path, f"corpus.{form}", table_of(form.lower()), column_pair="other", id_column="id"
    )
    assert (rows.texts, rows.pairs, rows.ids) == (TEXTS, PAIRS, IDS)


@every_table
def test_table_without_further_columns_gives_texts_alone(tmp_path: Path, form: str):
    rows = read(tmp_path, f"corpus.{form}", table_of(form.lower()))
    assert (rows.texts, rows.pairs, rows.ids) == (TEXTS, None, None)


def test_texts_may_stand_in_any_column(tmp_path: Path):
    assert read(tmp_path, "corpus.csv", table_of("csv"), column="other").texts == PAIRS


@pytest.mark.parametrize("end", ["", "\n", "\r\n"], ids=["no end", "line feed", "carriage return"])
def test_text_file_gives_one_text_for_each_line(tmp_path: Path, end: str):
    content = "first line\nzweite Zeile: größer\n third".replace("\n", end or "\n") + end
    assert read(tmp_path, "corpus.txt", content.encode()).texts == (
        "first line",
        "zweite Zeile: größer",
        " third",
    )


@pytest.mark.parametrize(
    "odd",
    ["\u2028", "\x0b", "\x85", "\x1c"],
    ids=["line separator", "vertical tab", "next line", "file separator"],
)
def test_only_line_feeds_end_a_line(tmp_path: Path, odd: str):
    assert read(tmp_path, "corpus.txt", f"a{odd}b\nc".encode()).texts == (f"a{odd}b", "c")


def test_byte_order_mark_is_no_text(tmp_path: Path):
    assert read(tmp_path, "corpus.txt", b"\xef\xbb\xbffirst").texts == ("first",)


def test_standard_input_gives_one_text_for_each_line():
    rows = read_corpus(CorpusConfig(path="-"), io.BytesIO("eins\nzwei, größer\n".encode()))
    assert rows == Texts(texts=("eins", "zwei, größer"))


def test_path_may_start_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "corpus.txt").write_text("a text", encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_corpus(CorpusConfig(path="~/corpus.txt"), io.BytesIO()).texts == ("a text",)


@pytest.mark.parametrize("values", [[1, 2], ["1", "2"]], ids=["numbers", "text"])
def test_ids_are_text_whatever_their_type(tmp_path: Path, values: list[Any]):
    parquet.write_table(pa.table({"text": ["a", "b"], "id": values}), tmp_path / "corpus.parquet")
    assert read_corpus(
        CorpusConfig(path=str(tmp_path / "corpus.parquet"), id_column="id"), io.BytesIO()
    ).ids == ("1", "2")


def test_no_path_is_refused():
    with pytest.raises(DataError, match="corpus.path is empty") as caught:
        read_corpus(CorpusConfig(), io.BytesIO(b"a text"))
    assert "corpus.path=-" in caught.value.expected


def test_file_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"no file '.*gone\.txt'"):
        read_corpus(CorpusConfig(path=str(tmp_path / "gone.txt")), io.BytesIO())


def test_folder_is_no_corpus(tmp_path: Path):
    with pytest.raises(DataError, match="no file"):
        read_corpus(CorpusConfig(path=str(tmp_path)), io.BytesIO())


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("corpus.md", "corpus.format=txt"),
        ("corpus", "corpus.format=txt"),
        ("corpus.md.gz", "gunzip -k"),
        ("corpus.parquet.gz", "gunzip -k"),
        ("corpus.xlsx", "save the sheet as CSV"),
        ("corpus.zip", "unpack it"),
    ],
)
def test_ending_that_tells_no_format_is_refused_with_what_to_do(
    tmp_path: Path, name: str, fix: str
):
    error = refused(tmp_path, name, b"a text\n")
    assert "an ending that does not tell its format" in error.what and ".jsonl" in error.expected
    assert fix in error.fix


@pytest.mark.parametrize("name", ["corpus.txt", "corpus.csv", "corpus.tsv", "corpus.jsonl"])
def test_packed_file_is_read_as_it_is_unpacked(tmp_path: Path, name: str):
    content = b"text\na b\nc\n" if "jsonl" not in name else b'{"text": "a b"}\n{"text": "c"}\n'
    packed = read(tmp_path, f"{name}.gz", gzip.compress(content))
    assert packed == read(tmp_path, name, content) and packed.texts[-2:] == ("a b", "c")


def test_file_that_is_packed_in_part_is_refused(tmp_path: Path):
    whole = gzip.compress(b"a text\n" * 1000)
    for content in (whole[:-20], b"a text\n", whole[:30] + b"x" * 10 + whole[40:]):
        assert "cannot be unpacked" in refused(tmp_path, "corpus.txt.gz", content).what


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        (b'[{"text": "a b"}, {"text": "c", "more": [1]}]', {}),
        (b'\n [\n{"text": "a b"},\n{"text": "c"}\n]\n', {}),
        (b'{"text": "a b"}\n{"text": "c"}\n', {}),
        (b"text;more\na b;1\nc;2\n", {"format": "csv", "separator": ";"}),
        (b'text\tmore\n"a b"\t1\n"c"\t2\n', {"format": "tsv", "quoting": "double"}),
        (b"a b\nc", {"format": "txt"}),
    ],
    ids=["array", "array of lines", "lines", "semicolons", "quoted tabs", "text"],
)
def test_rows_are_read_as_file_and_settings_say(
    tmp_path: Path, content: bytes, settings: dict[str, str]
):
    assert read(tmp_path, "corpus.json", content, **settings).texts == ("a b", "c")
    on_stdin = CorpusConfig(path="-", **{"format": "json", **settings})
    assert read_corpus(on_stdin, io.BytesIO(content)).texts == ("a b", "c")


def test_array_that_is_not_whole_is_refused(tmp_path: Path):
    assert "opens an array" in refused(tmp_path, "corpus.json", b'[{"text": "a b"},').what


def test_items_of_an_array_that_are_no_objects_are_named(tmp_path: Path):
    error = refused(tmp_path, "corpus.json", b'[{"text": "a"}, "b", null]')
    assert "2 rows not a JSON object: row 2 '\"b\"', row 3 'null'" in error.what


@pytest.mark.parametrize(("separator", "typed"), [(";", "';'"), ("\t", r"'\t'"), ("|", "'|'")])
def test_other_separator_of_a_header_is_recognised(tmp_path: Path, separator: str, typed: str):
    error = refused(tmp_path, "corpus.csv", f'"text"{separator}more\na{separator}b\n'.encode())
    assert "the header is" in error.what and error.fix == f"corpus.separator={typed}"


def test_column_of_lines_is_refused(tmp_path: Path):
    error = refused(tmp_path, "corpus.txt", b"a text\n", column="body")
    assert error.what.startswith("corpus.column=body, but ") and "corpus.format=jsonl" in error.fix


@pytest.mark.parametrize(
    ("name", "settings", "what"),
    [
        ("corpus.jsonl", {"separator": ";"}, "which is read as jsonl"),
        ("corpus.txt", {"quoting": "none"}, "which is read as txt"),
        ("corpus.csv", {"separator": "::"}, "corpus.separator='::'"),
        ("corpus.csv", {"separator": '"'}, "corpus.separator='\"'"),
    ],
)
def test_settings_that_do_not_fit_the_format_are_refused(
    tmp_path: Path, name: str, settings: dict[str, str], what: str
):
    (tmp_path / name).write_bytes(b"a")
    with pytest.raises(UsageError, match=what):
        read_corpus(CorpusConfig(path=str(tmp_path / name), **settings), io.BytesIO())


@pytest.mark.parametrize("name", ["corpus.txt", "corpus.csv", "corpus.jsonl"])
@pytest.mark.parametrize("content", [b"", b"\n"], ids=["empty", "line feed"])
def test_empty_file_is_refused(tmp_path: Path, name: str, content: bytes):
    assert "has no rows" in refused(tmp_path, name, content).what


def test_header_without_rows_is_refused(tmp_path: Path):
    assert "has no rows" in refused(tmp_path, "corpus.csv", b"text\n").what


def test_empty_standard_input_is_refused():
    with pytest.raises(DataError, match="standard input has no rows"):
        read_corpus(CorpusConfig(path="-"), io.BytesIO())


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"a\n\nb", "row 2 ''"), (b"a\nb\n \t\n", "row 3 ' \\t'"), (b"\n\na", "row 1 '', row 2 ''")],
)
def test_blank_line_is_refused_by_its_number(tmp_path: Path, content: bytes, said: str):
    error = refused(tmp_path, "corpus.txt", content)
    assert "empty or only spaces" in error.what and error.what.endswith(said)


@pytest.mark.parametrize(
    "columns", [{}, {"column": "other", "column_pair": "text"}], ids=["text", "pair"]
)
def test_blank_text_in_a_table_is_refused_by_its_row(tmp_path: Path, columns: dict[str, str]):
    error = refused(tmp_path, "corpus.csv", b'text,other\na,b\n" ",b\n', **columns)
    assert error.what.endswith("1 row empty or only spaces: row 2 ' '")


@pytest.mark.parametrize("name", ["corpus.txt", "corpus.csv", "corpus.jsonl"])
def test_bytes_that_are_not_utf8_are_refused_by_their_place(tmp_path: Path, name: str):
    assert "is not UTF-8: byte 0xe9 at offset 8" in refused(tmp_path, name, b"text\nabc\xe9\n").what


def test_standard_input_that_is_not_utf8_is_refused():
    with pytest.raises(DataError, match="standard input is not UTF-8: byte 0xff at offset 2"):
        read_corpus(CorpusConfig(path="-"), io.BytesIO(b"a\n\xff"))


@every_table
@pytest.mark.parametrize("setting", ["column", "column_pair", "id_column"])
def test_column_that_is_not_there_is_refused(tmp_path: Path, form: str, setting: str):
    error = refused(tmp_path, f"corpus.{form}", table_of(form.lower()), **{setting: "txet"})
    assert (
        "has no column 'txet'; did you mean 'text'?" in error.what
        and "id, text, other" in error.expected
    )


def test_empty_name_of_the_text_column_is_refused(tmp_path: Path):
    assert (
        refused(tmp_path, "corpus.csv", table_of("csv"), column="").what == "corpus.column is empty"
    )


@pytest.mark.parametrize(
    "content",
    [b'{"text": "a"}\n{"text": null}', b'{"text": "a"}\n{"id": 3}'],
    ids=["null", "absent"],
)
def test_row_without_text_is_refused(tmp_path: Path, content: bytes):
    assert refused(tmp_path, "corpus.jsonl", content).what.endswith(
        "1 row without text in column 'text': row 2"
    )


def test_numbers_are_no_texts(tmp_path: Path):
    assert (
        "2 rows without text in column 'text': row 1 7, row 2 8"
        in refused(tmp_path, "corpus.jsonl", b'{"text": 7}\n{"text": 8}').what
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("corpus.jsonl", b'{"text": "a", "id": 1}\n{"text": "b"}'),
        ("corpus.csv", b"text,id\na,1\nb,\n"),
    ],
    ids=["absent", "empty"],
)
def test_row_without_id_is_refused(tmp_path: Path, name: str, content: bytes):
    assert refused(tmp_path, name, content, id_column="id").what.endswith(
        "1 row without an id in column 'id': row 2"
    )


def test_damaged_parquet_is_refused(tmp_path: Path):
    assert "cannot be read as Parquet" in refused(tmp_path, "corpus.parquet", b"PAR1").what


def test_line_that_is_no_json_object_is_refused(tmp_path: Path):
    assert (
        "1 row not a JSON object: row 2 'plain'"
        in refused(tmp_path, "corpus.jsonl", b'{"text": "a"}\nplain\n').what
    )


def test_digest_of_texts_follows_every_column():
    rows = Texts(texts=("a", "b"), pairs=("c", "d"), ids=("1", "2"))
    others = [
        Texts(texts=("a", "x"), pairs=("c", "d"), ids=("1", "2")),
        Texts(texts=("a", "b"), pairs=("c", "x"), ids=("1", "2")),
        Texts(texts=("a", "b"), pairs=("c", "d"), ids=("1", "x")),
        Texts(texts=("a", "b"), pairs=("c", "d")),
        Texts(texts=("a", "b"), ids=("1", "2")),
        Texts(texts=("a", "b")),
        Texts(texts=("b", "a")),
    ]
    assert len({texts.digest() for texts in (rows, *others)}) == 8
    assert rows.digest() == Texts(texts=("a", "b"), pairs=("c", "d"), ids=("1", "2")).digest()


def test_part_keeps_every_column_of_its_rows():
    rows = Texts(texts=("a", "b", "c"), pairs=("d", "e", "f"), ids=("x", "y", "z")).part(1, 3)
    assert (rows.texts, rows.pairs, rows.ids, len(rows)) == (("b", "c"), ("e", "f"), ("y", "z"), 2)


def test_equal_parts_of_different_places_differ():
    rows = Texts(texts=("a", "a"))
    assert rows.part(0, 1).digest() != rows.part(1, 2).digest()


def test_missing_column_error_names_the_corpus_settings(tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text("body,number\na text,1\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_corpus(CorpusConfig(path=str(path), column="bodi", id_column="number"), io.BytesIO())
    assert "corpus.column=NAME" in caught.value.fix and "task." not in str(caught.value)


@pytest.mark.parametrize("form", ["txt", "csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize(("rows", "sizes"), [(1, [1]), (2, [2]), (5, [2, 2, 1])])
def test_shards_lose_no_row(tmp_path: Path, form: str, rows: int, sizes: list[int]):
    texts = [f"text {row}" for row in range(rows)]
    path = tmp_path / f"corpus.{form}"
    match form:
        case "txt":
            path.write_text("\n".join(texts), encoding="utf-8")
        case "jsonl":
            path.write_text("\n".join(f'{{"text": "{text}"}}' for text in texts), encoding="utf-8")
        case "parquet":
            parquet.write_table(pa.table({"text": texts}), path, row_group_size=3)
        case _:
            path.write_text("\n".join(["text", *texts]), encoding="utf-8")
    with open_corpus(CorpusConfig(path=str(path), shard_rows=2), io.BytesIO()) as corpus:
        shards = list(corpus.shards())
        assert [len(shard) for shard in shards] == sizes and corpus.rows == rows
        assert [text for shard in shards for text in shard.texts] == texts
        assert [shard.first_row for shard in shards] == [0, 2, 4][: len(sizes)]
        assert (
            tuple(shard.digest() for shard in shards)
            == corpus.digests
            == tuple(shard.digest() for shard in corpus.shards())
        )


@pytest.mark.parametrize(
    "change", ["a changed\nb\nc\n", "a\nb\n", "a\nb\nc\nd\n"], ids=["changed", "shorter", "longer"]
)
def test_corpus_that_changes_between_two_readings_is_refused(tmp_path: Path, change: str):
    path = tmp_path / "corpus.txt"
    path.write_text("a\nb\nc\n", encoding="utf-8")
    with open_corpus(CorpusConfig(path=str(path), shard_rows=2), io.BytesIO()) as corpus:
        path.write_text(change, encoding="utf-8")
        with pytest.raises(DataError, match="changed while it was read"):
            list(corpus.shards())


def test_faults_of_several_kinds_are_reported_together(tmp_path: Path):
    path = tmp_path / "corpus.jsonl"
    path.write_text(
        '{"text": 3, "id": 1}\n{"text": " ", "id": 2}\nplain\n{"text": "a"}\n', encoding="utf-8"
    )
    with pytest.raises(Faults) as caught:
        read_corpus(CorpusConfig(path=str(path), id_column="id"), io.BytesIO())
    assert [fault.what.split(": ", 1)[1] for fault in caught.value.faults] == [
        "1 row without text in column 'text': row 1 3",
        "1 row empty or only spaces: row 2 ' '",
        "1 row not a JSON object: row 3 'plain'",
        "1 row without an id in column 'id': row 4",
    ]


def test_reading_stops_at_very_many_faulty_rows(tmp_path: Path):
    path = tmp_path / "corpus.txt"
    path.write_text(" \n" * (2 * ENOUGH), encoding="utf-8")
    with pytest.raises(
        DataError,
        match=(
            rf"{ENOUGH} rows empty or only spaces \(reading stopped at {ENOUGH} faulty rows\): row "
            r"1 ' '"
        ),
    ):
        read_corpus(CorpusConfig(path=str(path)), io.BytesIO())


def test_rows_of_another_number_of_fields_are_refused(tmp_path: Path):
    error = refused(tmp_path, "corpus.csv", b"text,id\na,1\nb, c,2\nd,3\n")
    assert (
        "1 row with another number of fields than the header's 2: row 2 '3 fields: b, c,2'"
        in error.what
    )


def test_open_quotation_mark_is_refused_by_its_row(tmp_path: Path):
    assert (
        "row 2 opens a quotation mark that is never closed"
        in refused(tmp_path, "corpus.csv", b'text,id\na,1\n"b,2\nc,3\n').what
    )


def test_text_after_a_closing_quotation_mark_is_refused_as_in_a_task(tmp_path: Path):
    error = refused(tmp_path, "corpus.csv", b'text,id\na,1\n"the \\"best\\" food",2\n')
    assert "row 2 continues after the closing quotation mark of a field" in error.what


def test_parquet_texts_that_are_not_utf8_are_named_by_row(tmp_path: Path):
    raw = pa.array([b"a", b"t\xe9", b"b"], pa.binary())
    text = pa.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2])
    path = tmp_path / "corpus.parquet"
    parquet.write_table(pa.table({"text": text}), path)
    with pytest.raises(DataError, match="1 row not UTF-8: row 2"):
        read_corpus(CorpusConfig(path=str(path)), io.BytesIO())


def test_quotation_mark_is_a_character_of_a_tsv_file(tmp_path: Path):
    assert read(tmp_path, "corpus.tsv", b'text\tid\n"a\t1\nb "c"\t2\n').texts == ('"a', 'b "c"')


def test_field_in_quotes_may_hold_line_breaks(tmp_path: Path):
    assert read(tmp_path, "corpus.csv", b'text,id\n"a\nb",1\n').texts == ("a\nb",)


@pytest.mark.parametrize("setting", ["column_pair", "id_column"])
@pytest.mark.parametrize("path", ["corpus.txt", "-"])
def test_columns_of_lines_are_refused(tmp_path: Path, setting: str, path: str):
    (tmp_path / "corpus.txt").write_text("a text", encoding="utf-8")
    config = CorpusConfig(path=path if path == "-" else str(tmp_path / path), **{setting: "other"})
    with pytest.raises(
        DataError, match=rf"corpus\.{setting}=other, but .* holds one text in each line"
    ):
        read_corpus(config, io.BytesIO(b"a text"))


def test_half_of_a_surrogate_pair_is_refused_by_its_row(tmp_path: Path):
    error = refused(
        tmp_path,
        "corpus.jsonl",
        b'{"text": "\\u00e9"}\n{"text": "\\ud83d"}\n{"text": "\\ud83d\\ude00"}\n',
    )
    assert "1 row with half of a surrogate pair: row 2" in error.what


def test_single_blank_row_of_a_table_is_a_blank_row(tmp_path: Path):
    assert (
        "1 row empty or only spaces: row 1" in refused(tmp_path, "corpus.csv", b'text\n""\n').what
    )


@pytest.mark.parametrize("order", [[3, 4, 5], [0, 2, 5], [5, 1, 1, 4, 0]])
@pytest.mark.parametrize("form", ["txt", "csv", "jsonl", "parquet"])
def test_shard_is_the_same_whatever_was_read_before_it(tmp_path: Path, form: str, order: list[int]):
    texts = [f"text {number}" for number in range(11)]
    path = tmp_path / f"corpus.{form}"
    if form == "parquet":
        parquet.write_table(pa.table({"text": texts}), path, row_group_size=3)
    else:
        lines = (
            [f'{{"text": "{text}"}}' for text in texts]
            if form == "jsonl"
            else [*(["text"] if form == "csv" else []), *texts]
        )
        path.write_text("\n".join(lines), encoding="utf-8")
    config = CorpusConfig(path=str(path), shard_rows=2)
    with open_corpus(config, io.BytesIO()) as corpus:
        whole = list(corpus.shards())
        read_shard = shards_of(config)
        assert [read_shard(number, corpus.digests[number]) for number in order] == [
            whole[number] for number in order
        ]


def test_row_groups_before_a_shard_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "corpus.parquet"
    parquet.write_table(
        pa.table({"text": [f"text {number}" for number in range(12)]}), path, row_group_size=3
    )
    config = CorpusConfig(path=str(path), shard_rows=2)
    with open_corpus(config, io.BytesIO()) as corpus:
        digest = corpus.digests[4]
    asked: list[list[int]] = []
    read_pieces = parquet.ParquetFile.iter_batches

    def note(self: Any, **options: Any) -> Any:
        asked.append(options["row_groups"])
        return read_pieces(self, **options)

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", note)
    assert shards_of(config)(4, digest).texts == ("text 8", "text 9") and asked == [[2, 3]]


EMPTY_TEXTS = ("a", "", "b", " \t", "c", "d", "")
"""Rows of a corpus, of which three are without text."""


def write_rows(folder: Path, form: str, texts: Sequence[str | None], **columns: list) -> str:
    path = folder / f"corpus.{form}"
    rows = [
        {"text": text, **{name: values[row] for name, values in columns.items()}}
        for row, text in enumerate(texts)
    ]
    match form:
        case "txt":
            path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        case "jsonl":
            path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        case _:
            parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)
    return str(path)


@pytest.mark.parametrize("form", ["txt", "jsonl", "parquet"])
@pytest.mark.parametrize("shard_rows", [1, 2, 3, 10])
def test_dropped_rows_leave_the_others_their_numbers(tmp_path: Path, form: str, shard_rows: int):
    path = write_rows(tmp_path, form, EMPTY_TEXTS)
    config = CorpusConfig(path=path, shard_rows=shard_rows, empty="drop")
    with open_corpus(config, io.BytesIO()) as corpus:
        shards = list(corpus.shards())
        assert [len(shard) for shard in shards] == [
            corpus.rows_of(number) for number in range(len(shards))
        ]
        pairs = [
            (int(number), text)
            for shard in shards
            for number, text in zip(shard.numbers, shard.texts, strict=True)
        ]
        assert pairs == [(0, "a"), (2, "b"), (4, "c"), (5, "d")]
        assert (corpus.rows, corpus.empty_rows) == (4, 3)
        assert corpus.notes == ("3 rows without text left out of 7",)
        again = shards_of(config)  # as another process reads a shard from the middle
        assert again(len(shards) - 1, corpus.digests[-1]) == shards[-1]
        assert again(0, corpus.digests[0]) == shards[0]


def test_dropped_rows_leave_the_others_their_ids(tmp_path: Path):
    ids = list("tuvwxyz")
    path = write_rows(tmp_path, "jsonl", (*EMPTY_TEXTS[:6], None), id=ids)
    rows = read_corpus(CorpusConfig(path=path, id_column="id", empty="drop"), io.BytesIO())
    assert (rows.texts, rows.ids) == (("a", "b", "c", "d"), ("t", "v", "x", "y"))


def test_corpus_without_empty_rows_is_the_same_whatever_is_done_with_them(tmp_path: Path):
    path = write_rows(tmp_path, "txt", "abc")
    digests = set()
    for empty in ("error", "drop", "zero"):
        with open_corpus(CorpusConfig(path=path, empty=empty), io.BytesIO()) as corpus:
            digests.add(corpus.digests)
            assert corpus.notes == ()
    assert len(digests) == 1


def test_empty_rows_stay_where_they_get_zero_vectors(tmp_path: Path):
    path = write_rows(tmp_path, "jsonl", ("a", None, " "))
    with open_corpus(CorpusConfig(path=path, empty="zero"), io.BytesIO()) as corpus:
        (rows,) = corpus.shards()
        assert (rows.texts, rows.empty().tolist()) == (("a", "", " "), [False, True, True])
        assert corpus.notes == ("2 of 3 rows without text get zero vectors",)


def test_row_of_a_pair_is_empty_if_one_text_is(tmp_path: Path):
    path = write_rows(tmp_path, "jsonl", ("a", "b", ""), other=["c", None, "d"])
    config = CorpusConfig(path=path, column_pair="other", empty="drop")
    rows = read_corpus(config, io.BytesIO())
    assert (rows.texts, rows.pairs, rows.numbers.tolist()) == (("a",), ("c",), [0])


@pytest.mark.parametrize("empty", ["drop", "zero"])
def test_value_that_is_no_text_is_refused_all_the_same(tmp_path: Path, empty: str):
    path = write_rows(tmp_path, "jsonl", ("a", "", 3))
    with pytest.raises(DataError, match="1 row without text in column 'text': row 3 3"):
        read_corpus(CorpusConfig(path=path, empty=empty), io.BytesIO())


def test_corpus_of_nothing_but_dropped_rows_is_refused(tmp_path: Path):
    path = write_rows(tmp_path, "txt", ("", " "))
    with pytest.raises(DataError, match="no row with a text: 2 are empty"):
        read_corpus(CorpusConfig(path=path, empty="drop"), io.BytesIO())


def test_error_for_empty_rows_says_how_to_drop_them(tmp_path: Path):
    fault = refused(tmp_path, "corpus.txt", b"a\n\nb\n")
    assert "1 row empty or only spaces: row 2" in fault.what and "corpus.empty=drop" in fault.fix


@pytest.mark.parametrize(("ids", "repeated"), [(["x", "y", "z"], 0), (["x", "x", "x"], 2)])
def test_rows_with_the_id_of_an_earlier_row_are_counted(tmp_path: Path, ids: list, repeated: int):
    path = write_rows(tmp_path, "jsonl", "abc", id=ids)
    with open_corpus(CorpusConfig(path=path, id_column="id"), io.BytesIO()) as corpus:
        note = f"{repeated} of 3 rows have the id of an earlier row"
        assert corpus.notes == ((note,) if repeated else ())


def test_id_of_a_dropped_row_is_free(tmp_path: Path):
    path = write_rows(tmp_path, "jsonl", ("a", "", "b"), id=["x", "y", "y"])
    config = CorpusConfig(path=path, id_column="id", empty="drop")
    with open_corpus(config, io.BytesIO()) as corpus:
        assert corpus.repeated_ids == 0


@pytest.mark.parametrize("empty", ["error", "drop"])
def test_row_of_another_width_is_named_for_what_it_is(tmp_path: Path, empty: str):
    with pytest.raises(DataError, match="1 row with another number of fields.*: row 2"):
        read(tmp_path, "t.csv", b"text\na\nb,c\nd\n", empty=empty)


def test_missing_column_is_named_however_many_rows_lack_it(tmp_path: Path):
    lines = b'{"body": "a"}\n' * (ENOUGH + 1)
    with pytest.raises(DataError, match="no column 'text'"):
        read(tmp_path, "t.jsonl", lines)


def test_value_that_is_no_text_is_not_to_be_dropped(tmp_path: Path):
    with pytest.raises(DataError) as caught:
        read(tmp_path, "t.jsonl", b'{"text": "a"}\n{"text": 5}\n', empty="drop")
    assert "corpus.empty" not in caught.value.fix
