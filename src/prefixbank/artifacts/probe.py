"""Probe artifacts: what `probe.json` says that a probe chose."""

from __future__ import annotations

from prefixbank.errors import UsageError
from prefixbank.store.key import JSON

PROBE, TENSORS = "probe.json", "probe.safetensors"
PREDICTIONS = "predictions.safetensors"

RULE = "rule."
"""What the names of the arrays of calibration and thresholds begin with."""


def refuse_unusable(result: JSON, name: str) -> None:
    """Raise UsageError unless `probe.json` describes one model and the vectors that it reads.

    Args:
        result: the content of `probe.json`.
        name: what the error calls the probe.
    """
    if not result.keys() >= {"vectors", "paired"}:
        raise UsageError(
            f"an earlier version of prefixbank fitted probe {name}",
            expected="a probe that says how its vectors were embedded",
            fix="prefixbank probe ...    fits it again",
        )
    if len(result["fits"]) > 1:
        raise UsageError(
            f"probe {name} holds {len(result['fits'])} models, one for each draw or fold",
            expected="a single model",
            fix="probe.protocol=split probe.shots=0    or probe.few_shot_samples=1",
        )


def choice_in(result: JSON) -> str:
    """Return in words what the probe chose, on the axes where it had a choice.

    Empty if it had none, or if `probe.json` holds several fits, each with its own choice.

    Args:
        result: the content of `probe.json`.
    """
    if len(result["fits"]) != 1 or "candidates" not in result["fits"][0]:
        return ""
    fit = result["fits"][0]
    axes = {"readings": "pairs", "layers": "layer", "positions": "position"}
    return ", ".join(
        f"{word} {_written(fit['reads'][axis])}"
        for axis, word in axes.items()
        if len({tuple(one[axis]) for one in fit["candidates"]}) > 1
    )


def decision_in(result: JSON) -> str:
    """Return in words how the probe was calibrated and its thresholds were chosen.

    Empty if neither was done.

    Args:
        result: the content of `probe.json`.
    """
    calibration, threshold = result.get("calibration", "none"), result.get("threshold", "default")
    said = [f"{calibration} calibration"] if calibration != "none" else []
    return ", ".join(said + ([f"thresholds by {threshold}"] if threshold != "default" else []))


def _written(values: list[str | int]) -> str:
    """Return the one value of an axis; the only axis with several is that of readings."""
    return "both" if len(values) > 1 else str(values[0])
