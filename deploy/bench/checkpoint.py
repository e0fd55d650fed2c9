"""What a checkpoint costs training: handed to the writer of jobs, beside one that training writes itself. See checkpoint.sh."""

import statistics
import sys

from pairs import Worker, spread, table

program, folder = sys.argv[1], sys.argv[2]
BATCH, THREADS, PAIRS = 32, 1, 11
ENVIRONMENT = {"OMP_NUM_THREADS": str(THREADS), "GOMP_SPINCOUNT": "0", "OMP_WAIT_POLICY": "PASSIVE"}

worker = Worker([program, str(BATCH), str(THREADS), folder], ENVIRONMENT)
rows = [[float(value) for value in worker.ask("pair").split()] for _ in range(PAIRS)]
worker.close()
waits, blocks, written, sizes = zip(*rows)
print(f"state: {statistics.median(sizes) / 1e6:.0f} MB")
print(f"written by training: it waits {spread([1e3 * s for s in waits], 1)} ms")
print(f"handed over: it waits {spread([1e3 * s for s in blocks], 1)} ms, in place after {spread([1e3 * s for s in written], 1)} ms")
shares = [block / wait for wait, block in zip(waits, blocks)]
table(
    [
        (
            "6 milliseconds that a checkpoint blocks training, over those of a synchronous one of the same state",
            shares,
            "at most 0.10x",
            0.10,
        )
    ],
    at_most=True,
    digits=3,
)
