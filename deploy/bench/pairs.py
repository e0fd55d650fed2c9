"""Drives two persistent workers in turn (A B A B …) and prints figures in the project's form.

A worker prints `ready`, then answers each line `run N` with `N SECONDS …`. Only ratios of one run are worth quoting: the
machine drifts, and both drift with it.
"""

import os
import statistics
import subprocess


class Worker:
    """One side of a pair."""

    def __init__(self, command, environment):
        self.process = subprocess.Popen(
            command, env=os.environ | environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        line = self.process.stdout.readline()
        if not line.startswith("ready"):
            raise SystemExit(f"{command[0]} is not ready: {line!r} (exit code {self.process.wait()})")

    def ask(self, line):
        """The answer to a line."""
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def seconds(self, n):
        """Seconds for n rounds."""
        return float(self.ask(f"run {n}").split()[1])

    def close(self):
        """Ends the worker."""
        self.process.stdin.close()
        self.process.wait(timeout=30)


def paired_ratios(a, b, rounds, pairs):
    """Rate of A over rate of B, once per pair; and all seconds of A and B."""
    a.seconds(rounds), b.seconds(rounds)
    seconds = [(a.seconds(rounds), b.seconds(rounds)) for _ in range(pairs)]
    return [y / x for x, y in seconds], [x for x, _ in seconds], [y for _, y in seconds]


def spread(values, digits=2):
    """median [min..max] n"""
    return (
        f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}..{max(values):.{digits}f}] n={len(values)}"
    )


def table(rows, at_most=False, digits=2):
    """Prints rows of (figure, measured values, goal text, goal value or None); goals are lower bounds unless `at_most`."""
    print("\nfigure | measured | goal | met")
    for figure, values, text, goal in rows:
        median = statistics.median(values)
        met = "-" if goal is None else "yes" if (median <= goal if at_most else median >= goal) else "no"
        print(f"{figure} | {spread(values, digits)} | {text} | {met}")
