"""scikit-learn's MLPClassifier: the wide network, and the nearest to the disk's: ReLU in all hidden layers, one logistic output
with log-loss. An epoch is one call, which shuffles too."""

import warnings

from common import Task
from sklearn.neural_network import MLPClassifier


def main():
    task = Task()
    if task.name not in ("W1", "W5", "W6-disk-1", "W6-disk-1000"):
        print('{"event": "cannot"}')
        return
    warnings.filterwarnings("ignore")
    shape, (x, y) = task.shape, task.train
    hidden = tuple(shape.head[1:-1])
    net = MLPClassifier(hidden, solver="sgd", momentum=0, alpha=0, batch_size=shape.batch, learning_rate_init=shape.rate)
    net.set_params(random_state=1, learning_rate="constant")
    net.partial_fit(x[: shape.batch], y[: shape.batch], classes=sorted(set(y)))
    before, numbers = net.loss_, sum(a.size for a in net.coefs_ + net.intercepts_)
    if task.predicts:
        samples = task.test[0][: task.predicts]
        run = lambda: net.predict_proba(samples)  # noqa: E731
        task.first()
        return task.done(run, 1, numbers)
    task.first()
    task.done(lambda: net.partial_fit(x, y), task.steps, numbers, loss=lambda: [float(before), float(net.loss_)])


main()
