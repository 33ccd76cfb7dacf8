"""A worker of the local driver.

Reads a job from each line of standard input, does it, and answers with a line of standard output.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from queue import SimpleQueue


def main() -> None:
    """Do jobs until standard input is closed.

    End at once when it is, even in the middle of a job.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is no answer
    jobs: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_receive, args=(jobs,), daemon=True).start()
    while True:
        job = json.loads(jobs.get())

        from prefixbank.commands.run import work

        answers.write(json.dumps(work(job)) + "\n")
        answers.flush()


def _receive(jobs: SimpleQueue[str]) -> None:
    """Pass lines on.

    At the end the command is gone: whatever is not published yet is for the next run to make.
    """
    for line in sys.stdin:
        jobs.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
