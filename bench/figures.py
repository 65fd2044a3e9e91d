"""The one table: what was measured, beside what, against which goal; printed and stored as JSON."""

import dataclasses
import json
import os
import platform


def percentile(values, p):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(p * len(ordered)))]


@dataclasses.dataclass
class Peer:
    """The floor or the rival of a figure, from the same run."""

    name: str
    value: float

    @staticmethod
    def of(name, values):
        return Peer(name, percentile(values, 0.5))


@dataclasses.dataclass
class Figure:
    """`p50` is the figure itself where there is no distribution; `met` is None without a goal."""

    group: str
    name: str
    unit: str
    p50: float
    p99: float = None
    runs: int = 1
    peer: Peer = None
    goal: str = ""
    met: bool = None
    note: str = ""

    def ratio(self):
        return self.p50 / self.peer.value if self.peer and self.peer.value else None


def number(value):
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2}f}"


class Table:
    """Collects figures of the group that runs."""

    def __init__(self):
        self.figures = []
        self.group = ""
        self.missing = {}

    def times(self, name, values, *, peer=None, goal="", most=None, most_p99=None, note=""):
        """Times in ms; met when p50 (and p99) are at most that."""
        figure = Figure(self.group, name, "ms", percentile(values, 0.5), percentile(values, 0.99),
                        len(values), peer, goal, note=note)
        if most is not None:
            figure.met = figure.p50 <= most and (most_p99 is None or figure.p99 <= most_p99)
        self.figures.append(figure)
        return figure

    def single(self, name, value, unit, *, p99=None, peer=None, goal="", met=None, note=""):
        figure = Figure(self.group, name, unit, value, p99, 1, peer, goal, met, note)
        self.figures.append(figure)
        return figure

    def absent(self, why):
        """The group that runs has no figure in this build, or on this machine."""
        self.missing[self.group] = why

    def text(self):
        head = ("figure", "p50", "p99", "", "beside", "p50", "ratio", "goal", "met")
        rows = [head]
        for f in self.figures:
            ratio = f.ratio()
            peer = (f.peer.name, number(f.peer.value)) if f.peer else ("", "")
            rows.append((f.name, number(f.p50), number(f.p99), f.unit, *peer,
                         number(ratio) if ratio else "",
                         f.goal, {None: "", True: "yes", False: "NO"}[f.met]))
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        right = {1, 2, 5, 6}
        lines = ["  ".join(cell.rjust(w) if i in right else cell.ljust(w)
                           for i, (cell, w) in enumerate(zip(row, widths))).rstrip()
                 for row in rows]
        lines += [f"{f.name}: {f.note}" for f in self.figures if f.note]
        lines += [f"{group}: not measured: {why}" for group, why in self.missing.items()]
        return "\n".join(lines)

    def store(self, path):
        rows = [dict(dataclasses.asdict(f), ratio=f.ratio()) for f in self.figures]
        with open(path, "w", encoding="utf-8") as out:
            json.dump({"machine": machine(), "rows": rows, "missing": self.missing}, out, indent=1)


def machine():
    return {"cores": os.cpu_count(), "kernel": platform.release(), "load": os.getloadavg()}
