"""PyTorch. Modes: `eager`; `compiled`: forward, loss, backward and update as one compiled function."""

import torch
import torch.nn.functional as F
from common import EPOCHS, Task
from torch import nn


def tower(convs):
    layers = []
    for i, o, kernel, padding, pool in convs:
        layers += [nn.Conv2d(i, o, kernel, padding=padding), nn.ReLU()] + [nn.MaxPool2d(2)] * pool
    return nn.Sequential(*layers, nn.Flatten())


class Net(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.towers = nn.ModuleList(tower(shape.towers) for _ in range(shape.towers_made))
        layers, last = [], len(shape.head) - 2
        for n, (i, o) in enumerate(zip(shape.head, shape.head[1:])):
            between = [] if n == last else [nn.Tanh()] if shape.disk and n == last - 1 else [nn.ReLU()]
            layers += [nn.Linear(i, o), *between]
        self.head = nn.Sequential(*layers)

    def forward(self, x):
        if self.towers:
            x = torch.cat([self.towers[0](x[:, :1]), self.towers[-1](x[:, 1:])], 1)
        return self.head(x)


def eager_step(net, loss_of, rate):
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)

    def step(x, y):
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def compiled_step(net, loss_of, rate):
    values = {name: p.detach() for name, p in net.named_parameters()}

    def loss(values, x, y):
        return loss_of(torch.func.functional_call(net, values, (x,)), y)

    @torch.compile(dynamic=False)
    def step(x, y):
        gradients, value = torch.func.grad_and_value(loss)(values, x, y)
        for name, gradient in gradients.items():
            values[name].sub_(gradient, alpha=rate)  # in the memory of the network's parameters
        return value

    return step


def main():
    task = Task()
    shape, compiled = task.shape, task.mode == "compiled"
    torch.set_num_threads(task.threads)
    torch.manual_seed(1)
    net = Net(shape)
    parameters = sum(p.numel() for p in net.parameters())
    infer = torch.compile(net, dynamic=False) if compiled else net

    def predictions(x):
        """A function for parts of n that predicts all of x."""

        def make(n):
            parts = x.split(n)

            def run():
                with torch.inference_mode():
                    return [infer(part) for part in parts]

            return run

        return make

    test = torch.tensor(task.test[0])
    if task.predicts:
        return predict(task, predictions(test[: task.predicts].contiguous()), parameters)
    loss_of = F.mse_loss if shape.disk else F.cross_entropy
    x, classes = map(torch.tensor, task.train)
    y = F.one_hot(classes, 2).float() if shape.disk else classes
    batches = list(zip(task.cut(x), task.cut(y)))
    step = (compiled_step if compiled else eager_step)(net, loss_of, shape.rate)
    before = step(*batches[0]).item()
    task.first()

    def epoch():
        for a, b in batches:
            step(a, b)

    def loss():
        return [before, step(*batches[0]).item()]

    if not task.round:
        return task.done(epoch, len(batches), parameters, loss=loss)
    on_train, on_test = task.fastest(predictions(x)), task.fastest(predictions(test))
    truth, accuracy = torch.tensor(task.test[1]), []

    def right(outputs, truth):
        return (torch.cat(outputs).argmax(1) == truth).float().mean().item()

    def round_():
        for _ in range(EPOCHS):
            epoch()
            right(on_train(), classes)
            accuracy[:] = [right(on_test(), truth)]

    task.done(round_, 1, parameters, loss=loss, accuracy=lambda: accuracy[0])


def predict(task, make, parameters):
    run = task.fastest(make, task.predicts)
    run()
    task.first()
    task.done(run, 1, parameters)


main()
