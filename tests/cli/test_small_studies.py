"""Studies with all their parts, at a size for every run of the tests.

The same studies on the starter suite are slow tests.
"""

from __future__ import annotations

from pathlib import Path

from tests.prepared import SMALL

STUDY = (
    "experiment=transfer_smoke",
    "experiment.sources=[alpha,beta]",
    "experiment.targets=[gamma]",
    "finetune.batch_size=20",
    "probe.Cs=[1]",
    "probe.folds=2",
    "probe.bootstrap_samples=50",
    *SMALL,
)


def test_transfer_study_makes_every_part(cli):
    result = cli.done("run", *STUDY, f"run.data_root={cli.tasks}").result
    assert {path.name for path in Path(result["path"]).iterdir()} == {
        "classes.csv",
        "report.html",
        "report.json",
        "report.md",
        "report.png",
        "heatmap.png",
        "curves.png",
        "entry.json",
    }
    assert result["targets"] == ["gamma"] and len(result["columns"]) == 10
