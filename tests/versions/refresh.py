"""Record the code behind each step, and say what led to a definition.

python -m tests.versions.refresh                          write versions.json
python -m tests.versions.refresh --why embed plain_bank   how step embed reaches plain_bank
"""

from __future__ import annotations

import argparse
import sys

from tests.source import package_modules
from tests.versions.reach import Code
from tests.versions.reader import PACKAGE
from tests.versions.record import changed, current, differences, read_record, write_record


def why(code: Code, step: str, name: str) -> list[str]:
    """The shortest way from a plan function of the step to each definition of this name."""
    reached = code.steps[step].reached
    lines = []
    for path in sorted(reached.came_from):
        if path.endswith(f".{name}"):
            chain = (one.removeprefix(f"{PACKAGE}.") for one in reached.chain(path))
            lines.append("\n    -> ".join(chain))
    return lines


def main() -> int:
    """Record the steps as they are now and say what changed; refuse a version that fell."""
    parser = argparse.ArgumentParser(prog="python -m tests.versions.refresh")
    parser.add_argument("--why", nargs=2, metavar=("STEP", "NAME"), help="print what leads there")
    args = parser.parse_args()
    code = Code(package_modules())
    if args.why:
        lines = why(code, *args.why)
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        return 0 if lines else 1
    recorded, now = read_record(), current(code)
    fell = [line for line in differences(recorded, now, code.step_files) if "fell" in line]
    if fell:
        sys.stderr.write("\n".join(fell) + "\n")
        return 1
    for name in sorted(now):
        names = changed(recorded[name], now[name]) if name in recorded else []
        said = f"{len(now[name].definitions)} definitions, {len(names)} changed"
        sys.stdout.write(f"{name} version {now[name].version}: {said}\n")
    write_record(now)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
