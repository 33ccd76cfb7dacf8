"""A worker of the local driver.

Runs the job on each line of standard input and writes the outcome as a line of standard output.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from queue import SimpleQueue


def main() -> None:
    """Run jobs until standard input is closed; then exit at once, even in the middle of a job."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(
        sys.stderr.fileno(), sys.stdout.fileno()
    )  # what libraries print must not mix with answers
    jobs: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_receive, args=(jobs,), daemon=True).start()
    while True:
        job = json.loads(jobs.get())

        from prefixbank.commands.run import work

        answers.write(json.dumps(work(job)) + "\n")
        answers.flush()


def _receive(jobs: SimpleQueue[str]) -> None:
    """Put the lines of standard input into a queue, and exit at its end.

    The command is gone then. The next run makes what is not published yet.
    """
    for line in sys.stdin:
        jobs.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
