"""The first report's experiment in NumPy (float64), on the data and first weights that the example `r1_reference` wrote.

    cargo run --release -p gradus --example r1_reference -- FOLDER && python r1_same_starts.py FOLDER

Nothing is shared with Gradus but these arrays. Prints mean and standard deviation (n - 1) of the test error by argmax over
all starts for both, and how far the two lie apart; exits 1 when the means differ by more than 0.5 points.
"""
import glob
import os
import sys

import numpy as np

folder = sys.argv[1]
load = lambda name: np.load(os.path.join(folder, name + ".npy")).astype(np.float64)
starts = len(glob.glob(os.path.join(folder, "*-train-x.npy")))
relu = (lambda z: np.maximum(z, 0), lambda a: a > 0)
tanh = (np.tanh, lambda a: 1 - a * a)
activations = [relu, tanh, relu]


def train(start):
    x, y = load(f"{start}-train-x"), load(f"{start}-train-y").ravel().astype(int)
    layers = [[load(f"{start}-net.{i}.weight"), load(f"{start}-net.{i}.bias").ravel()] for i in (0, 2, 4, 6)]
    target = np.eye(2)[y]

    def forward(x):
        kept = [x]
        for (w, b), (f, _) in zip(layers, activations):
            kept.append(f(kept[-1] @ w.T + b))
        w, b = layers[3]
        return kept, kept[-1] @ w.T + b

    for _ in range(150):
        for at in range(0, len(x), 20):
            kept, out = forward(x[at : at + 20])
            d = 2 * (out - target[at : at + 20])  # the squared error, summed
            for i in (3, 2, 1, 0):
                w, b = layers[i]
                dw, db = d.T @ kept[i], d.sum(0)
                if i:
                    d = (d @ w) * activations[i - 1][1](kept[i])
                layers[i] = [w - 1e-4 * dw, b - 1e-4 * db]
    xt, yt = load(f"{start}-test-x"), load(f"{start}-test-y").ravel().astype(int)
    return 100 * np.mean(forward(xt)[1].argmax(1) != yt)


ours = np.array([train(i) for i in range(starts)])
theirs = np.load(os.path.join(folder, "errors.npy")).ravel()
print(f"numpy : test error {ours.mean():.3f} ± {ours.std(ddof=1):.3f} over {starts} starts")
print(f"gradus: test error {theirs.mean():.3f} ± {theirs.std(ddof=1):.3f}")
print(f"same start, largest difference {np.abs(ours - theirs).max():.2f} points")
sys.exit(not abs(ours.mean() - theirs.mean()) <= 0.5)
