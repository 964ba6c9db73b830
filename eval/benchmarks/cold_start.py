"""Cold start of the command line: ``python eval/benchmarks/cold_start.py WORKSPACE IMAGE``.

``rsrag ask --image`` as a whole process against its floor, measured in the same run and in turn: a bare process that
imports the engine, loads the models and answers the same query once. ``rsrag --help`` stands beside a bare ``python``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from statistics import median

FLOOR = """
import sys
import rsrag
with rsrag.open(sys.argv[1]) as engine:
    engine.ask("What is this place?", image=sys.argv[2])
"""


def seconds(command: list[str]) -> float:
    """Wall time of one run of a command."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Run each command in turn, print medians and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace")
    parser.add_argument("image")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    rsrag = [sys.executable, "-m", "rsrag"]
    commands = {
        "python": [sys.executable, "-c", "pass"],
        "help": [*rsrag, "--help"],
        "floor": [sys.executable, "-c", FLOOR, arguments.workspace, arguments.image],
        "ask": [*rsrag, "-w", arguments.workspace, "ask", "--image", arguments.image, "What is this place?"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(arguments.rounds + 1):
        for name, command in commands.items():
            took = seconds(command)
            if number:  # the first round warms the caches of the disk
                times[name].append(took)
    medians = {name: round(median(values), 3) for name, values in times.items()}
    ratio = median(a / b for a, b in zip(times["ask"], times["floor"], strict=True))
    metrics = {"ask / floor": round(ratio, 3), **{f"{name}_s": value for name, value in medians.items()}}
    print(json.dumps({"suite": "cold-start", "metrics": metrics}))


if __name__ == "__main__":
    main()
