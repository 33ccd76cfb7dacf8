"""Run by the tests in a process of its own: build one entry, slowly, or die on the way.

Arguments: the store's folder, the way, the text that the artifact shall hold.
Writes `hit` or `made`, and before that `waits` if another process had the lock.
"""

import os
import signal
import sys
import time
from pathlib import Path

from prefixbank.store.key import document
from prefixbank.store.store import Store

DOCUMENT = document(
    step="train_prefix", version=1, config={"seed": 0}, inputs={"examples": "ab" * 32}
)
STEPS = 3


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main(root: Path, way: str, text: str) -> None:
    def make(out: Path, work: Path) -> dict[str, object]:
        with (root.parent / "made.log").open("a", encoding="utf-8") as log:
            log.write(f"{text}\n")
        if way == "die in make":
            (out / "prefix.bin").write_text("half", encoding="utf-8")
            (work / "step").write_text("2", encoding="utf-8")
            die()
        if way == "slow":
            (root.parent / "started").touch()
            while not (root.parent / "go").exists():
                time.sleep(0.01)
        first = int((work / "step").read_text(encoding="utf-8")) if (work / "step").exists() else 0
        (out / "prefix.bin").write_text(text, encoding="utf-8")
        return {"steps_made": list(range(first, STEPS))}

    if way == "die before rename":
        Path.rename = die  # type: ignore[method-assign,assignment]  # in this process only
    if way == "die between renames":
        rename = Path.rename
        # In this process only.
        Path.rename = lambda path, target: (
            die() if path.name.endswith(".out") else rename(path, target)
        )  # type: ignore[method-assign,assignment]
    _, hit = Store(root).build(
        DOCUMENT, make, force=way == "die between renames", on_wait=lambda: say("waits")
    )
    say("hit" if hit else "made")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
