"""The experiment of report R1 as its code ran it, in NumPy (float64), over 30 starts: writes r1_numpy.json.

    python r1_numpy.py               # needs numpy; some ten seconds on one core

Every start draws its own points and its own weights. README.md states the format and the figures.
"""

import json
import math
from pathlib import Path

import numpy as np

SEED, STARTS = 2020, 30
POINTS, BATCH, EPOCHS, RATE = 1000, 20, 150, 1e-4
SIZES = (2, 25, 25, 25, 2)
RADIUS = 1 / math.sqrt(2 * math.pi)  # half of the unit square is inside


def disk(rng):
    """Points uniform in the unit square and one-hot targets (inside, outside)."""
    x = rng.random((POINTS, 2))
    outside = np.hypot(x[:, 0] - 0.5, x[:, 1] - 0.5) > RADIUS
    return x, np.eye(2)[outside.astype(int)]


def forward(weights, biases, x):
    """The inputs of the four linear layers (ReLU, Tanh, ReLU between them), and the output."""
    a1 = np.maximum(x @ weights[0] + biases[0], 0)
    a2 = np.tanh(a1 @ weights[1] + biases[1])
    a3 = np.maximum(a2 @ weights[2] + biases[2], 0)
    return (x, a1, a2, a3), a3 @ weights[3] + biases[3]


def train_step(weights, biases, x, target):
    """One step down the gradient 2 (prediction - target): the squared error summed. Returns the mean that it prints."""
    kept, prediction = forward(weights, biases, x)
    dz = 2 * (prediction - target)
    for layer in (3, 2, 1, 0):
        dw, db = kept[layer].T @ dz, dz.sum(0)
        if layer:
            da = dz @ weights[layer].T
            a = kept[layer]
            dz = da * (1 - a * a) if layer == 2 else da * (a > 0)
        weights[layer] -= RATE * dw
        biases[layer] -= RATE * db
    return ((prediction - target) ** 2).sum() / len(x)


def errors(weights, biases, x, target):
    """Per cent wrong: points by argmax; outputs by `error()` (rounded); outputs by a threshold of 0.5."""
    prediction = forward(weights, biases, x)[1]
    per_cent = lambda wrong: 100 * int(wrong.sum()) / wrong.size
    return {
        "argmax": per_cent(prediction.argmax(1) != target.argmax(1)),
        "rounded": per_cent(np.round(prediction) != target),
        "threshold": per_cent((prediction > 0.5) != (target > 0.5)),
    }


def start(index):
    rng = np.random.default_rng([SEED, index])
    train_x, train_t = disk(rng)
    test_x, test_t = disk(rng)
    weights = [rng.standard_normal((i, o)) * math.sqrt(2 / i) for i, o in zip(SIZES, SIZES[1:])]
    biases = [np.zeros(o) for o in SIZES[1:]]
    for _ in range(EPOCHS):
        losses = [
            train_step(weights, biases, train_x[i : i + BATCH], train_t[i : i + BATCH]) for i in range(0, POINTS, BATCH)
        ]
    train, test = errors(weights, biases, train_x, train_t), errors(weights, biases, test_x, test_t)
    return {"start": index, "train": train, "test": test, "last_epoch_loss": float(np.mean(losses))}


def check_gradient():
    """The hand-written backward against central differences of the summed squared error."""
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((i, o)) * math.sqrt(2 / i) for i, o in zip(SIZES, SIZES[1:])]
    biases = [0.1 * rng.standard_normal(o) for o in SIZES[1:]]
    x, target = (part[:BATCH] for part in disk(rng))
    stepped = [w.copy() for w in weights], [b.copy() for b in biases]
    train_step(*stepped, x, target)
    loss = lambda: ((forward(weights, biases, x)[1] - target) ** 2).sum()
    for before, after in zip(weights + biases, stepped[0] + stepped[1]):
        for at in list(np.ndindex(before.shape))[:: max(1, before.size // 20)]:
            value, h = before[at], 1e-6
            before[at] = value + h
            up = loss()
            before[at] = value - h
            down = loss()
            before[at] = value
            slope, step = (up - down) / (2 * h), (value - after[at]) / RATE
            assert abs(slope - step) < 1e-5 * (1 + abs(slope)), (at, slope, step)


if __name__ == "__main__":
    check_gradient()
    starts = [start(index) for index in range(STARTS)]
    figures = {}
    for part in ("train", "test"):
        for kind in ("argmax", "rounded", "threshold"):
            all_starts = np.array([s[part][kind] for s in starts])
            figures[f"{part} {kind}"] = {
                "mean": float(all_starts.mean()),
                "sd": float(all_starts.std(ddof=1)),
                "median": float(np.median(all_starts)),
                "min": float(all_starts.min()),
                "max": float(all_starts.max()),
            }
            print(f"{part:5} {kind:9}", *(f"{key} {value:.2f}" for key, value in figures[f"{part} {kind}"].items()))
    head = {"numpy": np.__version__, "script": "r1_numpy.py", "seed": SEED, "sizes": SIZES, "points": POINTS}
    head |= {"batch": BATCH, "epochs": EPOCHS, "lr": RATE, "figures": figures}
    lines = [f'"{key}": {json.dumps(value)}' for key, value in head.items()]
    lines.append('"starts": [\n' + ",\n".join(json.dumps(s) for s in starts) + "\n]")
    Path(__file__).with_name("r1_numpy.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
