"""Make the artifact of step `export-onnx`.

Trace, translate, perhaps quantise, and compare with prefixbank itself.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor
from torch.export import Dim

from prefixbank.artifacts.fitted_probe import describe_rule
from prefixbank.artifacts.onnx import MODEL, VECTOR
from prefixbank.choices import OnnxPrecision
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
"""Greatest difference of a file of float32 from prefixbank's own numbers."""
LEAST_COSINE = 0.9
"""Least centred cosine of an int8 file. Measured: 0.95 to 0.98 with the bundled encoder, 0.4 with
SmolLM2, whose states have a few features that are much larger than all others."""
TRIED = (("a",), ("a", *CHECK_TEXTS), tuple(f"{text}, {text}" for text in CHECK_TEXTS))
"""Batches on which both are compared, of other sizes and lengths than the traced one."""
Run = Callable[[Mapping[str, Tensor]], list[np.ndarray]]
"""Takes inputs [B, T], and returns all outputs [B, C]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Agreement:
    """How close a file is to prefixbank itself on the batches of `TRIED`.

    Args:
        differences: the largest difference of each output, relative to the largest number if that
            is above 1.
        cosines: float64 [N], of the two vectors of each text.
        centred: float64 [N], the same less the mean of prefixbank's own vectors: what the vectors
            of all texts have in common says nothing of a text, and in many encoders it is most of
            a vector.
        same: for each head but regressions, the share of texts of which both predict the same.
    """

    differences: dict[str, float]
    cosines: np.ndarray
    centred: np.ndarray
    same: dict[str, float]

    @property
    def facts(self) -> JSON:
        """What is kept of it of an int8 file."""
        return {
            "texts": len(self.cosines),
            "mean_cosine": float(self.cosines.mean()),
            "least_cosine": float(self.cosines.min()),
            "centred_cosine": float(self.centred.mean()),
            "same_predictions": self.same,
        }


def write_model(
    session: Session,
    specs: Sequence[EmbeddingSpec],
    heads: Sequence[Head],
    out: Path,
    work: Path,
    precision: OnnxPrecision,
) -> tuple[JSON, JSON]:
    """Write model and tokenizer, and return what describes them, and how close the model is.

    Args:
        session: loads the encoder, on the CPU.
        specs: how texts are embedded, one for each block of the bank.
        heads: what predicts; they count `specs`.
        out: the artifact's folder.
        work: folder for the float32 file that an int8 file is made of.
        precision: of the encoder's weights.

    Raises:
        UsageError: the extra `onnx` is not installed.
        EncoderError: the encoder cannot be traced, or the file computes something else.
    """
    check_installed()
    ours = _Ours(replace(session, run=replace(session.run, device="cpu")), specs, heads)
    inputs = ours.inputs(CHECK_TEXTS)
    predictor = Predictor(ours.encoder.model, ours.bank, ours.linear_heads(), list(inputs))
    label = specs[0].files.label
    with TemporaryDirectory(dir=work) as folder:
        path = (out if precision == "fp32" else Path(folder)) / MODEL
        translate(predictor, inputs, list(ours.outputs), path, label)
        found = ours.agreement(_runtime(path))
        check(found.differences, label)
        measured: JSON = {"differences": found.differences}
        if precision == "int8":
            from prefixbank.steps.export.onnx.quantize import quantize_weights  # imports onnx

            quantize_weights(path, ours.encoder.model, out / MODEL, label)
            found = ours.agreement(_runtime(out / MODEL))
            check_cosine(found.centred, label)
            measured = {"differences": found.differences, "int8": found.facts}
    ours.encoder.write_tokenizer(out, ours.limit)
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
    return described, measured


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

    def agreement(self, run: Run) -> Agreement:
        """Return how close another runtime is."""
        worst = dict.fromkeys(self.outputs, 0.0)
        vectors: list[tuple[np.ndarray, np.ndarray]] = []
        same: dict[str, list[np.ndarray]] = {
            head.name: [] for head in self.heads if head.rule.kind != "regression"
        }
        for texts in TRIED:
            blocks = self.blocks(texts)
            said = [_said(head, head.decide(blocks, self.layouts)) for head in self.heads]
            ours, theirs = [np.concatenate(blocks, axis=1), *said], run(self.inputs(texts))
            for name, one, other in zip(worst, ours, theirs, strict=True):
                drift = np.abs(other - one).max() / max(1.0, np.abs(one).max())
                worst[name] = float(np.maximum(worst[name], drift))  # keeps NaN
            vectors.append((ours[0], theirs[0]))
            for head, one, other in zip(self.heads, ours[1:], theirs[1:], strict=True):
                if head.name in same:
                    named = [head.rule.named(each) for each in (one, other)]
                    same[head.name].append(equal_rows(*named))
        one, other = (
            np.concatenate(each).astype(np.float64) for each in zip(*vectors, strict=True)
        )
        return Agreement(
            differences=worst,
            cosines=row_cosines(one, other),
            centred=row_cosines(one - one.mean(axis=0), other - one.mean(axis=0)),
            same={name: float(np.concatenate(rows).mean()) for name, rows in same.items()},
        )


def row_cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the cosine of the rows of two matrices [N, F], float64 [N]; NaN with a zero row."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    with np.errstate(invalid="ignore"):
        cosines: np.ndarray = (one * other).sum(axis=1) / lengths
    return cosines


def equal_rows(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return whether predictions are equal, bool [N]; flags [N, C]: in every column."""
    equal: np.ndarray = (one == other).reshape(len(one), -1).all(axis=1)
    return equal


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


def check_cosine(centred: np.ndarray, label: str) -> None:
    """Refuse an int8 file whose vectors tell texts apart in another way than prefixbank's."""
    mean = float(centred.mean())
    if not mean >= LEAST_COSINE:  # a comparison with NaN is false
        raise EncoderError(
            f"the int8 ONNX file of {label} computes other vectors than prefixbank: their cosine, "
            f"less what all texts share, is {mean:.3f} on average over {len(centred)} texts",
            expected=f"at least {LEAST_COSINE}",
            fix="precision=fp32    or another encoder",
        )
