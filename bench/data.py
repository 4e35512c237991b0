"""The samples that all peers train on, as files of little-endian 32-bit floats and of classes, one byte each.

The pairs and digits are the embedded ones of `crates/gradus-data`: pairs of images averaged to 14x14, of different digits, class 1
when the first is larger; 784 pixels of the wide network's images. The points are uniform in the unit square, class 1 inside the
disk of half its area. Pairs and digits are normalised by the training samples' mean and standard deviation.
"""

import array
import gzip
import math
import pathlib
import random
import sys

SETS = ["disk-train", "disk-test", "pairs-train", "pairs-test", "digits-train", "digits-test"]


def write(folder, repository):
    """Writes those files, unless they are there."""
    if all((folder / f"{name}.u8").exists() for name in SETS):
        return
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(1)
    for name in SETS[:2]:
        points = [(draw.random(), draw.random()) for _ in range(1000)]
        inside = [(x - 0.5) ** 2 + (y - 0.5) ** 2 < 1 / (2 * math.pi) for x, y in points]
        save(folder / name, [x for point in points for x in point], inside)
    images, classes = digits(repository / "crates" / "gradus-data" / "data")
    pools = list(range(6000)), list(range(6000, 10000))
    for pool in pools:
        draw.shuffle(pool)
    train, test = ([(a, b) for a, b in zip(pool[::2], pool[1::2]) if classes[a] != classes[b]][:1000] for pool in pools)
    scale = None
    for name, pairs in zip(SETS[2:4], (train, test)):
        x = [v for pair in pairs for i in pair for v in halved(images[i])]
        scale = scale or moments(x)
        save(folder / name, normalised(x, scale), [classes[a] > classes[b] for a, b in pairs])
    scale = None
    for name, chosen in zip(SETS[4:], (pools[0][:2560], pools[1][:1024])):
        x = [v for i in chosen for v in images[i]]
        scale = scale or moments(x)
        save(folder / name, normalised(x, scale), [classes[i] for i in chosen])


def digits(folder):
    images, labels = (
        gzip.decompress((folder / f"train-{kind}-ubyte.gz").read_bytes()) for kind in ("images-idx3", "labels-idx1")
    )
    return [images[i : i + 784] for i in range(16, len(images), 784)], labels[8:]


def halved(image):
    """28x28 to 14x14: means of 2x2."""
    corners = (56 * row + 2 * column for row in range(14) for column in range(14))
    return [(image[i] + image[i + 1] + image[i + 28] + image[i + 29]) / 4 for i in corners]


def moments(x):
    mean = math.fsum(x) / len(x)
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in x) / len(x))


def normalised(x, scale):
    mean, deviation = scale
    return [(v - mean) / deviation for v in x]


def save(path: pathlib.Path, x, y):
    numbers = array.array("f", x)
    if sys.byteorder == "big":
        numbers.byteswap()
    path.with_suffix(".f32").write_bytes(numbers.tobytes())
    path.with_suffix(".u8").write_bytes(bytes(y))
