"""MoCo v2's two views beside other libraries, one core each, in turns; see data.sh."""

import pathlib
import statistics
import sys
import time

from pairs import Worker, table

tools, photos, *ours = sys.argv[1:]
HERE = pathlib.Path(__file__).parent
PEERS = f"{tools}/peers-data"
SIZE, IMAGES, PAIRS = 224, 64, 9
QUALITIES = (75, 98)
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# The last core: what else runs tends to be on the first.
CORE = "1"
GOALS = {  # (ours, peer, quality): times its rate
    ("C decoder", "torchvision", 75): 8.0,
    ("C decoder", "torchvision", 98): 6.0,
    ("pure Rust", "torchvision", 75): 7.5,
    ("pure Rust", "torchvision", 98): 5.0,
    ("C decoder", "opencv", 98): 2.5,
    ("C decoder", "ffcv", 98): 4.0,
    ("C decoder", "dali", 98): 5.0,
}


def pinned(command, environment):
    """A worker on one core."""
    return Worker(["taskset", "-c", CORE, *command], ONE_THREAD | environment)


def peer(name, folder):
    """A peer, or nothing where it could not be installed."""
    if name == "ffcv" or pathlib.Path(f"{PEERS}/why-not-{name}").exists():
        return None
    paths = [f"{PEERS}/packages", f"{tools}/peers/packages"]
    paths = [f"{PEERS}/dali"] if name == "dali" else paths
    command = [sys.executable, str(HERE / "data_peer.py"), name, folder, str(SIZE)]
    return pinned(command, {"PYTHONPATH": ":".join(paths)})


def why_not(name):
    """Why a peer has no row."""
    return pathlib.Path(f"{PEERS}/why-not-{name}").read_text().strip()


def cpu_seconds(worker):
    """What all threads of a worker used so far."""
    tasks = pathlib.Path(f"/proc/{worker.process.pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def turn(worker):
    """Seconds of the processor, and of the clock, per image."""
    before = cpu_seconds(worker)
    n, seconds, _ = worker.ask(f"run {IMAGES}").split()
    # A loader makes one more batch ahead: it belongs to this turn, and must not disturb the next.
    time.sleep(0.05)
    return (cpu_seconds(worker) - before) / int(n), float(seconds) / int(n)


def compare(quality):
    """Seconds per image of each contender, by round."""
    folder = f"{photos}/{quality}"
    workers = {name: pinned([binary, folder, str(SIZE)], {}) for name, binary in (side.split("=") for side in ours)}
    workers |= {name: peer(name, folder) for name in ("torchvision", "opencv", "dali", "ffcv")}
    workers = {name: worker for name, worker in workers.items() if worker}
    names, seconds = list(workers), {name: [] for name in workers}
    for number in range(PAIRS + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seconds[name].append(turn(workers[name]))
    for worker in workers.values():
        worker.close()
    seconds = {name: values[1:] for name, values in seconds.items()}
    for name, values in seconds.items():
        rates = [statistics.median(1 / value[at] for value in values) for at in (0, 1)]
        print(f"quality {quality}, {name}: {rates[0]:.0f} images a second of a core, {rates[1]:.0f} by the clock", flush=True)
    return seconds


def rows():
    """One row per quality, peer and decoder: ratios of processor time, round by round."""
    for quality in QUALITIES:
        seconds = compare(quality)
        for name in ("torchvision", "opencv", "dali", "ffcv"):
            for side in (side.split("=")[0] for side in ours):
                figure, goal = f"1 quality {quality}, {side}, against {name}", GOALS.get((side, name, quality))
                if name not in seconds:
                    print(f"{figure}: not measured: {why_not(name)}")
                    continue
                ratios = [theirs[0] / own[0] for own, theirs in zip(seconds[side], seconds[name])]
                yield figure, ratios, f"at least {goal}x" if goal else "a row apart", goal


table(list(rows()))
