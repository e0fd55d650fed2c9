"""The loss of a rank, from the signal to the end of the survivors' next step. See recovery.sh.

    recovery.py KINDRED PID_OF_UP LOG_OF_UP [ROUNDS]

Every moment is a time stamp of the program concerned; all of them share this machine's clock.
"""

import datetime
import itertools
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from pairs import spread, table

KINDRED, UP, LOG = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
ROUNDS = int(sys.argv[4]) if len(sys.argv) > 4 else 10
LIMIT_S = 120
JOB = """
name: {name}
ranks: 4
min_ranks: {fewest}
device: cpu
recipe:
  data: {{fashion_mnist: {{root: fashion-mnist}}, limit: 12288}}
  encoder: {{resnet: {{depth: 18, width: 2, stem: cifar}}}}
  method: {{sce: {{queue_size: 1024}}}}
  training: {{epochs: 100000, global_batch: 24, precision: bf16, threads_per_rank: 1, log_every_steps: 1}}
  checkpoint: {{every_steps: 100000}}
  evaluation: {{knn: {{enabled: false}}, linear: {{enabled: false}}}}
  schedule: {{constant: {{}}}}
retry: {{infrastructure_failures: 1000}}
"""
PHASES = ("detect", "place", "meet", "restore", "first step")


def kindred(*arguments):
    return subprocess.run([KINDRED, *arguments], text=True, stdout=subprocess.PIPE, check=True).stdout


def read(*arguments):
    return json.loads(kindred(*arguments, "-o", "json"))


def children(pid):
    """Process ids and programs of a process's children."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
        if int(rest[1]) == pid:
            found.append((int(stat.parent.name), name))
    return found


def ranks():
    """Process ids of all ranks."""
    agents = [pid for pid, name in children(UP) if name == "kindred-worker"]
    return sorted(pid for agent in agents for pid, _ in children(agent))


def until(condition):
    """What the condition gives once it gives something."""
    deadline = time.time() + LIMIT_S
    while time.time() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise SystemExit(f"nothing came within {LIMIT_S} s; the end of {LOG}:\n" + "\n".join(LOG.read_text().splitlines()[-20:]))


class Job:
    """A job that runs until it is cancelled."""

    def __init__(self, name, fewest):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(JOB.format(name=name, fewest=fewest))
            file.flush()
            self.id = read("submit", file.name)["id"]

    def points(self, series, generation, after):
        points = read("metrics", self.id, "--series", series, "--after-step", str(after))
        return [point for point in points if int(point["generation"]) == generation]

    def at_work(self, n_ranks):
        """The job, once so many ranks have taken steps in its newest generation."""
        job = read("get", self.id)
        if job["state"] != "JOB_STATE_RUNNING" or len(job["placements"]) != n_ranks:
            return None
        step = int(job.get("progress", {}).get("step", 0))
        is_stepping = len(self.points("loss", int(job["generation"]), max(0, step - 50))) > 20
        return job if is_stepping and len(ranks()) == n_ranks else None

    def cancel(self):
        kindred("cancel", self.id)
        subprocess.run([KINDRED, "watch", self.id], stdout=subprocess.DEVNULL)


def newest(job, message):
    """When the coordinator last logged this about a job, in seconds."""
    pattern = re.compile(rf"^coordinator \| (\S+) .*{message}.*job_id=\"?{job}\b")
    times = [found[1] for found in map(pattern.match, LOG.read_text().splitlines()) if found]
    return datetime.datetime.fromisoformat(times[-1]).timestamp()


def last_line(job, generation, message):
    """When the last rank logged this in a generation, in seconds."""
    lines = [json.loads(line) for line in kindred("logs", job, "-o", "json").splitlines()]
    times = [int(line["time_unix_ms"]) for line in lines if message in line["message"] and int(line.get("generation", 0)) == generation]
    return max(times) / 1000 if times else None


def lose(job, victim, how):
    """One loss: seconds of it all, of each phase, of a step before it, and the steps repeated."""
    before, there = until(lambda: job.at_work(4)), ranks()
    lost, old, recent = there[victim % 4], int(before["generation"]), max(0, int(before["progress"]["step"]) - 50)
    at = time.time()
    os.kill(lost, how)
    first = until(lambda: job.points("loss", old + 1, recent))[0]
    end = int(first["time_unix_ms"]) / 1000
    ended, placed = newest(job.id, "generation ends early"), newest(job.id, "generation placed")
    formed = until(lambda: last_line(job.id, old + 1, "the group is formed"))
    restored = until(lambda: last_line(job.id, old + 1, "ranks have met"))
    if not set(there) - {lost} <= set(ranks()):
        raise SystemExit("a survivor was restarted")
    earlier = [(int(point["step"]), int(point["time_unix_ms"])) for point in job.points("loss", old, recent)]
    return {
        "all": end - at,
        "phases": [later - sooner for sooner, later in itertools.pairwise([at, ended, placed, formed, restored, end])],
        "step": statistics.median((b[1] - a[1]) / 1000 for a, b in itertools.pairwise(earlier)),
        "repeated": earlier[-1][0] - int(first["step"]) + 1,
    }


def rounds(title, fewest, how, n):
    job = Job(title.replace(" ", "-"), fewest)
    losses = []
    for number in range(n):
        losses.append(lose(job, number, how))
        print(f"{title}: {losses[-1]['all']:.2f} s", flush=True)
    job.cancel()
    print(f"{title}, by phase: " + ", ".join(
        f"{phase} {spread([loss['phases'][at] for loss in losses])} s" for at, phase in enumerate(PHASES)))
    print(f"{title}: a step takes {spread([loss['step'] for loss in losses], 3)} s; at most "
          f"{max(loss['repeated'] for loss in losses)} are repeated", flush=True)
    return [loss["all"] for loss in losses]


shrunk = rounds("killed then three", 1, signal.SIGKILL, ROUNDS)
replaced = rounds("killed then four", 4, signal.SIGKILL, ROUNDS)
stopped = rounds("stopped then three", 1, signal.SIGSTOP, max(3, ROUNDS // 2))
table(
    [
        ("1 seconds from the kill of a rank of four to the end of the next step, at world size 3", shrunk, "under 1 s", 1.0),
        ("1 the same with a replacement at 4", replaced, "under 1 s", 1.0),
        ("1 the same for a rank stopped by SIGSTOP, at world size 3", stopped, "within max(2 s, 5 x p99) + 1 s", 3.0),
    ],
    at_most=True,
)
