"""One MoCo v2 training step in PyTorch eager, as a persistent process: the peer of `make bench-step`.

  step_peer.py like-for-like BATCH THREADS    bf16 autocast, channels-last, foreach EMA, fused SGD, tuned allocator
  step_peer.py defaults BATCH THREADS         what a script has without asking: fp32, contiguous, plain SGD

Prints `ready`, then answers each line `run N` with `N SECONDS LOSS`. The model is ResNet-18 with the CIFAR stem and MoCo v2's
heads; the images are made once, so that only the step is timed.
"""

import copy
import ctypes
import sys
import time

mode, batch, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
tuned = mode == "like-for-like"
if tuned:
    # As Kindred's ranks do: keep large blocks instead of giving them back to the kernel after each step.
    libc = ctypes.CDLL(None)
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
    libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
    libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

torch.set_num_threads(threads)
torch.set_num_interop_threads(1)
torch.manual_seed(0)
QUEUE, DIM, TEMPERATURE, MOMENTUM = 4096, 128, 0.2, 0.99


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.shortcut = None
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x):
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        return functional.relu(y + (x if self.shortcut is None else self.shortcut(x)), inplace=True)


class Branch(nn.Module):
    """ResNet-18 with the CIFAR stem, then MoCo v2's projector."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True))
        blocks, n_in = [], 64
        for n_out, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            blocks += [Block(n_in, n_out, stride), Block(n_out, n_out, 1)]
            n_in = n_out
        self.blocks = nn.Sequential(*blocks)
        self.projector = nn.Sequential(nn.Linear(512, 512), nn.ReLU(inplace=True), nn.Linear(512, DIM))

    def forward(self, x):
        return self.projector(self.blocks(self.stem(x)).mean((2, 3)))


layout = torch.channels_last if tuned else torch.contiguous_format
online = Branch().to(memory_format=layout)
target = copy.deepcopy(online).requires_grad_(False)
parameters, followers = list(online.parameters()), list(target.parameters())
optimizer = torch.optim.SGD(parameters, lr=0.03, momentum=0.9, weight_decay=1e-4, fused=tuned or None)
queue, pointer = functional.normalize(torch.randn(QUEUE, DIM), dim=1), 0
views = [torch.randn(batch, 3, 32, 32).to(memory_format=layout) for _ in range(2)]
labels = torch.zeros(batch, dtype=torch.long)


def step():
    """One step; returns the loss."""
    global pointer
    with torch.no_grad():
        if tuned:
            torch._foreach_lerp_(followers, parameters, 1 - MOMENTUM)
        else:
            for follower, parameter in zip(followers, parameters):
                follower.data = follower.data * MOMENTUM + parameter.data * (1 - MOMENTUM)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=tuned):
        q = functional.normalize(online(views[0]).float(), dim=1)
        with torch.no_grad():
            k = functional.normalize(target(views[1]).float(), dim=1)
        own, others = (q * k).sum(1, keepdim=True), q @ queue.clone().T
    loss = functional.cross_entropy(torch.cat([own, others.float()], 1) / TEMPERATURE, labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        queue[pointer : pointer + batch] = k
        pointer = (pointer + batch) % QUEUE
    return loss


for _ in range(3):
    step()
print("ready", flush=True)
for line in sys.stdin:
    n = int(line.split()[1])
    start = time.perf_counter()
    for _ in range(n):
        loss = step()
    print(n, f"{time.perf_counter() - start:.6f} {loss.item():.4f}", flush=True)
