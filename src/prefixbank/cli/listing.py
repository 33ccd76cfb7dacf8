"""Commands that print rows and make nothing to name: `search` and those of `transfer`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from prefixbank.cli import options as flag
from prefixbank.cli.console import Format, Steps, chosen_format, print_rows, reported

SEARCH = """Find the rows of embeddings that are nearest to texts, by cosine.

\b
Examples:
  echo 'The food was cold.' | prefixbank search embeddings=reviews@demo
  prefixbank search embeddings=reviews@demo queries.path=questions.txt k=3 corpus.path=reviews.txt
"""

SIMILAR = """Rank source prefixes by their similarity to a task, after a short run on it.

\b
Examples:
  prefixbank transfer similar task=emotion
  prefixbank transfer similar task=emotion 'sources=[polarity,topic]' similarity=per_token
"""


def listing(function: str) -> Callable[..., None]:
    """Return the command that prints the rows of `prefixbank.api.<function>`."""

    def command(
        overrides: flag.Overrides = None,
        store: flag.StoreFlag = None,
        conf_dir: flag.ConfDir = None,
        quiet: flag.Quiet = False,
        form: Annotated[Format | None, flag.FORMAT] = None,
        debug: flag.Debug = False,
    ) -> None:
        with reported(debug=debug), Steps(quiet=quiet) as steps:
            from prefixbank import api

            rows = getattr(api, function)(
                *(overrides or ()), options=api.Options(store=store, conf_dir=conf_dir, emit=steps)
            )
            print_rows(rows, chosen_format(form))

    return command
