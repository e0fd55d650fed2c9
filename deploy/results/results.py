#!/usr/bin/env python3
"""Runs what the results page lacks, then writes the page.

    results.py KINDRED [--page-only] [--only METHOD ...]

KINDRED is the program; KINDRED_COORDINATOR says where its coordinator listens. A run is kept as runs/ID.json, where the
ID names method, seed and a digest of the job file and its overrides: what has not changed is not run again. Each run names
the commit that it was made with; remove its file to run it anew.
"""

import argparse
import concurrent.futures
import datetime
import hashlib
import json
import pathlib
import subprocess
import sys
import time

import page
import plan

HERE = pathlib.Path(__file__).resolve().parent
JOBS = HERE.parent / "jobs"
RUNS = HERE / "runs"

# Jobs at a time: each has one rank, and two cores finish two such jobs sooner than two jobs of two ranks after each other.
N_JOBS = 2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kindred")
    parser.add_argument("--page-only", action="store_true", help="run nothing")
    parser.add_argument("--only", nargs="*", metavar="METHOD", help="run these methods alone")
    options = parser.parse_args()
    RUNS.mkdir(exist_ok=True)
    code = commit()
    runs = [Run(options.kindred, *about, code) for about in plan.runs()]
    wanted = {run.key(): run.path() for run in runs}
    chosen = [run for run in runs if not options.page_only and (not options.only or run.method in options.only)]
    missing = [run for run in chosen if not run.path().exists()]
    with concurrent.futures.ThreadPoolExecutor(N_JOBS) as pool:
        ended = zip(missing, pool.map(Run.train, missing))
        failed = [f"{run.method}, seed {run.seed}" for run, is_done in ended if not is_done]
    page.write(HERE / "RESULTS.md", {key: read(path) for key, path in wanted.items() if path.exists()})
    if failed:
        sys.exit(f"results: these runs failed, and will be tried again next time: {'; '.join(failed)}")


def read(path):
    return json.loads(path.read_text())


class Run:
    """One job of the plan."""

    def __init__(self, kindred, method, seed, overrides, code):
        self.kindred, self.method, self.seed, self.overrides = kindred, method, seed, overrides
        self.commit = code
        self.file = JOBS / f"{method.replace('_', '-')}-fashion-mnist.yaml"
        settings = {**plan.SETTING, **plan.OF_METHOD.get(method, {}), "recipe.training.seed": seed, **overrides}
        self.set = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        described = self.file.read_text() + json.dumps(settings, sort_keys=True)
        self.digest = hashlib.sha256(described.encode()).hexdigest()[:12]

    def key(self):
        """How the page finds it."""
        return (self.method, self.seed, tuple(sorted(self.overrides.items())))

    def path(self):
        return RUNS / f"{self.method}-{self.seed}-{self.digest}.json"

    def submit(self, *arguments):
        return self.call("submit", str(self.file), *self.set, *arguments)

    def call(self, *arguments):
        done = subprocess.run([self.kindred, *arguments], text=True, stdout=subprocess.PIPE)
        if done.returncode != 0:
            raise RuntimeError(f"kindred {' '.join(arguments)}: exit status {done.returncode}")
        return done.stdout

    def train(self):
        """Trains to the end and keeps what came out; whether it got there."""
        print(f"results: {self.method}, seed {self.seed}, {self.overrides or 'as published'}", flush=True)
        started = time.time()
        job_id = json.loads(self.submit("-o", "json"))["id"]
        watched = subprocess.run([self.kindred, "watch", job_id], stdout=subprocess.DEVNULL)
        if watched.returncode != 0:
            return False
        job = json.loads(self.call("get", job_id, "-o", "json"))
        self.path().write_text(json.dumps({
            "method": self.method,
            "seed": self.seed,
            "overrides": self.overrides,
            "date": datetime.date.today().isoformat(),
            "commit": self.commit,
            "seconds": round(time.time() - started),
            "metrics": job["result"]["metrics"],
        }, indent=1) + "\n")
        return True


def commit():
    """The commit that is checked out, marked when files differ from it."""
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=HERE, text=True, stdout=subprocess.PIPE)
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "proto", "worker"], cwd=HERE)
    return head.stdout.strip() + ("-changed" if changed.returncode else "")


if __name__ == "__main__":
    main()
