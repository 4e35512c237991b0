"""What the peers in Python share: workloads, data, how they are timed and what is printed.

A peer is started as `PEER.py WORKLOAD THREADS SECONDS DATA MODE`, and prints one JSON object a line: `first` at the end of the
first step or prediction, `ready` when it is warm, after which it waits for a line on its standard input, `done` with the times.
`bench/rust/peer` says the same in Rust.
"""

import json
import pathlib
import statistics
import sys
import time

import numpy as np

# (inputs, outputs, kernel, padding, a 2x2 maximum follows); stride 1, ReLU
NET1 = [(1, 16, 3, 0, True), (16, 32, 3, 0, False)]
DEEP = [(1, 16, 3, 1, False), (16, 32, 5, 2, True), (32, 128, 3, 1, False), (128, 128, 3, 1, False), (128, 256, 3, 1, True)]


class Shape:
    """A network and its batch: a tower for each of two images (or none), then a head of linear layers with ReLU between."""

    def __init__(self, head, batch, data, towers=(), shared=False, disk=False, rate=0.1):
        self.head, self.batch, self.data, self.towers, self.shared, self.rate = head, batch, data, towers, shared, rate
        self.disk = disk  # Tanh in the last hidden layer, and the mean squared error to the one-hot class; else cross-entropy
        self.towers_made = 0 if not towers else 1 if shared else 2


DISK = Shape([2, 25, 25, 25, 2], 20, "disk", disk=True)
SHAPES = {
    "W1": DISK,
    "W2": Shape([1024, 64, 32, 2], 50, "pairs", NET1),
    "W3": Shape([1024, 64, 32, 2], 50, "pairs", NET1, shared=True),
    "W4": Shape([4608, 512, 64, 2], 50, "pairs", DEEP),
    "W5": Shape([784, 1024, 1024, 10], 256, "digits"),
}
EPOCHS = 25


def samples(folder, name, shape):
    """The samples of a file and their classes."""
    x = np.fromfile(folder / f"{name}.f32", "<f4")
    y = np.fromfile(folder / f"{name}.u8", "u1").astype(np.int64)
    return (x.reshape(len(y), 2, 14, 14) if shape.towers else x.reshape(len(y), -1)), y


class Task:
    """What the command line asks for."""

    def __init__(self):
        if len(sys.argv) < 2:
            sys.exit()  # the start of a process is timed
        self.name, self.threads, self.seconds, data, self.mode = sys.argv[1:]
        self.threads, self.seconds, folder = int(self.threads), float(self.seconds), pathlib.Path(data)
        kind, *rest = self.name.split("-")
        self.predicts = int(rest[1]) if kind == "W6" else 0
        self.round, self.first_only = kind == "round", kind == "first"
        network = {"W6": {"disk": "W1", "net1": "W2"}[rest[0]]} if self.predicts else {"round": "W2", "first": "W2"}
        self.shape = SHAPES[network.get(kind, kind)]
        self.train = samples(folder, f"{self.shape.data}-train", self.shape)
        self.test = samples(folder, f"{self.shape.data}-test", self.shape)
        # A step of W4 is long and there are few: they go over one batch, whose loss falls from the first of them.
        self.steps = 1 if kind == "W4" else len(self.train[1]) // self.shape.batch

    def cut(self, x):
        """In batches of the training."""
        n = self.shape.batch
        return [x[i : i + n] for i in range(0, self.steps * n, n)]

    def parts(self, total=1000):
        """Sizes of parts in which so many samples may be predicted: the fastest counts."""
        return [n for n in (50, 250, 1000) if n <= total] if self.seconds > 0.3 else [250]

    def fastest(self, make, total=1000):
        """Of the functions that `make` makes for parts of a size, the fastest."""
        if total == 1:
            return make(1)
        made = [make(n) for n in self.parts(total)]
        for f in made:
            f(), f()
        return min(made, key=lambda f: min(once(f) for _ in range(3)))

    def first(self):
        """The first step has ended."""
        say("first")
        if self.first_only:
            sys.exit()

    def done(self, f, units=1, parameters=None, **more):
        """Times `f`, which does so many units and returns when they are done. `more` are functions to call afterwards."""
        f()
        say("ready")
        sys.stdin.readline()
        median, fastest, slowest = measure(self.seconds, f)
        times = {"seconds": median / units, "fastest": fastest / units, "slowest": slowest / units}
        say("done", **times, parameters=parameters, peak_mib=peak_mib(), **{k: g() for k, g in more.items()})


def once(f, calls=1):
    start = time.perf_counter()
    for _ in range(calls):
        f()
    return (time.perf_counter() - start) / calls


def measure(seconds, f):
    """Median, least and most seconds of a call."""
    took, short = once(f), seconds / 9
    if took < short:
        took = once(f, max(1, int(0.5 * short / took)))
    repetitions = int(min(9, max(1, seconds / took)))
    calls = max(1, int(seconds / took / repetitions))
    times = [once(f, calls) for _ in range(repetitions)]
    return statistics.median(times), min(times), max(times)


def peak_mib():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024


def say(event, **values):
    print(json.dumps({"event": event, **values}), flush=True)
