"""JAX. Modes: `jit`: a step is one call, parameters donated; `scan`: an epoch (of W1 150, of W4 four, of a round all of it)
is one call.
With `-patches`, convolutions are products of gathered patches instead of `lax.conv_general_dilated`."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
import jax
import jax.numpy as jnp
from common import EPOCHS, Task
from jax import lax

TASK = Task()
SHAPE = TASK.shape
FORM, _, PATCHES = TASK.mode.partition("-")


def uniform(key, shape, fan_in):
    return jax.random.uniform(key, shape, minval=-(fan_in**-0.5), maxval=fan_in**-0.5)


def parameters():
    keys = iter(jax.random.split(jax.random.PRNGKey(1), 64))

    def layer(shape, fan_in):
        return uniform(next(keys), shape, fan_in), uniform(next(keys), shape[-1:], fan_in)

    def tower():
        return [layer((k, k, i, o), i * k * k) for i, o, k, _, _ in SHAPE.towers]

    return [tower() for _ in range(SHAPE.towers_made)], [layer((i, o), i) for i, o in zip(SHAPE.head, SHAPE.head[1:])]


def conv(x, w, padding):
    kernel, _, inputs, outputs = w.shape
    if not PATCHES:
        sides = [(padding, padding)] * 2
        return lax.conv_general_dilated(x, w, (1, 1), sides, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    high, wide = (n - kernel + 1 for n in x.shape[1:3])
    taps = [x[:, r : r + high, c : c + wide] for r in range(kernel) for c in range(kernel)]
    rows = jnp.concatenate(taps, -1).reshape(-1, kernel * kernel * inputs)
    return (rows @ w.reshape(-1, outputs)).reshape(-1, high, wide, outputs)


def pool(x):
    n, high, wide, c = x.shape
    return x[:, : high // 2 * 2, : wide // 2 * 2].reshape(n, high // 2, 2, wide // 2, 2, c).max((2, 4))


def tower(layers, x):
    for (w, b), (*_, padding, pooled) in zip(layers, SHAPE.towers):
        x = jax.nn.relu(conv(x, w, padding) + b)
        x = pool(x) if pooled else x
    return x.reshape(len(x), -1)


def forward(p, x):
    towers, head = p
    if towers:
        x = jnp.concatenate([tower(towers[0], x[:, 0, ..., None]), tower(towers[-1], x[:, 1, ..., None])], 1)
    last = len(head) - 1
    for n, (w, b) in enumerate(head):
        x = x @ w + b
        if n < last:
            x = jnp.tanh(x) if SHAPE.disk and n == last - 1 else jax.nn.relu(x)
    return x


def loss(p, x, y):
    out = forward(p, x)
    if SHAPE.disk:
        return ((out - jax.nn.one_hot(y, 2)) ** 2).mean()
    return -jnp.take_along_axis(jax.nn.log_softmax(out), y[:, None], 1).mean()


def step(p, x, y):
    return jax.tree.map(lambda p, g: p - SHAPE.rate * g, p, jax.grad(loss)(p, x, y))


def epoch(p, xs, ys):
    return lax.scan(lambda p, batch: (step(p, *batch), None), p, (xs, ys))[0]


def right(p, x, y, part):
    """The share of right predictions, made in parts of so many samples."""
    x, y = x.reshape(-1, part, *x.shape[1:]), y.reshape(-1, part)
    return lax.map(lambda xy: (forward(p, xy[0]).argmax(1) == xy[1]).mean(), (x, y)).mean()


def main():
    p = parameters()
    numbers = sum(a.size for a in jax.tree.leaves(p))
    wait = jax.block_until_ready
    xt, yt = map(jnp.asarray, TASK.test)
    if TASK.predicts:
        return predict(p, xt[: TASK.predicts], numbers)
    used = TASK.steps * SHAPE.batch
    x, y = (jnp.asarray(a[:used]) for a in TASK.train)
    xs, ys = (a.reshape(TASK.steps, SHAPE.batch, *a.shape[1:]) for a in (x, y))
    batches = list(zip(xs, ys))
    value = jax.jit(loss)
    before = float(value(p, *batches[0]))
    one = jax.jit(step, donate_argnums=0)
    state = [wait(one(p, *batches[0]))]
    TASK.first()

    def losses():
        return [before, float(value(state[0], *batches[0]))]

    def steps():
        p = state[0]
        for a, b in batches:
            p = one(p, a, b)
        state[0] = p

    if not TASK.round:
        if FORM == "jit":
            return TASK.done(lambda: (steps(), wait(state[0])), TASK.steps, numbers, loss=losses)
        epochs = 150 if SHAPE.disk else 4 if TASK.steps == 1 else 1

        def all_epochs(p, xs, ys):
            return lax.scan(lambda p, _: (epoch(p, xs, ys), None), p, length=epochs)[0]

        whole = jax.jit(all_epochs, donate_argnums=0)

        def scan():
            state[0] = wait(whole(state[0], xs, ys))

        return TASK.done(scan, epochs * TASK.steps, numbers, loss=losses)

    sizes = {}

    def accuracies(part):
        both = jax.jit(lambda p, *a: (right(p, *a[:2], part), right(p, *a[2:], part)))

        def run():
            return wait(both(state[0], x, y, xt, yt))

        sizes[run] = part
        return run

    both, accuracy = TASK.fastest(accuracies), []
    part = sizes[both]
    if FORM == "jit":

        def round_():
            for _ in range(EPOCHS):
                steps()
                accuracy[:] = [float(a) for a in both()][1:]

    else:

        def all_epochs(p, xs, ys, *judged):
            def one(p, _):
                p = epoch(p, xs, ys)
                return p, (right(p, *judged[:2], part), right(p, *judged[2:], part))

            return lax.scan(one, p, length=EPOCHS)

        whole = jax.jit(all_epochs, donate_argnums=0)

        def round_():
            state[0], (_, on_test) = wait(whole(state[0], xs, ys, x, y, xt, yt))
            accuracy[:] = [float(on_test[-1])]

    TASK.done(round_, 1, numbers, loss=losses, accuracy=lambda: accuracy[0])


def predict(p, x, numbers):
    f = jax.jit(forward)

    def make(n):
        parts = [x[i : i + n] for i in range(0, len(x), n)]
        return lambda: jax.block_until_ready([f(p, part) for part in parts])

    run = TASK.fastest(make, len(x))
    run()
    TASK.first()
    TASK.done(run, 1, numbers)


main()
