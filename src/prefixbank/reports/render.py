"""Templates to text: a report as Markdown, and as one HTML page that needs no other file.

Both come from the same Markdown template. In Markdown, tables are plain and the charts are links at
the end, so that a terminal can show everything before them. In a page, tables can be sorted, and
the charts are part of the page, each in its section.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from prefixbank.reports.grid import MARK, Grid, markdown_table, number

_SOFT_BREAK = re.compile(r"(?<=[^\n|>])\n *(?=[^\s|#<!-]|-[^ ])")
"""A line break inside a paragraph or a list item, not beside a table, a heading or HTML."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A picture beside the report, and what it shows."""

    name: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A heading of a page, and the anchor to link to."""

    anchor: str
    title: str


def render_markdown(template: str, charts: Sequence[Chart], **values: object) -> str:
    """Return a report as Markdown, each paragraph on one line.

    Args:
        template: name of its file in `templates`.
        charts: to link at the end.
        values: that the template prints.
    """
    return _filled(_environment(page=False), template, figures={}, last_charts=charts, **values)


def render_page(
    template: str, charts: Sequence[Chart], pictures: Mapping[str, bytes], **values: object
) -> str:
    """Return a report as a page with everything inside: style, script and pictures.

    Args:
        template: name of its file in `templates`.
        charts: that the report has.
        pictures: name of each chart to its PNG.
        values: that the template prints.
    """
    environment = _environment(page=True)
    figure = environment.get_template("figure.html.j2")
    figures = {
        chart.name: Markup(
            figure.render(chart=chart, data=b64encode(pictures[chart.name]).decode("ascii"))
        )
        for chart in charts
    }
    text = _filled(environment, template, figures=figures, last_charts=(), **values)
    body, (title, *headings) = _html(text)
    page = environment.get_template("page.html.j2")
    # The template of the body has escaped every value already.
    return page.render(title=title.title, headings=headings, body=Markup(body))


def _html(text: str) -> tuple[str, list[Heading]]:
    """Return Markdown as HTML, and its headings, which get anchors."""
    parser = MarkdownIt("commonmark", {"html": True})
    tokens = parser.parse(text)
    headings = []
    for token, inline in zip(tokens, tokens[1:], strict=False):
        if token.type == "heading_open":
            title = "".join(part.content for part in inline.children or ())
            heading = Heading(anchor=re.sub(r"\W+", "-", title.lower()).strip("-"), title=title)
            token.attrSet("id", heading.anchor)
            headings.append(heading)
    return str(parser.renderer.render(tokens, parser.options, {})), headings


def _filled(environment: Environment, template: str, **values: object) -> str:
    """Return a filled template, without soft line breaks and gaps of several lines."""
    text = environment.get_template(template).render(values)
    return re.sub(r"\n{3,}", "\n\n", _SOFT_BREAK.sub(" ", text)).strip() + "\n"


@lru_cache(maxsize=2)
def _environment(*, page: bool) -> Environment:
    """Return where templates are, and what they can use; a page escapes every value."""
    environment = Environment(
        loader=PackageLoader("prefixbank.reports"),
        undefined=StrictUndefined,
        autoescape=page,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals.update(MARK=MARK)
    environment.filters.update(names=_names, number=number, table=markdown_table)
    if page:
        table = environment.get_template("table.html.j2")

        def html_table(grid: Grid) -> Markup:
            return Markup(table.render(grid=grid))

        environment.filters["table"] = html_table
    return environment


def _names(names: Iterable[object]) -> str:
    """Return `a, b, c`."""
    return ", ".join(map(str, names))
