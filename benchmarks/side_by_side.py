"""Contestants in one run, interleaved: medians, ratios, the machine; JSON and Markdown.

Every benchmark beside this file times with `interleaved`: each repetition runs every contestant
once, in turn, so that a busy machine slows all alike; what counts are medians and the ratio of a
peer's median to ours in the same run.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
import resource
import statistics
import time
import typing

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Corpora and labelled sets; what needs them says so where they are not.
DATA = pathlib.Path(os.environ.get("BERTZOO_DATA") or ROOT.parent / "shared" / "data")


def arguments(description, **defaults):
    """Return a parser with `--quick`, `--repeats` and `--output`, which all benchmarks have."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, under 2 minutes")
    parser.add_argument("--repeats", default=defaults.get("repeats", 7), type=int)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: seconds of "
                        "all threads, where other work runs on the machine")  # fmt: skip
    parser.add_argument("--output", type=pathlib.Path, help="folder for NAME.json and NAME.md")
    return parser


class Times(typing.NamedTuple):
    """Seconds of every run, by contestant: on the clock, and of the process on all cores."""

    wall: dict[str, list[float]]
    cpu: dict[str, list[float]]

    def median(self, name, clock="wall"):
        """Return the median seconds of one contestant."""
        return statistics.median(getattr(self, clock)[name])

    def ratio(self, peer, ours, clock="wall"):
        """Return how many times as long a peer takes as we do."""
        return self.median(peer, clock) / self.median(ours, clock)


def interleaved(contestants, repeats, per_turn=1, warm_up=1):
    """Return the `Times` of contestants that run in turn.

    Args:
        contestants: Functions without arguments, by name.
        repeats: Turns of each.
        per_turn: Runs of a turn that count. With more than one, a run that does not count comes
            first: PyTorch's threads spin on for a while and would slow whoever comes next.
        warm_up: Runs of each before the first turn, that do not count.
    """
    for _ in range(warm_up):
        for run in contestants.values():
            run()
    times = Times({name: [] for name in contestants}, {name: [] for name in contestants})
    for _ in range(repeats):
        for name, run in contestants.items():
            if per_turn > 1:
                time.sleep(0.2)  # Intel's OpenMP spins for 200 ms (KMP_BLOCKTIME)
                run()
            for _ in range(per_turn):
                start, cpu_start = time.perf_counter(), time.process_time()
                run()
                times.wall[name].append(time.perf_counter() - start)
                times.cpu[name].append(time.process_time() - cpu_start)
    return times


def available(makers):
    """Return what the makers give, by name, without those whose packages are not installed."""
    found = {}
    for name, make in makers.items():
        try:
            found[name] = make()
        except ModuleNotFoundError as error:
            print(f"{name} is left out: {error.name} is not installed")
    return found


def machine():
    """Describe the processor, the cores that this process may use, the memory and the load."""
    model, flags = platform.machine(), ""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
        fields = {key.strip(): value.strip() for key, value in fields.items()}
        model, flags = fields.get("model name", model), fields.get("flags", "")
    except OSError:
        pass
    wanted = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8")
    return {
        "processor": model,
        "instructions": [name for name in wanted if name in flags.split()],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "load": [round(value, 1) for value in os.getloadavg()],
        "python": platform.python_version(),
    }


def versions(*packages):
    """Return the installed version of each package that is installed."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def peak_memory_mb():
    """Return the most memory that this process has held, in MB."""
    try:  # of this program alone: `ru_maxrss` begins with what the parent held when it forked
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        pass
    # Linux counts kilobytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def table(rows, columns):
    """Return a Markdown table of dicts: `columns` maps a key to its heading."""
    lines = ["| " + " | ".join(columns.values()) + " |"]
    lines.append("|" + "---|" * len(columns))
    for row in rows:
        cells = (row.get(key, "") for key in columns)
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(lines)


def report(name, title, rows, columns, setting, output=None):
    """Print a table; with `output`, write `name.json` and `name.md` there."""
    text = table(rows, columns)
    described = ", ".join(f"{key} {value}" for key, value in setting.get("versions", {}).items())
    where = machine()
    note = (
        f"{where['processor']}, {where['cores']} cores ({', '.join(where['instructions'])}), "
        f"load {where['load'][0]}; {described}."
    )
    print(f"\n{title}\n\n{text}\n\n{note}", flush=True)
    if output is None:
        return
    output.mkdir(parents=True, exist_ok=True)
    content = {"title": title, "setting": setting, "machine": where, "rows": rows}
    (output / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    (output / f"{name}.md").write_text(f"{title}\n\n{text}\n\n{note}\n", "utf-8")
    print(f"written: {output / name}.json and .md")


def _cell(value):
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)
