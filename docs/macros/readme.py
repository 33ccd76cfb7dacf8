"""Write the results of README.md from the result files: python -m docs.macros.readme."""

from __future__ import annotations

from docs.macros.results import FOUR, LAST, headline
from docs.macros.tables import ROOT, read

README = ROOT / "README.md"
BEGIN, END = "<!-- results: python -m docs.macros.readme -->", "<!-- end of results -->"
LEVEL = ("multi-task encoder", "bank")
"""What the sentence says is level with the plain encoder."""


def results() -> str:
    """Return the table and what came out of it.

    Raises:
        ValueError: the result files no longer say what the sentence says.
    """
    for path in (LAST, FOUR):
        differences = read(path)["rows"]["mean"]["differences"]["plain encoder"]
        beside = read(path)["rows"]["mean"]["differences"][LEVEL[0]]
        cells = [*(differences[name] for name in LEVEL), beside[LEVEL[1]]]
        if any(cell["significant"] for cell in cells):
            raise ValueError(f"{path}: not level with the plain encoder any more; mend the words")
    shares = _update_shares()
    return f"""{headline()}

On this small encoder and these few rows a bank is level with multi-task training and with the plain
encoder: no difference among the three is significant. What it saves is the update: a ninth source
costs {shares["examples"]:.0%} of the examples and {shares["flops"]:.0%} of the operations of \
training the multi-task encoder again."""


def _update_shares() -> dict[str, float]:
    """Return what adding a source costs prefixes, as a share of multi-task training."""
    first, second = read("docs/results/update/report.json")["update"][:2]
    is_added = first["change"] == second["change"] and first["change"].startswith("add ")
    if not is_added or (first["method"], second["method"]) != ("prefixes", "multi-task"):
        raise ValueError("the report on updates does not begin with adding a source")
    return {name: first[name] / second[name] for name in ("examples", "flops")}


def written(text: str) -> str:
    """Return README.md's text with the results between the marks made anew."""
    before, _, rest = text.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"README.md lacks the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{results()}\n\n{END}{after}"


def main() -> None:
    """Write README.md."""
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
