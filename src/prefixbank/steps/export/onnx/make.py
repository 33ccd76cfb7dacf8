"""Make the artifact of step `export-onnx`: trace, translate, and compare with prefixbank itself."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.export import Dim

from prefixbank.artifacts.fitted_probe import describe_rule
from prefixbank.artifacts.onnx import MODEL, VECTOR
from prefixbank.core.embed import embed_batches
from prefixbank.core.predictor import LinearHead, Predictor
from prefixbank.core.probe.calibration import Temperature
from prefixbank.core.probe.decision import DecisionRule
from prefixbank.data.encoders.batches import budget_batches
from prefixbank.data.encoders.encoder import CHECK_TEXTS, Encoder
from prefixbank.errors import EncoderError, UsageError
from prefixbank.runtime.session import Session
from prefixbank.steps.embed.make import bank_of, layout_for
from prefixbank.steps.embed.rows import kind_of
from prefixbank.steps.embed.spec import EmbeddingSpec
from prefixbank.steps.predict.heads import Head
from prefixbank.steps.predict.loaded_head import LoadedHead, load_head
from prefixbank.store.key import JSON

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
AXES = ("batch", "tokens")
TOLERANCE = 1e-4
"""Greatest difference from prefixbank's own numbers."""
TRIED = (("a",), ("a", *CHECK_TEXTS), tuple(f"{text}, {text}" for text in CHECK_TEXTS))
"""Batches on which both are compared, of other sizes and lengths than the traced one."""
Run = Callable[[Mapping[str, Tensor]], list[np.ndarray]]
"""Takes inputs [B, T], and returns all outputs [B, C]."""


def write_model(
    session: Session, specs: Sequence[EmbeddingSpec], heads: Sequence[Head], out: Path
) -> tuple[JSON, dict[str, float]]:
    """Write model and tokenizer, and return what describes them, and how close the model is.

    That is the largest difference of each output from prefixbank's own on a few texts, relative to
    the largest number if that is above 1.

    Args:
        session: loads the encoder, on the CPU.
        specs: how texts are embedded, one for each block of the bank.
        heads: what predicts; they count `specs`.
        out: the artifact's folder.

    Raises:
        UsageError: the extra `onnx` is not installed.
        EncoderError: the encoder cannot be traced, or the file computes something else.
    """
    check_installed()
    ours = _Ours(replace(session, run=replace(session.run, device="cpu")), specs, heads)
    inputs = ours.inputs(CHECK_TEXTS)
    predictor = Predictor(ours.encoder.model, ours.bank, ours.linear_heads(), list(inputs))
    label = specs[0].files.label
    translate(predictor, inputs, list(ours.outputs), out / MODEL, label)
    ours.encoder.write_tokenizer(out, ours.limit)
    differences = ours.differences(_runtime(out / MODEL))
    check(differences, label)
    described = {
        "max_length_tokens": ours.limit,
        "inputs": {name: list(AXES) for name in inputs},
        "outputs": {name: [AXES[0], width] for name, width in ours.outputs.items()},
        "heads": [
            {
                "name": head.name,
                "kind": head.rule.kind,
                "labels": list(head.labels),
                **describe_rule(head.rule, head.labels),
            }
            for head in ours.heads
        ],
    }
    return described, differences


def check_installed() -> None:
    """Refuse to begin without the packages of the extra `onnx`."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"format=onnx needs {', '.join(missing)}, which "
            f"{'is' if len(missing) == 1 else 'are'} not installed",
            expected="the extra 'onnx'",
            fix="pip install 'prefixbank[onnx]'",
        )


class _Ours:
    """A bank with heads as prefixbank computes it, to be exported and to compare with.

    Args:
        session: loads the encoder.
        specs: how texts are embedded.
        heads: what predicts.
    """

    def __init__(
        self, session: Session, specs: Sequence[EmbeddingSpec], heads: Sequence[Head]
    ) -> None:
        self.limit, self.bank = specs[0].recipe.max_length_tokens, bank_of(specs)
        self.encoder = session.load(specs[0].files, kind=kind_of(self.bank))
        self.encoder.check_length(self.limit)
        self.heads = [load_head(head) for head in heads]
        self.sizes = [block.shape[1] for block in self.blocks(CHECK_TEXTS)]
        self.layouts = [
            layout_for(session, spec, size) for spec, size in zip(specs, self.sizes, strict=True)
        ]

    @property
    def outputs(self) -> dict[str, int]:
        """Names of all outputs, and their numbers of columns."""
        return {
            VECTOR: sum(self.sizes),
            **{head.name: len(head.labels) or 1 for head in self.heads},
        }

    def inputs(self, texts: Sequence[str]) -> Mapping[str, Tensor]:
        """Return the model's inputs [B, T] of texts."""
        return inputs_of(self.encoder, texts, self.limit)

    def blocks(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the vectors of each block, float32 [N, F]."""
        tokens = self.encoder.tokenize(texts, None, self.limit)
        batches = budget_batches(tokens, budget_tokens=tokens.total)
        return embed_batches(
            self.encoder.model, batches, self.bank, count=len(texts), precision="fp32"
        )

    def linear_heads(self) -> list[LinearHead]:
        """Return the heads with the columns of the whole vector that they read.

        These are what a head takes from vectors that hold the numbers of their columns.
        """
        numbers = np.split(np.arange(sum(self.sizes))[None], np.cumsum(self.sizes)[:-1], axis=1)
        return [
            LinearHead(
                kind=head.rule.kind,
                columns=head.take(numbers, self.layouts)[0],
                solution=head.solution,
                mean=head.mean,
                scale=head.scale,
                temperature=_temperature(head.rule),
            )
            for head in self.heads
        ]

    def differences(self, run: Run) -> dict[str, float]:
        """Return the largest difference of each output of another runtime."""
        worst = dict.fromkeys(self.outputs, 0.0)
        for texts in TRIED:
            blocks = self.blocks(texts)
            said = [_said(head, head.decide(blocks, self.layouts)) for head in self.heads]
            ours = [np.concatenate(blocks, axis=1), *said]
            for name, one, other in zip(worst, ours, run(self.inputs(texts)), strict=True):
                drift = np.abs(other - one).max() / max(1.0, np.abs(one).max())
                worst[name] = float(np.maximum(worst[name], drift))  # keeps NaN
        return worst


def inputs_of(encoder: Encoder, texts: Sequence[str], limit: int) -> Mapping[str, Tensor]:
    """Return the model's inputs [B, T] of texts."""
    return encoder.tokenize(texts, None, limit).batch(np.arange(len(texts))).inputs


def _temperature(rule: DecisionRule) -> np.ndarray | None:
    """Return the temperatures of a head; the other calibration is refused before."""
    calibration = rule.calibration
    return calibration.temperature if isinstance(calibration, Temperature) else None


def _said(head: LoadedHead, decision: np.ndarray) -> np.ndarray:
    """Return probabilities [N, C], or values [N, 1] of a regression."""
    return decision if head.rule.kind == "regression" else head.rule.probabilities(decision)


def translate(
    predictor: Predictor,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    path: Path,
    label: str,
) -> None:
    """Trace a module, and write it as ONNX."""
    shapes = (tuple(dict(enumerate(AXES)) for _ in inputs),)
    dynamic = (tuple(dict.fromkeys(range(len(AXES)), Dim.DYNAMIC) for _ in inputs),)
    try:
        with torch.no_grad(), _quiet():
            traced = torch.export.export(
                predictor.eval(), tuple(inputs.values()), dynamic_shapes=dynamic, strict=False
            )
            program = torch.onnx.export(
                traced,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=shapes,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # torch raises errors of many kinds for what it cannot trace
        reason = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise EncoderError(
            f"{label} cannot be exported to ONNX: {reason}",
            expected="an encoder that torch.export can trace with batches of any size",
            fix="format=bundle    or another encoder",
        ) from error
    if program is None:
        raise ValueError("torch.onnx.export returned no program")
    # Where a node came from in which file of this machine is nobody else's business.
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
    program.save(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop what torch warns of its own code while it exports."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _runtime(path: Path) -> Run:
    """Return a function that runs an ONNX file on inputs [B, T] and returns all of its outputs."""
    from onnxruntime import InferenceSession

    session = InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(inputs: Mapping[str, Tensor]) -> list[np.ndarray]:
        found: list[np.ndarray] = session.run(
            None, {name: tensor.numpy() for name, tensor in inputs.items()}
        )
        return found

    return run


def check(differences: Mapping[str, float], label: str) -> None:
    """Refuse a file that does not compute what prefixbank computes."""
    # A comparison with NaN is false.
    wrong = {name: one for name, one in differences.items() if not one <= TOLERANCE}
    for name, difference in wrong.items():
        raise EncoderError(
            f"the ONNX file of {label} differs from prefixbank by {difference:.1e} in {name}",
            expected=f"at most {TOLERANCE:.0e}",
            fix="format=bundle    or another encoder",
        )
