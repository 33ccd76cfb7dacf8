"""A report as one page: nothing from elsewhere, all pictures, and the numbers of `report.json`."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

import pytest

from prefixbank.reports.cells import MEAN
from prefixbank.reports.make import write_report
from prefixbank.reports.text import page
from prefixbank.reports.transfer_map.make import write_map
from prefixbank.reports.transfer_map.retrieval import COLD
from tests.reports.studies import RIGHT, ROWS, made_once, update_study, whole_study
from tests.reports.transfer_map.maps import ROWS as MAP_ROWS
from tests.reports.transfer_map.maps import SOURCES, made_map

EMPTY = {"meta", "img", "link", "br", "hr", "input"}


@dataclass
class Table:
    """Text and exact number of each cell, the rows of the body and of the foot."""

    header: list[str] = field(default_factory=list)
    rows: list[list[tuple[str, float | None]]] = field(default_factory=list)

    def column(self, title: str) -> dict[str, float | None]:
        """First cell of a row to the number below a title."""
        index = self.header.index(title)
        return {row[0][0]: row[index][1] for row in self.rows}


class Page(HTMLParser):
    """What a page holds, and whether its tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.anchors: list[str] = []
        self.tables: dict[str, list[Table]] = {}
        self.texts: list[str] = []
        self._open: list[str] = []
        self._heading = ""
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.addresses += [given[name] for name in ("src", "href") if name in given]
        self.anchors += [given["id"]] if "id" in given else []
        if tag not in EMPTY:
            self._open.append(tag)
        if tag == "h2":
            self._heading = ""
        if tag == "table":
            self.tables.setdefault(self._heading, []).append(Table())
        if tag == "tr" and "thead" not in self._open:
            self._table.rows.append([])
        if tag == "td":
            value = given.get("data-value")
            self._table.rows[-1].append(("", None if value is None else float(value)))
        if tag == "th":
            self._table.header.append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        match self._open[-1:]:
            case ["h2"]:
                self._heading += data
            case ["th"]:
                self._table.header[-1] += data
            case ["td"]:
                text, value = self._table.rows[-1][-1]
                self._table.rows[-1][-1] = (text + data, value)

    @property
    def _table(self) -> Table:
        return self.tables[self._heading][-1]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The folder of a report with every part."""
    out = tmp_path_factory.mktemp("report")
    write_report(out, made_once(tmp_path_factory.mktemp("store"), whole_study, 100))
    return out


@pytest.fixture(scope="module")
def transfer_map(tmp_path_factory):
    """The folder of the report on a map with every part."""
    out = tmp_path_factory.mktemp("report")
    write_map(out, made_map(tmp_path_factory.mktemp("store"), bootstrap_samples=10))
    return out


def page_of(folder) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def numbers_of(folder):
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["study", "transfer_map"])
def test_page_asks_for_nothing_outside_itself(request, name):
    text = (request.getfixturevalue(name) / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    outside = [one for one in page.addresses if not one.startswith(("#", "data:image/png;base64,"))]
    assert not outside and "://" not in text and "@import" not in text and "url(" not in text
    assert "default-src 'none'" in text


@pytest.mark.parametrize("name", ["study", "transfer_map"])
def test_links_lead_to_headings(request, name):
    page = page_of(request.getfixturevalue(name))
    links = [one.removeprefix("#") for one in page.addresses if one.startswith("#")]
    assert links and set(links) <= set(page.anchors)
    assert len(page.anchors) == len(set(page.anchors))


@pytest.mark.parametrize("name", ["study", "transfer_map"])
def test_page_holds_the_bytes_of_every_chart(request, name):
    folder = request.getfixturevalue(name)
    held = [
        base64.b64decode(one.removeprefix("data:image/png;base64,"))
        for one in page_of(folder).addresses
        if one.startswith("data:")
    ]
    assert sorted(held) == sorted(path.read_bytes() for path in folder.glob("*.png"))


@pytest.mark.parametrize("name", ["study", "transfer_map"])
def test_page_has_the_tables_of_the_markdown(request, name):
    folder = request.getfixturevalue(name)
    lines = (folder / "report.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    tables = [table for tables in page_of(folder).tables.values() for table in tables]
    expected = [
        "| " + " | ".join(cells) + " |"
        for table in tables
        for cells in (table.header, *([text for text, _ in row] for row in table.rows))
    ]
    assert rows == expected


def test_scores_have_a_row_for_each_target_with_the_numbers_of_the_json(study):
    (table,) = page_of(study).tables["Scores on each target"]
    rows = numbers_of(study)["rows"]
    for column, title in zip(RIGHT, table.header[4:], strict=True):
        expected = {name: rows[name]["columns"][column]["value"] for name in (*ROWS, MEAN)}
        assert table.column(title) == expected
    assert table.column("test rows") == {**ROWS, MEAN: None}


def test_gains_have_a_row_for_each_source_with_the_numbers_of_the_json(transfer_map):
    (table,) = page_of(transfer_map).tables["Gains from each source"]
    gains = numbers_of(transfer_map)["gains"]
    for target in (*MAP_ROWS, MEAN):
        assert table.column(target) == {source: gains[source][target] for source in SOURCES}


def test_targets_of_a_map_have_the_numbers_of_the_json(transfer_map):
    (table,) = page_of(transfer_map).tables["Each target: held-out seeds"]
    targets = numbers_of(transfer_map)["regimes"]["held-out seeds"]["targets"]
    assert table.column(COLD) == {target: targets[target][COLD]["value"] for target in MAP_ROWS}


def test_names_are_escaped(study, tmp_path_factory):
    report = made_once(tmp_path_factory.mktemp("store"), whole_study, 100)
    name = "<script>alert('a & b')</script>"
    facts = {**report.column_facts, "bank": replace(report.column_facts["bank"], title=name)}
    text = page(replace(report, encoder=name, column_facts=facts), (), {})
    parsed = Page(text)
    (table,) = parsed.tables["Scores on each target"]
    assert text.count("<script>") == 1 and name in table.header
    assert f"Encoder {name}." in "".join(parsed.texts)


def test_page_has_only_sections_that_have_something(tmp_path, tmp_path_factory):
    write_report(tmp_path, made_once(tmp_path_factory.mktemp("store"), update_study, 10))
    assert list(page_of(tmp_path).tables) == ["What a change of the sources costs"]
