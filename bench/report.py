"""RESULTS.md, the README's table and the history from the raw measurements of `bench/run`."""

import json
import pathlib
import statistics

ABOUT = {
    "W1": "disk 2–25–25–25–2, a step of 20",
    "W2": "net1, a step of 50 pairs",
    "W3": "net2, a step of 50 pairs",
    "round": "net1, 25 epochs of 1000 pairs, with accuracies",
    "W4": "net1_deep, a step of 50 pairs",
    "W5": "784–1024–1024–10, a step of 256",
    "W6-disk-1": "disk, 1 prediction",
    "W6-disk-1000": "disk, 1000 predictions",
    "W6-net1-1": "net1, 1 prediction",
    "W6-net1-1000": "net1, 1000 predictions",
    "start": "start of the process to its end",
    "first-step": "start of the process to the end of the first step of net1",
    "memory": "peak resident memory of a training of net1",
}
# How many times faster than the fastest peer Gradus is to be, and how long it may take with 1 and 2 threads.
RATIOS = {"W1": 5, "W2": 4, "W3": 4, "round": 4, "W4": 1.2, "W5": 1.1}
TIMES = {
    "W1": {1: 2.8e-6, 2: 1.4e-6},
    "W2": {1: 0.60e-3, 2: 0.35e-3},
    "W3": {1: 0.60e-3, 2: 0.35e-3},
    "round": {1: 0.55, 2: 0.30},
    "W4": {1: 92e-3, 2: 50e-3},
    "W5": {1: 15e-3, 2: 8e-3},
    "W6-disk-1": {1: 0.4e-6},
    "W6-disk-1000": {1: 25e-6},
    "W6-net1-1": {1: 10e-6},
    "W6-net1-1000": {1: 5e-3, 2: 2.8e-3},
    "start": {1: 5e-3},
    "first-step": {1: 60e-3},
}
MEMORY = 25
# What stands in the way of the goals that are missed, written by hand from profiles.
MISSES = pathlib.Path(__file__).with_name("misses.md")
NET1 = 77_346
PARAMETERS = {"W1": 1427, "W2": NET1, "W3": 72_546, "round": NET1, "W4": 3_378_242, "W5": 1_863_690}
PARAMETERS |= {"W6-disk-1": 1427, "W6-disk-1000": 1427, "W6-net1-1": NET1, "W6-net1-1000": NET1, "memory": NET1}
ACCURACY = (0.75, 0.95)
NAMES = {
    "gradus": "Gradus",
    "torch": "PyTorch",
    "jax": "JAX",
    "sklearn": "scikit-learn",
    "burn": "burn",
    "candle": "candle",
    "dfdx": "dfdx",
}
POOLED = ["W2", "W3", "round", "W4"]
# Not the same work: shown, but not the peer to beat.
DIFFERS = {("candle", w): "its gradient of a 2×2 maximum is a quarter of the right one" for w in POOLED}
DIFFERS |= {
    ("sklearn", w): "another network: ReLU in all hidden layers, one logistic output, log-loss"
    for w in ("W1", "W6-disk-1", "W6-disk-1000")
}

CONDITIONS = """\
All in 32-bit floating point on the CPU. A step is forward, loss, backward and SGD's update. Gradus's includes the copy of the
batch; the peers find theirs cut in advance, which is to their advantage. One process per framework, mode, workload and number of
threads, pinned to as many cores as threads; before each process of a peer Gradus is measured, and a ratio is the median of the
ratios of such neighbours: numbers of different runs, or of other machines, are not compared. The peer to beat is the fastest mode
of the fastest peer that does the same work.

- PyTorch: `eager`; `compiled`: forward, loss, backward and update in one `torch.compile`; predictions and accuracies in
  `inference_mode`. The first call, which compiles, does not count.
- JAX: `jit`: a call a step, parameters donated; `scan`: an epoch (of W1 150 epochs, of W4 four steps, of a round all
  of it) in one call; `patches`: convolutions as products of gathered patches. Compilation does not count.
- burn with its CPU backend flex (`simd`, `rayon`; `x86-v4` where the processor has AVX-512), candle and dfdx, built for this very
  processor (`target-cpu=native`, thin LTO). Gradus is built for any processor of its kind.
- `N side by side`: N processes with a thread each, where N threads are measured; the time is what one of them takes from it. So
  Gradus does W1, the round and W6 with several threads.
- PyTorch and JAX predict 1000 samples, and those of the accuracies, in parts of 50, 250 or 1000, whichever they are faster with.
- A time is the median over the passes of a pass's median; ± is half of what lies between the fastest and the slowest pass.
- The data are the same for all peers; Gradus draws its own from the same digits. The peers' steps of W4, long and few, go over
  one batch. Checked of each peer: the number of parameters, that the loss of the first batch falls, and that the accuracy on
  test samples after rounds is plausible.
- The memory of a peer is that of its process for the round. The time to the first step is with caches of compiled functions filled, of Gradus until the process has ended: it trains one
  step, tests it and prints. The start of a peer in Python is that of the interpreter and the import.
"""


def time(seconds):
    """`3.6 µs`."""
    for scale, unit in ((1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms"), (1, "s")):
        if seconds < 999.5 * scale or unit == "s":
            return f"{three(seconds / scale)} {unit}"


def three(x):
    """Three digits that count."""
    return f"{x:.0f}" if x >= 99.95 else f"{x:.1f}" if x >= 9.995 else f"{x:.2f}"


def table(head, rows, right=1):
    """In Markdown; columns from the second on are at the right."""
    marks = ["---"] * right + ["--:"] * (len(head) - right)
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, marks, *rows]) + "\n"


class Results:
    """What was measured."""

    def __init__(self, path):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        self.runs = [r for r in rows if r["kind"] == "run"]
        self.passes, done = [], 0
        for r in rows:
            done += r["kind"] == "measured"
            if r["kind"] == "pass":
                self.passes.append({**r, "measurements": done})
                done = 0
        self.missing = {r["peer"]: r["why"] for r in rows if r["kind"] == "missing"}
        self.measured = [r for r in rows if r["kind"] == "measured"]
        self.interrupted = any(r["kind"] == "interrupted" for r in rows)

    def of(self, workload, threads, *who):
        """The rows of Gradus, or of a (peer, mode, side)."""
        who = who or ("gradus", "", 1)
        key = ("workload", "threads", "peer", "mode", "side")
        return [r for r in self.measured if tuple(r[k] for k in key) == (workload, threads, *who)]

    def done(self, *key):
        return [r for r in self.of(*key) if "error" not in r]

    def keys(self):
        """(workload, threads) in the order of the list of workloads."""
        there = {(r["workload"], r["threads"]) for r in self.measured}
        return sorted(there, key=lambda k: (k[1], list(ABOUT).index(k[0])))

    def peers(self, workload, threads):
        """Every (peer, mode, side) that was tried."""
        tried = [(r["peer"], r["mode"], r["side"]) for r in self.measured if (r["workload"], r["threads"]) == (workload, threads)]
        return sorted((who for who in set(tried) if who[0] != "gradus"), key=lambda w: (list(NAMES).index(w[0]), w[1], w[2]))

    def value(self, *key, of="seconds"):
        values = [r[of] for r in self.done(*key) if r.get(of) is not None]
        return statistics.median(values) if values else None

    def ratio(self, workload, threads, who):
        """How many times a peer takes what Gradus takes beside it."""
        pairs = [(r["seconds"], r["gradus"]) for r in self.done(workload, threads, *who) if r.get("gradus")]
        return statistics.median(a / b for a, b in pairs) if pairs else None

    def fastest(self, workload, threads):
        """The peer to beat and its ratio."""
        fair = [w for w in self.peers(workload, threads) if not self.doubts(workload, threads, w)]
        ratios = [(r, w) for w in fair if (r := self.ratio(workload, threads, w)) is not None]
        return min(ratios, default=(None, None))

    def doubts(self, workload, threads, who):
        """Why a peer's work is not the same; empty when it is."""
        rows, found = self.done(workload, threads, *who), []
        if (who[0], workload) in DIFFERS:
            found.append(DIFFERS[who[0], workload])
        elif any(r.get("parameters") not in (None, PARAMETERS.get(workload)) for r in rows):
            found.append("another number of parameters")
        if any(not r["loss"][1] < r["loss"][0] for r in rows if r.get("loss")):
            found.append("the loss does not fall")
        accuracies = [r["accuracy"] for r in rows if r.get("accuracy") is not None]
        if any(not ACCURACY[0] <= a <= ACCURACY[1] for a in accuracies):
            found.append("an accuracy that is not plausible")
        return found

    # What is written

    def document(self):
        parts = ["# Speed beside the peers", "", "Written by `bench/run`; " + self.what(), "", *self.conditions()]
        for threads in sorted({t for _, t in self.keys()}):
            many = "1 thread" if threads == 1 else f"{threads} threads"
            parts += [f"## {many}", "", self.workloads(threads)]
        parts += ["## Start and memory", "", self.processes()] if self.processes() else []
        parts += ["## Where a goal is missed", "", MISSES.read_text()] if MISSES.exists() else []
        parts += ["## Every measurement", "", self.everything(), "## How it was measured", "", CONDITIONS]
        return "\n".join(parts)

    def what(self):
        run = self.runs[-1]
        changed = ", with changes" if run["commit"]["changed"] else ""
        ended = "; interrupted, so not whole" if self.interrupted else ""
        return f"commit {run['commit']['hash']}{changed}, {run['date']}{ended}."

    def conditions(self):
        run = self.runs[-1]
        machine = run["machine"]
        named = {name: version for r in self.runs for name, version in r["versions"].items()}
        versions = ", ".join(f"{NAMES.get(name, name)} {version}" for name, version in named.items())
        lines = [
            f"- Machine: {machine['processor']}, {machine['cores']} cores used, {machine['memory_gib']} GiB, "
            f"{machine['system']}; {', '.join(machine['instructions'])}",
            f"- Versions: {versions}",
            f"- Peak: {self.peaks()}",
        ]
        for number, p in enumerate(self.passes, 1):
            warning = "**busy: its times are worth little**, " if p["foreign"] > 0.1 or p["stolen"] > 0.1 else ""
            lines.append(
                f"- Pass {number}, {p['measurements']} measurements: {warning}load average {p['before']:.2f} before and {p['after']:.2f} after (our own processes "
                f"included); other processes took {p['foreign']:.2f} cores, the host {p['stolen']:.2f}"
            )
        lines += [f"- {NAMES[peer]} is missing: {why}" for peer, why in self.missing.items()]
        return [*lines, ""]

    def peaks(self):
        told = []
        for threads in sorted({t for _, t in self.keys()}):
            values = [r["peak_gflops"] for r in self.measured if r["threads"] == threads and r.get("peak_gflops")]
            sets = {r["instructions"] for r in self.measured if r.get("instructions")}
            if values:
                many = "1 thread" if threads == 1 else f"{threads} threads"
                told.append(f"{three(statistics.median(values))} GFLOP/s ({three(min(values))}–{three(max(values))}) with {many}")
        return f"fused multiply-adds on registers alone, {', '.join(sorted(sets))}: {', '.join(told)}" if told else "not measured"

    def workloads(self, threads):
        head = ["work", "", "Gradus", "GFLOP/s", "of peak", "fastest peer", "", "times as fast", "goals"]
        rows = [self.row(w, threads) for w, t in self.keys() if t == threads and w not in ("start", "first-step", "memory")]
        return table(head, rows, 2)

    def row(self, workload, threads):
        own = self.value(workload, threads)
        ratio, who = self.fastest(workload, threads)
        speed, share = (self.value(workload, threads, of=key) for key in ("gflops", "share_of_peak"))
        beaten = [f"{self.name(who)}", time(self.value(workload, threads, *who))] if who else ["–", "–"]
        return [
            workload,
            ABOUT[workload],
            f"{time(own)} {self.around(workload, threads)}".strip() if own else self.failure(workload, threads),
            three(speed) if speed else "–",
            f"{100 * share:.0f} %" if share else "–",
            *beaten,
            three(ratio) if ratio else "–",
            self.goals(workload, threads, own, ratio),
        ]

    def goals(self, workload, threads, own, ratio):
        judged = []
        if workload in RATIOS and ratio is not None:
            judged.append((f"{RATIOS[workload]:g}×", ratio >= RATIOS[workload]))
        if threads in TIMES.get(workload, {}) and own is not None:
            judged.append((time(TIMES[workload][threads]), own <= TIMES[workload][threads]))
        return "; ".join(f"{goal} {'reached' if met else '**missed**'}" for goal, met in judged) or "–"

    def name(self, who):
        peer, mode, side = who
        mode = " ".join([mode.replace("-", ", "), f"{side} side by side" if side > 1 else ""]).strip()
        return NAMES[peer] + (f" ({mode})" if mode else "")

    def around(self, *key):
        """Half of what lies between the fastest and the slowest pass."""
        times = [r["seconds"] for r in self.done(*key)]
        return f"± {50 * (max(times) - min(times)) / statistics.median(times):.0f} %" if len(times) > 1 else ""

    def failure(self, *key):
        rows = self.of(*key)
        return f"failed: {rows[-1]['error']}".replace("|", "/").replace("\n", " ") if rows else "–"

    def processes(self):
        rows = []
        for workload in ("start", "first-step", "memory"):
            if not self.of(workload, 1):
                continue
            of, show = ("peak_mib", lambda x: f"{x:.0f} MiB") if workload == "memory" else ("seconds", time)
            own = self.value(workload, 1, of=of)
            goal = MEMORY if workload == "memory" else TIMES[workload][1]
            least = {}
            there = "round" if workload == "memory" else workload
            for who in self.peers(there, 1):
                if value := self.value(there, 1, *who, of=of):
                    least[who[0]] = min(value, least.get(who[0], value))
            judged = "–" if own is None else f"{show(goal)} {'reached' if own <= goal else '**missed**'}"
            peers = [show(least[p]) if p in least else "–" for p in NAMES if p != "gradus"]
            rows.append([ABOUT[workload], show(own) if own else self.failure(workload, 1), judged, *peers])
        return rows and table(["", "Gradus", "goal", *list(NAMES.values())[1:]], rows)

    def everything(self):
        rows = []
        for workload, threads in self.keys():
            for who in [("gradus", "", 1), *self.peers(workload, threads)]:
                done, key = self.done(workload, threads, *who), (workload, threads, *who)
                cells = [workload, str(threads), self.name(who)]
                if not done:
                    rows.append([*cells, self.failure(*key), "", "", "", ""])
                    continue
                seconds, memory = self.value(*key), self.value(*key, of="peak_mib")
                ratio = self.ratio(workload, threads, who)
                rows.append([
                    *cells,
                    f"{time(seconds)} {self.around(*key)}".strip() if seconds else "–",
                    str(len(done)),
                    three(ratio) if ratio else "–",
                    f"{memory:.0f} MiB" if memory else "–",
                    self.remarks(*key),
                ])
        head = ["work", "threads", "framework", "time", "measurements", "× Gradus", "memory", "remarks"]
        return table(head, rows, 3)

    def remarks(self, workload, threads, *who):
        rows = self.done(workload, threads, *who)
        told = self.doubts(workload, threads, who)
        if losses := [r["loss"] for r in rows if r.get("loss")]:
            told.append(f"loss {losses[0][0]:.3f} → {losses[0][1]:.3f}")
        if accuracies := [r["accuracy"] for r in rows if r.get("accuracy") is not None]:
            told.append(f"accuracy {100 * statistics.median(accuracies):.1f} %")
        if allocations := [r["allocations"] for r in rows if r.get("allocations") is not None]:
            told.append(f"{max(allocations)} allocations")
        if errors := [r for r in self.of(workload, threads, *who) if "error" in r]:
            told.append(f"failed {len(errors)} times")
        return "; ".join(told)

    def fill_readme(self, path):
        """The short table, between its two marks."""
        begin, end = "<!-- bench -->", "<!-- /bench -->"
        text = path.read_text()
        if begin not in text or end not in text:
            return
        before, rest = text.split(begin, 1)
        path.write_text(before + begin + "\n" + self.short() + end + rest.split(end, 1)[1])

    def short(self):
        rows = []
        for workload, threads in self.keys():
            ratio, who = self.fastest(workload, threads)
            own = self.value(workload, threads)
            if threads == 1 and who and own and workload != "start" and workload != "first-step":
                share = self.value(workload, threads, of="share_of_peak")
                peer = f"{time(self.value(workload, threads, *who))}, {self.name(who)}"
                rows.append([ABOUT[workload], time(own), f"{100 * share:.0f} %" if share else "–", peer, three(ratio)])
        run = self.runs[-1]
        return table(["1 thread", "Gradus", "of peak", "fastest peer", "times as fast"], rows) + (
            f"\n{run['machine']['processor']}, commit {run['commit']['hash']}, {run['date'][:10]}.\n"
        )

    def add_to_history(self, path):
        """A line of the measured commit, in place of an older one. What was done, in words."""
        run = self.runs[-1]
        if run["commit"]["changed"]:
            return "files differ from the commit: no line in history.jsonl"
        seconds, peak = {}, {}
        for workload, threads in self.keys():
            if (own := self.value(workload, threads)) is not None:
                seconds.setdefault(workload, {})[str(threads)] = float(f"{own:.4g}")
            if (gflops := self.value(workload, threads, of="peak_gflops")) is not None:
                peak[str(threads)] = max(peak.get(str(threads), 0), float(f"{gflops:.4g}"))
        line = {"commit": run["commit"]["hash"], "date": run["date"][:10], "machine": run["machine"]["processor"]}
        line |= {"peak_gflops": peak, "seconds": seconds}
        if (memory := self.value("memory", 1, of="peak_mib")) is not None:
            line["memory_mib"] = round(memory, 1)
        old = [json.loads(l) for l in path.read_text().splitlines()] if path.exists() else []
        old = [l for l in old if (l["commit"], l["machine"]) != (line["commit"], line["machine"])]
        path.write_text("".join(json.dumps(l, ensure_ascii=False) + "\n" for l in [*old, line]))
        return f"a line in history.jsonl for {line['commit']}"
