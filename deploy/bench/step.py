"""A training step of Kindred beside PyTorch eager's: ResNet-18 (CIFAR stem), MoCo v2, batch 128. See step.sh."""

import pathlib
import sys

from pairs import Worker, paired_ratios, spread, table

kindred, peer_packages = sys.argv[1], sys.argv[2]
here = pathlib.Path(__file__).parent
BATCH, THREADS, ROUNDS, PAIRS = 128, 2, 4, 11
SHARED = {"OMP_NUM_THREADS": str(THREADS), "MKL_NUM_THREADS": str(THREADS)}
PASSIVE = {"GOMP_SPINCOUNT": "0", "OMP_WAIT_POLICY": "PASSIVE"}


def peer(mode, environment):
    """PyTorch in one of its two modes."""
    command = [sys.executable, str(here / "step_peer.py"), mode, str(BATCH), str(THREADS)]
    return Worker(command, SHARED | environment | {"PYTHONPATH": peer_packages})


def ours():
    """Kindred's step, at its defaults: bf16, channels-last, tuned allocator, passive waiting."""
    return Worker([kindred, str(BATCH), str(THREADS)], SHARED | PASSIVE)


def compare(mode, environment):
    """Paired ratios of images per second, Kindred over PyTorch."""
    a, b = ours(), peer(mode, environment)
    ratios, a_seconds, b_seconds = paired_ratios(a, b, ROUNDS, PAIRS)
    a.close(), b.close()
    images = ROUNDS * BATCH
    print(f"{mode}: Kindred {spread([images / s for s in a_seconds], 1)} images/s")
    print(f"{mode}: PyTorch {spread([images / s for s in b_seconds], 1)} images/s", flush=True)
    return ratios


like, defaults = compare("like-for-like", PASSIVE), compare("defaults", {})
table(
    [
        ("8 step, bf16 channels-last, same settings, against PyTorch eager", like, "at least 0.97x", 0.97),
        ("8 step, Kindred's defaults against PyTorch's", defaults, "a row apart", None),
    ]
)
