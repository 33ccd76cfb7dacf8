"""`prefixbank search`: the rows of embeddings that are nearest to a text."""

from __future__ import annotations

from typing import Annotated

from prefixbank.cli import options as flag
from prefixbank.cli.console import Format, Steps, chosen_format, print_rows, reported

SEARCH = """Find the rows of embeddings that are nearest to texts, by cosine.

\b
Examples:
  echo 'The food was cold.' | prefixbank search embeddings=reviews@demo
  prefixbank search embeddings=reviews@demo queries.path=questions.txt k=3 corpus.path=reviews.txt
"""


def search(
    overrides: flag.Overrides = None,
    store: flag.StoreFlag = None,
    conf_dir: flag.ConfDir = None,
    quiet: flag.Quiet = False,
    form: Annotated[Format | None, flag.FORMAT] = None,
    debug: flag.Debug = False,
) -> None:
    """Print one row for each query and neighbour."""
    with reported(debug=debug), Steps(quiet=quiet) as steps:
        from prefixbank import api

        rows = api.search(*(overrides or ()), options=api.Options(store=store, conf_dir=conf_dir, emit=steps))
        print_rows(rows, chosen_format(form))
