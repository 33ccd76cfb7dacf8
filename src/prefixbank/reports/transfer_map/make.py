"""The files of the report on a transfer map: `report.json`, `report.md` and its charts."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from prefixbank.artifacts.json_files import write_json
from prefixbank.reports.charts.clusters import similarity_chart
from prefixbank.reports.charts.heatmap import signed_map
from prefixbank.reports.charts.scatter import scatter_chart
from prefixbank.reports.charts.style import save, styled
from prefixbank.reports.text import MEAN
from prefixbank.reports.transfer_map.text import markdown
from prefixbank.store.key import JSON

CHARTS = (
    ("gains.png", "What starting from each source's prefix brings to each target"),
    ("similarity.png", "Similarity of all tasks, clustered"),
    ("scatter.png", "Similarity and gain of the sources of each target"),
)


def write_map(out: Path, table: JSON) -> None:
    """Write the files; the same table gives the same bytes."""
    write_json(out / "report.json", table)
    (out / "report.md").write_text(markdown(table, CHARTS), encoding="utf-8")
    with styled():
        for (name, _), draw in zip(
            CHARTS, (gains_chart, similarity_chart, scatter_chart), strict=True
        ):
            save(draw(table), out / name)


def gains_chart(table: JSON) -> Figure:
    """Return the map of gains, sources by targets and their mean."""
    targets = [*table["targets"], MEAN]
    values = [[by_target[target] for target in targets] for by_target in table["gains"].values()]
    return signed_map(
        f"{table['experiment']}: score from a source's prefix minus cold start",
        list(table["gains"]),
        targets,
        values,
    )
