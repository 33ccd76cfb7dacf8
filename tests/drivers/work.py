"""Work for drivers whose workers find it by its name."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Return what it was given and who did it.

    Die the first time if there is a file to leave then.
    """
    if job.get("mark") and not Path(job["mark"]).exists():
        Path(job["mark"]).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"n": job["n"], "pid": os.getpid(), "threads": job["threads"]}
