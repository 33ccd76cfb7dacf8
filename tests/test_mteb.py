"""An export of sentence-transformers in mteb, on a task that is made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, DatasetDict
from sentence_transformers import SentenceTransformer
from sklearn.linear_model import LogisticRegression

import prefixbank as pb
from prefixbank.sentence_transformers import BankModule
from tests.cli.command import CommandLine

# pytest finds fixtures by name.
from tests.fixtures import merge_once, prepared, quick_flush, shared_settings  # noqa: F401
from tests.prepared import Prepared, copy_store, rows_of

mteb = pytest.importorskip("mteb")
TRAIN, TEST = (rows_of("gamma", split) for split in ("train", "test"))


class Ratings(mteb.abstasks.AbsTaskClassification):
    """Good or bad. All train rows of each class are drawn: the score has no chance in it."""

    metadata = mteb.TaskMetadata(
        name="Ratings",
        description="Whether a sentence says something good.",
        type="Classification",
        dataset={"path": "made/here", "revision": "1"},
        eval_langs=["eng-Latn"],
        main_score="accuracy",
    )
    samples_per_label = 20
    n_experiments = 1

    def load_data(self, num_proc: int | None = None, **options: Any) -> None:
        """Put the rows in the form of a dataset from the hub."""
        self.dataset = DatasetDict(
            {"train": Dataset.from_dict(TRAIN), "test": Dataset.from_dict(TEST)}
        )
        self.data_loaded = True


@pytest.fixture
def folder(prepared: Prepared, user_store: Path, tmp_path: Path) -> Path:  # noqa: F811
    cli = CommandLine(store=copy_store(prepared.store, user_store), tasks=prepared.tasks)
    cli.done(
        "export", "bank=demo", "format=sentence_transformers", "--out", str(tmp_path / "model")
    )
    return tmp_path / "model"


@pytest.mark.slow  # the import of mteb alone takes seconds
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of mteb
def test_mteb_scores_an_export_as_scikit_learn_scores_the_banks_vectors(folder: Path):
    model = SentenceTransformer(modules=[BankModule.load(str(folder))], device="cpu")
    result = mteb.evaluate(model, Ratings(), cache=None, show_progress_bar=False)
    found = result.task_results[0].scores["test"][0]["accuracy"]
    bank = pb.load_bank("demo")
    classifier = LogisticRegression(max_iter=100)
    classifier.fit(bank.embed(TRAIN["text"]), np.array(TRAIN["label"]))
    expected = classifier.score(bank.embed(TEST["text"]), np.array(TEST["label"]))
    assert found == pytest.approx(expected, abs=1 / len(TEST["label"]))
    assert found > 0.5
