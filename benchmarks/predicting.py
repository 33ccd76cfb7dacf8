"""Eight predictions for each text: from one pass, and as people do it today.

Run: make bench    or: python -m benchmarks.predicting

In every round each method predicts eight tasks for the same texts, tokenisation included:

* `predict`: a bank of eight prefixes and eight probes, one pass;
* `embed`: the bank's vectors alone, to which `predict` is compared;
* `shared`: an encoder of sentence-transformers once, and eight logistic regressions on its vectors;
* `pipelines`: eight pipelines of an encoder of sentence-transformers and a logistic regression, as
  they are saved for each task;
* `encoders`: eight encoders, each fine-tuned for one task, as this package runs one.

What is learned does not matter here, so labels are random.
"""

from __future__ import annotations

import argparse
from tempfile import TemporaryDirectory

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sklearn.linear_model import LogisticRegression

import prefixbank as pb
from benchmarks.measure import mixed_texts, ratio, save
from prefixbank.artifacts.bank import plain_bank
from prefixbank.commands.invocation import Invocation
from prefixbank.config.running import RunConfig
from prefixbank.config.schema import EmbedRecipe, EncoderConfig, PoolingConfig
from prefixbank.core.timing import in_turns
from prefixbank.data.corpus.texts import Texts
from prefixbank.steps.embed.rows import embed_rows

HEADS, TRAIN_ROWS, PEER_BATCH = 8, 200, 32
RIVALS = ("shared", "pipelines", "encoders")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    texts, rows = mixed_texts(asked.texts, seed=1), mixed_texts(TRAIN_ROWS)
    rng = np.random.default_rng(0)
    labels = {f"head{number}": rng.integers(0, 2, len(rows)) for number in range(HEADS)}
    with TemporaryDirectory() as store:
        tasks = {
            name: pb.Task.from_rows(rows, list(map(int, of_head)), name=name)
            for name, of_head in labels.items()
        }
        recipe = pb.PrefixRecipe(optim=pb.OptimConfig(epochs=0))
        prefixes = [pb.train_prefix(one, recipe=recipe, store=store) for one in tasks.values()]
        made = pb.combine(prefixes, name="bench", store=store)
        for name, task in tasks.items():
            pb.probe(made, task, name=name, store=store)
        bank = pb.load_bank(made, store=store)
        context = Invocation(store=store).context(RunConfig())
        files = context.encoder_files(EncoderConfig())
        peer = SentenceTransformer(str(files.folder), device="cpu")
        peer.max_seq_length = EmbedRecipe().max_length_tokens
        vectors = peer.encode(rows, show_progress_bar=False)
        fitted = [LogisticRegression(max_iter=1000).fit(vectors, one) for one in labels.values()]
        plain, corpus = plain_bank(PoolingConfig()), Texts(texts=tuple(texts))

        def shared() -> None:
            encoded = peer.encode(texts, batch_size=PEER_BATCH, show_progress_bar=False)
            for model in fitted:
                model.predict_proba(encoded)

        def pipelines() -> None:
            for model in fitted:
                encoded = peer.encode(texts, batch_size=PEER_BATCH, show_progress_bar=False)
                model.predict_proba(encoded)

        def encoders() -> None:
            for _ in range(HEADS):
                embed_rows(context, plain, files, corpus, EmbedRecipe())

        seconds = in_turns(
            {
                "embed": lambda: bank.embed(texts),
                "predict": lambda: bank.predict(texts, heads=list(labels)),
                "shared": shared,
                "pipelines": pipelines,
                "encoders": encoders,
            },
            asked.rounds,
        )
    save(
        "predicting",
        {
            "encoder": files.label,
            "texts": len(texts),
            "heads": HEADS,
            "threads": torch.get_num_threads(),
            "rounds": asked.rounds,
            "seconds": seconds,
            "times the time of embed": {
                name: ratio(seconds, "embed", name) for name in ("predict", *RIVALS)
            },
            "times the time of predict": {name: ratio(seconds, "predict", name) for name in RIVALS},
        },
    )


if __name__ == "__main__":
    main()
