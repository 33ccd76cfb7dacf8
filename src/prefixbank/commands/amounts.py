"""How sizes and times are written for people."""

from __future__ import annotations

import math

SMALLEST_MB = 0.01


def size_text(size_bytes: int) -> str:
    """Return a size in megabytes: `12.3 MB`; what is less than 0.1 MB with two digits."""
    megabytes = max(size_bytes / 1e6, SMALLEST_MB)
    return f"{megabytes:.1f} MB" if megabytes >= 0.1 else f"{megabytes:.2f} MB"


def duration_text(seconds: float) -> str:
    """Return a time in its two largest units: `0.3 s`, `48 s`, `1 min 48 s`, `2 h 5 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return _two(whole // 60, "min", whole % 60, "s")
    minutes = round(seconds / 60)
    return _two(minutes // 60, "h", minutes % 60, "min")


def estimate_text(seconds: float) -> str:
    """Return an estimated time, rounded up to tens of seconds, minutes, or tens of minutes."""
    step = 10 if seconds <= 60 else 60 if seconds <= 3600 else 600
    return f"about {duration_text(max(1, math.ceil(seconds / step)) * step)}"


def _two(large: int, unit: str, small: int, smaller_unit: str) -> str:
    return f"{large} {unit} {small} {smaller_unit}" if small else f"{large} {unit}"
