"""Writes the golden files of this folder with PyTorch in float64.

    python make_golden.py            # needs torch and numpy; a few seconds on one core

README.md states the format. Inputs, parameters and output gradients are not stored: they come from the
counter-based generator below, which the tests implement too.
"""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)

KEY = 0x676F6C64  # "gold"
MARGIN = 1e-3  # how far every test stays from a kink or a tie


# --- the generator ---------------------------------------------------------------------------------------


def philox(counter, key):
    """Philox4x32-10 (Salmon et al. 2011); counter: uint32 array (n, 4); key: two words."""
    low = np.uint64(0xFFFFFFFF)
    c0, c1, c2, c3 = (counter[:, i].astype(np.uint64) for i in range(4))
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (
            (p1 >> np.uint64(32)) ^ c1 ^ np.uint64(k0),
            p1 & low,
            (p0 >> np.uint64(32)) ^ c3 ^ np.uint64(k1),
            p0 & low,
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def check_philox():
    """The known answers published with Random123."""
    for counter, key, answer in [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ]:
        words = lambda text: [int(word, 16) for word in text.split()]
        got = philox(np.array([words(counter)], dtype=np.uint32), words(key))[0]
        assert got.tolist() == words(answer), (counter, got)


def values(spec):
    """The tensor that {"stream", "shape", "scale", "shift"} stands for."""
    n = math.prod(spec["shape"])
    block = np.arange((n + 3) // 4, dtype=np.uint64)
    counter = np.zeros((len(block), 4), dtype=np.uint32)
    counter[:, 0], counter[:, 1] = block & np.uint64(0xFFFFFFFF), block >> np.uint64(32)
    words = philox(counter, (KEY, spec["stream"])).reshape(-1)[:n]
    u = (words >> np.uint32(8)).astype(np.float64) * 2.0**-24
    flat = (2.0 * u - 1.0) * spec["scale"] + spec["shift"]
    return torch.from_numpy(flat).reshape(spec["shape"])


streams = itertools.count(1)  # every file starts again at 1


def spec(shape, scale=1.0, shift=0.0, stream=None):
    """Names a tensor; without a number it takes the next stream."""
    number = next(streams) if stream is None else stream
    return {"stream": number, "shape": list(shape), "scale": float(scale), "shift": float(shift)}


def clear_spec(margin, *args, **options):
    """A tensor on which `margin` says that no kink and no tie is near."""
    while True:
        s = spec(*args, **options)
        if margin(values(s)) > MARGIN:
            return s


# --- writing ---------------------------------------------------------------------------------------------


def flat(tensor):
    return tensor.detach().reshape(-1).tolist()


def summary(tensor):
    """Sum, sum of squares and the entries k (n - 1) // 7 for k = 0..7 of the flattened tensor."""
    t = tensor.detach().reshape(-1)
    entries = [t[k * (len(t) - 1) // 7].item() for k in range(8)]
    return {"sum": math.fsum(t.tolist()), "sum_of_squares": math.fsum((t * t).tolist()), "entries": entries}


def write(name, make, **more):
    global streams
    streams = itertools.count(1)
    content = {"torch": torch.__version__, "script": "make_golden.py", **more, **make()}
    lines = []
    for key, value in content.items():
        text = lambda v: json.dumps(v, separators=(",", ":"), allow_nan=False)
        if isinstance(value, list):  # one case a line
            lines.append(f'"{key}": [\n' + ",\n".join(text(v) for v in value) + "\n]")
        else:
            lines.append(f'"{key}": {text(value)}')
    path = Path(__file__).with_name(name)
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{name:28} {path.stat().st_size:7} bytes")


# --- layers ----------------------------------------------------------------------------------------------

VECTORS, IMAGES = (3, 7), (2, 3, 5, 5)

# layer and its arguments, shape of the input, and where it matters: mode, scale of the input
LAYERS = [
    (dict(layer="Linear", out_features=4, bias=True), (3, 5), {}),
    (dict(layer="Linear", out_features=3, bias=False), (5, 7), {}),
    (dict(layer="Linear", out_features=1, bias=True), (1, 9), {}),
    (dict(layer="Linear", out_features=17, bias=True), (2, 33), {}),
    (dict(layer="ReLU"), VECTORS, {}),
    (dict(layer="ReLU"), IMAGES, {}),
    (dict(layer="LeakyReLU", negative_slope=0.01), VECTORS, {}),
    (dict(layer="LeakyReLU", negative_slope=0.2), IMAGES, {}),
    (dict(layer="Tanh"), VECTORS, {}),
    (dict(layer="Tanh"), (2, 2, 3, 3), dict(scale=16)),
    (dict(layer="Sigmoid"), VECTORS, {}),
    (dict(layer="Sigmoid"), (2, 2, 3, 3), dict(scale=32)),
    (dict(layer="Identity"), VECTORS, {}),
    (dict(layer="Identity"), (2, 2, 3, 3), {}),
    (dict(layer="Softmax", dim=-1), VECTORS, dict(scale=4)),
    (dict(layer="Softmax", dim=1), VECTORS, dict(scale=64)),
    (dict(layer="Flatten"), (2, 3, 4, 5), {}),
    (dict(layer="Flatten"), VECTORS, {}),
    (dict(layer="Conv2d", out_channels=4, kernel_size=1, bias=True), (2, 3, 4, 5), {}),
    (dict(layer="Conv2d", out_channels=5, kernel_size=3, bias=True), (3, 2, 7, 6), {}),
    (dict(layer="Conv2d", out_channels=3, kernel_size=3, padding=1, bias=True), (2, 4, 5, 5), {}),
    (dict(layer="Conv2d", out_channels=4, kernel_size=[3, 2], bias=True), (2, 3, 7, 6), {}),
    (dict(layer="Conv2d", out_channels=4, kernel_size=[3, 2], stride=[2, 1], padding=[1, 0], bias=True), (3, 3, 7, 5), {}),
    (dict(layer="Conv2d", out_channels=3, kernel_size=5, stride=2, padding=[2, 1], bias=True), (2, 2, 9, 8), {}),
    (dict(layer="Conv2d", out_channels=2, kernel_size=2, stride=3, bias=True), (2, 3, 9, 7), {}),
    (dict(layer="Conv2d", out_channels=3, kernel_size=[2, 3], padding=[0, 2], bias=False), (1, 2, 5, 4), {}),
    (dict(layer="Conv2d", out_channels=17, kernel_size=3, bias=False), (1, 1, 6, 5), {}),
    (dict(layer="MaxPool2d", kernel_size=2), (2, 3, 7, 6), {}),
    (dict(layer="MaxPool2d", kernel_size=3, stride=2, padding=1), (2, 2, 7, 8), {}),
    (dict(layer="MaxPool2d", kernel_size=3, stride=1), (2, 2, 6, 5), {}),
    (dict(layer="MaxPool2d", kernel_size=[2, 3], stride=[1, 2]), (3, 1, 5, 8), {}),
    (dict(layer="BatchNorm1d"), (5, 4), {}),
    (dict(layer="BatchNorm1d", eps=0.125, momentum=0.3), (4, 3), dict(scale=2)),
    (dict(layer="BatchNorm1d"), (3, 4), dict(mode="infer")),
    (dict(layer="BatchNorm1d", eps=0.125, momentum=0.3), (1, 3), dict(mode="infer")),
    (dict(layer="BatchNorm2d"), (3, 2, 3, 4), {}),
    (dict(layer="BatchNorm2d", eps=0.125, momentum=0.3), (2, 3, 3, 3), dict(scale=2)),
    (dict(layer="BatchNorm2d"), (1, 2, 5, 3), {}),
    (dict(layer="BatchNorm2d"), (2, 3, 3, 4), dict(mode="infer")),
    (dict(layer="Dropout", p=0.5), VECTORS, dict(mode="infer")),
    (dict(layer="Dropout", p=0.2), (2, 2, 3, 3), dict(mode="infer")),
    (dict(layer="AvgPool2d", kernel_size=2), (2, 3, 7, 6), {}),
    (dict(layer="AvgPool2d", kernel_size=3, stride=2, padding=1), (2, 2, 7, 8), {}),
    (dict(layer="AvgPool2d", kernel_size=3, stride=1), (2, 2, 6, 5), {}),
    (dict(layer="AvgPool2d", kernel_size=[2, 3], stride=[1, 2], padding=[1, 0]), (3, 1, 5, 8), {}),
]
INFERRED = {"Linear": "in_features", "Conv2d": "in_channels", "BatchNorm1d": "num_features", "BatchNorm2d": "num_features"}


def kink_distance(layer):
    """How far an input of this layer is from a point without a derivative."""
    name = layer["layer"]
    if name in ("ReLU", "LeakyReLU"):
        return lambda x: x.abs().min()
    if name == "MaxPool2d":  # between the two largest of a window
        kernel = nn.modules.utils._pair(layer["kernel_size"])
        stride = nn.modules.utils._pair(layer.get("stride", kernel))
        pad = layer.get("padding", 0)

        def gap(x):
            x = F.pad(x, (pad,) * 4, value=-math.inf)
            windows = x.unfold(2, kernel[0], stride[0]).unfold(3, kernel[1], stride[1])
            top = windows.flatten(-2).topk(2).values
            return (top[..., 0] - top[..., 1]).min()

        return gap
    return lambda x: math.inf


def parameter_spec(layer, name, shape):
    if name == "running_var":
        return spec(shape, 0.5, 1.0)
    if "Norm" in layer and name == "weight":
        return spec(shape, 0.5, 1.0)
    return spec(shape, 0.5)


def layers():
    cases = []
    for layer, shape, options in LAYERS:
        name = layer["layer"]
        arguments = {key: value for key, value in layer.items() if key != "layer"}
        if name in INFERRED:
            arguments[INFERRED[name]] = shape[1]
        module = getattr(nn, name)(**arguments)
        mode = options.get("mode", "train")
        module.train(mode == "train")
        new_input = lambda: clear_spec(kink_distance(layer), shape, options.get("scale", 1))
        case = {"layer": layer, "mode": mode, "input": new_input(), "params": {}, "buffers": {}}
        buffers = {n: b for n, b in module.named_buffers() if n != "num_batches_tracked"}
        for group, tensors in (("params", dict(module.named_parameters())), ("buffers", buffers)):
            for n, tensor in tensors.items():
                case[group][n] = parameter_spec(name, n, tensor.shape)
                tensor.data.copy_(values(case[group][n]))

        applications = ["", "2"] if name.startswith("BatchNorm") and mode == "train" else [""]
        for suffix in applications:
            module.zero_grad()
            if suffix:
                case["input" + suffix] = new_input()
            x = values(case["input" + suffix]).requires_grad_()
            y = module(x)
            case["dy" + suffix] = spec(y.shape)
            y.backward(values(case["dy" + suffix]))
            case["y_shape"] = list(y.shape)
            case["y" + suffix], case["dx" + suffix] = flat(y), flat(x.grad)
            case["grads" + suffix] = {n: flat(p.grad) for n, p in module.named_parameters()}
            case["buffers_after" + suffix] = {n: flat(b) for n, b in buffers.items()}
        cases.append(case)
    return {"cases": cases}


# --- losses ----------------------------------------------------------------------------------------------


def losses():
    cases = []

    def case(loss, input, target, tensor):
        arguments = {key: value for key, value in loss.items() if key != "loss"}
        x = values(input).requires_grad_()
        value = getattr(nn, loss["loss"])(**arguments)(x, tensor)
        value.backward()
        cases.append({"loss": loss, "input": input, "target": target, "value": value.item(), "dx": flat(x.grad)})

    for shape in ((3, 4), (2, 2, 3, 3)):
        for loss in ("MSELoss", "L1Loss"):
            for reduction in ("mean", "sum"):
                input = spec(shape, 2)
                target = clear_spec(lambda t: (values(input) - t).abs().min(), shape, 2)
                case({"loss": loss, "reduction": reduction}, input, target, values(target))

    for rows, classes, scale, smoothing in ((5, 3, 2, 0.0), (4, 10, 8, 0.0), (3, 2, 64, 0.0), (5, 4, 2, 0.1)):
        for reduction in ("mean", "sum"):
            loss = {"loss": "CrossEntropyLoss", "label_smoothing": smoothing, "reduction": reduction}
            labels = [(3 * i * i + i + 1) % classes for i in range(rows)]
            case(loss, spec((rows, classes), scale), {"labels": labels}, torch.tensor(labels))
            share = values(spec((rows, classes), 0.5, 0.5))
            share = share / share.sum(1, keepdim=True)
            target = {"values": flat(share), "shape": [rows, classes]}
            case(loss, spec((rows, classes), scale), target, share)
    return {"cases": cases}


# --- optimisers, schedules, clipping ---------------------------------------------------------------------

OPTIMIZERS = [
    dict(optimizer="SGD", lr=0.1),
    dict(optimizer="SGD", lr=0.1, weight_decay=0.05),
    dict(optimizer="SGD", lr=0.1, momentum=0.9),
    dict(optimizer="SGD", lr=0.1, momentum=0.9, nesterov=True),
    dict(optimizer="SGD", lr=0.1, momentum=0.9, dampening=0.5),
    dict(optimizer="SGD", lr=0.1, momentum=0.9, weight_decay=0.05),
    dict(optimizer="SGD", lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.05),
    dict(optimizer="Adam"),
    dict(optimizer="Adam", lr=0.1, amsgrad=False),
    dict(optimizer="Adam", lr=0.1, betas=[0.8, 0.95], weight_decay=0.05),
    dict(optimizer="Adam", lr=0.1, eps=0.1),
    dict(optimizer="AdamW"),
    dict(optimizer="AdamW", lr=0.1, weight_decay=0.05),
    dict(optimizer="RMSprop"),
    dict(optimizer="RMSprop", lr=0.05, momentum=0.9),
    dict(optimizer="RMSprop", lr=0.05, alpha=0.9, centered=True),
    dict(optimizer="RMSprop", lr=0.05, momentum=0.5, centered=True, weight_decay=0.05),
    dict(optimizer="Adagrad"),
    dict(optimizer="Adagrad", lr=0.1, lr_decay=0.05, weight_decay=0.05),
    dict(optimizer="Adagrad", lr=0.1, initial_accumulator_value=0.5, eps=0.01),
]
SCHEDULES = [
    dict(schedule="StepLR", step_size=6, gamma=0.5),
    dict(schedule="CosineAnnealingLR", T_max=20, eta_min=0.001),
    dict(schedule="LinearLR", start_factor=0.1, total_iters=5),
]


def optimizers():
    cases = []
    for options in OPTIMIZERS:
        arguments = {key: value for key, value in options.items() if key != "optimizer"}
        param = spec((7,))
        p = nn.Parameter(values(param))
        grad = spec((7,), stream=next(streams))
        for _ in range(9):
            next(streams)
        optimizer = getattr(torch.optim, options["optimizer"])([p], foreach=False, **arguments)
        after = []
        for step in range(10):
            p.grad = values({**grad, "stream": grad["stream"] + step})
            optimizer.step()
            after.append(flat(p))
        cases.append({"optimizer": options, "param": param, "grad": grad, "after": after})

    schedules = []
    for options in SCHEDULES:
        arguments = {key: value for key, value in options.items() if key != "schedule"}
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
        schedule = getattr(torch.optim.lr_scheduler, options["schedule"])(optimizer, **arguments)
        rates = []
        for _ in range(20):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            schedule.step()
        schedules.append({"schedule": options, "lr": 0.1, "rates": rates})
    return {"cases": cases, "schedules": schedules}


def clip():
    cases = []
    for options in (
        dict(clip="clip_grad_norm_", max_norm=0.5, norm_type=2.0),
        dict(clip="clip_grad_norm_", max_norm=100.0, norm_type=2.0),
        dict(clip="clip_grad_norm_", max_norm=0.5, norm_type=1.0),
        dict(clip="clip_grad_norm_", max_norm=0.5, norm_type="inf"),
        dict(clip="clip_grad_value_", clip_value=0.25),
    ):
        grads = [spec((4, 3)), spec((4,)), spec((2, 1, 3, 3), 0.5)]
        parameters = [nn.Parameter(torch.zeros(g["shape"])) for g in grads]
        for p, g in zip(parameters, grads):
            p.grad = values(g)
        arguments = {key: value for key, value in options.items() if key != "clip"}
        norm = getattr(nn.utils, options["clip"])(parameters, foreach=False, **arguments)
        case = {"clip": options, "grads": grads}
        if norm is not None:
            case["total_norm"] = norm.item()
        cases.append({**case, "after": [flat(p.grad) for p in parameters]})
    return {"cases": cases}


# --- whole networks --------------------------------------------------------------------------------------


class Net1Aux(nn.Module):
    """Two towers, a head, and two auxiliary classifiers with parameters of their own."""

    TOWER = ["Conv2d 16 3", "ReLU", "MaxPool2d 2", "Conv2d 32 3", "ReLU"]
    HEAD = ["Flatten", "Linear 64", "ReLU", "Linear 32", "ReLU", "Linear 2"]
    BRANCHES = {
        "left": {"from": "pair[0]", "layers": TOWER},
        "right": {"from": "pair[1]", "layers": TOWER},
        "head": {"from": ["left", "right"], "layers": HEAD},
        "aux": {"from": ["left:1", "right:1"], "layers": HEAD},
        "aux2": {"from": ["left:2", "right:2"], "layers": HEAD},
    }
    LOSSES = {
        "target": {"of": "head", "kind": "CrossEntropyLoss", "weight": 1.0},
        "aux": {"of": "aux", "kind": "CrossEntropyLoss", "weight": 0.5},
        "aux2": {"of": "aux2", "kind": "CrossEntropyLoss", "weight": 0.25},
    }

    def __init__(self):
        super().__init__()
        tower = lambda: nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3), nn.ReLU())
        head = lambda inputs: nn.Sequential(
            nn.Flatten(), nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2)
        )
        self.left, self.right = tower(), tower()
        self.head, self.aux, self.aux2 = head(2 * 32 * 4 * 4), head(2 * 16 * 12 * 12), head(2 * 16 * 6 * 6)

    def forward(self, pair):
        towers = []
        for index, tower in enumerate((self.left, self.right)):
            layers = [pair[:, index : index + 1]]
            for layer in tower:
                layers.append(layer(layers[-1]))
            towers.append(layers[1:])
        both = lambda layer: torch.cat([tower[layer] for tower in towers], dim=1)
        return {
            "left": towers[0][-1],
            "right": towers[1][-1],
            "head": self.head(both(-1)),
            "aux": self.aux(both(1)),
            "aux2": self.aux2(both(2)),
        }


def branch_outputs(outputs):
    """The logits whole, the towers' outputs in short."""
    return {name: summary(y) if name in ("left", "right") else flat(y) for name, y in outputs.items()}


def net1_aux():
    net = Net1Aux()
    named = dict(net.named_parameters())
    params = {}
    for index, (name, p) in enumerate(named.items()):
        fan_in = named[name.replace("bias", "weight")][0].numel()
        bound = round(1024 / math.sqrt(fan_in)) / 1024
        params[name] = spec(p.shape, bound, stream=1000 + index)
        p.data.copy_(values(params[name]))
    input, labels = spec((6, 2, 14, 14)), [0, 1, 1, 0, 1, 0]
    x, target = values(input), torch.tensor(labels)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, foreach=False)
    case = {
        "name": "net1_aux",
        "branches": net.BRANCHES,
        "losses": net.LOSSES,
        "optimizer": {"optimizer": "SGD", "lr": 0.05},
        "params": params,
        "input": input,
        "labels": labels,
        "steps": [],
    }
    for step in range(10):
        outputs = net(x)
        parts = {name: F.cross_entropy(outputs[loss["of"]], target) for name, loss in net.LOSSES.items()}
        total = sum(net.LOSSES[name]["weight"] * part for name, part in parts.items())
        optimizer.zero_grad()
        total.backward()
        if step == 0:
            case["outputs_before"] = branch_outputs(outputs)
            case["first_grads"] = {name: summary(p.grad) for name, p in named.items()}
        case["steps"].append({**{name: part.item() for name, part in parts.items()}, "total": total.item()})
        optimizer.step()
    case["outputs_after"] = branch_outputs(net(x))
    case["params_after"] = {name: summary(p) for name, p in named.items()}
    return {"cases": [case]}


def r1_twin():
    """The program that the first report is modelled on: 64 x 1000 -> 100 -> ReLU -> 10, squared error summed."""
    x, y = spec((64, 1000)), spec((64, 10))
    net = nn.Sequential(nn.Linear(1000, 100, bias=False), nn.ReLU(), nn.Linear(100, 10, bias=False))
    params = {"0.weight": spec((100, 1000), 2.0**-5), "2.weight": spec((10, 100), 2.0**-3)}
    net.load_state_dict({name: values(s) for name, s in params.items()})
    inputs, targets = values(x), values(y)
    rate, losses = 1e-4, []
    for step in range(501):
        loss = F.mse_loss(net(inputs), targets, reduction="sum")
        if step % 50 == 0:
            losses.append({"step": step, "loss": loss.item()})
        if step < 500:
            net.zero_grad()
            loss.backward()
            with torch.no_grad():
                for p in net.parameters():
                    p -= rate * p.grad
    after = {name: summary(p) for name, p in net.named_parameters()}
    layers = ["Linear 100 bias=false", "ReLU", "Linear 10 bias=false"]
    loss = {"loss": "MSELoss", "reduction": "sum"}
    case = {"name": "r1_twin", "layers": layers, "loss": loss, "optimizer": {"optimizer": "SGD", "lr": rate}}
    case |= {"steps": 500, "x": x, "y": y, "params": params, "losses": losses, "params_after": after}
    return {"cases": [case]}


def disk_batchnorm_adam():
    """The disk task: 2-25-25-2 with batch norm, ten steps of Adam on batches of 8."""
    radius = 1 / math.sqrt(2 * math.pi)
    distance = lambda points: (points - 0.5).norm(dim=1)
    x = clear_spec(lambda points: (distance(points) - radius).abs().min(), (80, 2), 0.5, 0.5)
    points = values(x)
    labels = (distance(points) > radius).long()  # 0: inside, 1: outside
    # no bias before the norm: its gradient is zero, so Adam would blow up the rounding error to a step
    net = nn.Sequential(
        nn.Linear(2, 25, bias=False), nn.BatchNorm1d(25), nn.Tanh(), nn.Linear(25, 25), nn.ReLU(), nn.Linear(25, 2)
    )
    params = {}
    for name, p in net.named_parameters():
        scale, shift = {"1.weight": (0.25, 1)}.get(name, (0.5 if name.startswith("0") else 0.25, 0))
        params[name] = spec(p.shape, scale, shift)
        p.data.copy_(values(params[name]))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01, foreach=False)
    losses = []
    for step in range(10):
        batch = slice(8 * step, 8 * step + 8)
        loss = F.cross_entropy(net(points[batch]), labels[batch])
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            first = {name: summary(p.grad) for name, p in net.named_parameters()}
        optimizer.step()
    net.eval()
    case = {
        "name": "disk_batchnorm_adam",
        "layers": ["Linear 25 bias=false", "BatchNorm1d", "Tanh", "Linear 25", "ReLU", "Linear 2"],
        "loss": {"loss": "CrossEntropyLoss"},
        "optimizer": {"optimizer": "Adam", "lr": 0.01},
        "batch": 8,
        "input": x,
        "labels": labels.tolist(),
        "params": params,
        "losses": losses,
        "first_grads": first,
        "params_after": {name: summary(p) for name, p in net.named_parameters()},
        "buffers_after": {f"1.{n}": flat(net[1].get_buffer(n)) for n in ("running_mean", "running_var")},
        "outputs_after": flat(net(points[:8])),
    }
    return {"cases": [case]}


if __name__ == "__main__":
    check_philox()
    example = spec((6,), 2.0, 0.5, stream=1)
    write("layers.json", layers, generator_check={**example, "values": flat(values(example))})
    write("losses.json", losses)
    write("optimizers.json", optimizers)
    write("clip.json", clip)
    write("net1_aux.json", net1_aux)
    write("r1_twin.json", r1_twin)
    write("disk_batchnorm_adam.json", disk_batchnorm_adam)
