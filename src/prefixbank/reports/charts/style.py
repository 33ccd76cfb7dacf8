"""What all charts of a report share.

Sizes are in inches, colours differ in grey as well, and the bytes depend on the numbers only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

FONT_POINTS = 9
INCHES_PER_LETTER = 0.08
"""Of a label: a wide letter of DejaVu Sans at 9 points, rounded up."""
LABEL_LETTERS = 26
"""Longer labels are wrapped."""
INCHES_PER_TITLE_LETTER = 0.1
PAD_INCHES = 0.07
"""Between panels, and around the chart."""
PANELS_WIDE = 3

DARK, ACCENT, PALE = "#0b4f7d", "#e69f00", "#f0f0f0"
"""Dark blue, orange and a pale grey. Colour-blind readers can tell them apart, and they differ in
grey (luminance about .3, .7 and .95)."""


@contextmanager
def styled() -> Iterator[None]:
    """Draw with our settings, whatever the user's matplotlib is set to."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"font.size": FONT_POINTS, "axes.titlesize": FONT_POINTS + 1})
        matplotlib.rcParams.update(
            {
                "figure.constrained_layout.w_pad": PAD_INCHES,
                "figure.constrained_layout.h_pad": PAD_INCHES,
            }
        )
        yield


def save(figure: Figure, path: Path) -> None:
    """Write a PNG without the name of the software that made it."""
    FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})


def wrap_label(text: str, letters: int = LABEL_LETTERS) -> str:
    """Break a label into lines of at most `letters`, after blanks, `_`, `-` and `/`.

    A longer word stays whole.
    """
    lines = [""]
    for part in re.findall(r"[^ _/-]*[ _/-]|[^ _/-]+", text):
        if lines[-1] and len(lines[-1]) + len(part.rstrip()) > letters:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)


def put_title(figure: Figure, text: str) -> None:
    """Put a title on a chart, on as many lines as the chart's width needs."""
    figure.suptitle(
        wrap_label(text, int(figure.get_figwidth() / INCHES_PER_TITLE_LETTER)), fontsize="large"
    )


def width_of(labels: Sequence[str]) -> float:
    """Return an upper bound, in inches, of the width of the longest line of labels."""
    return INCHES_PER_LETTER * max(
        (len(line) for label in labels for line in label.split("\n")), default=0
    )


def panels(count: int) -> tuple[int, int]:
    """Return (rows, columns) of a grid of panels."""
    wide = min(PANELS_WIDE, count)
    return -(-count // wide), wide
