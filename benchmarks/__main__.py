"""Run all measurements, or those that the arguments name, and print what was reached of what was aimed at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence

TARGETS = {
    "own sustained": ("producer: own cost at full speed, × QueueHandler", 0.5, True),
    "own bursts": ("producer: own cost in bursts, × QueueHandler", 0.5, True),
    "cpu sustained": ("producer: CPU at full speed, × QueueHandler", 1.0, True),
    "cpu bursts": ("producer: CPU in bursts, × QueueHandler", 1.0, True),
    "threads": ("producer: 4 threads, × QueueHandler", 0.5, True),
    "p99.9": ("producer: p99.9, seconds", 500e-6, True),
    "throughput": ("delivery: events/s, × Session().post", 1.8, False),
    "cpu": ("delivery: CPU, × Session().post", 0.55, True),
    "import": ("import, × requests", 0.5, True),
    "memory": ("memory: MB more", 150.0, True),
    "alert": ("scarcity: latest alert, seconds", 1.0, True),
    "storm memory": ("scarcity: MB more", 64.0, True),
    "refused": ("scarcity: requests refused", 2.0, True),
    "hang": ("scarcity: p99 of a call, × when answered", 2.0, True),
    "spool": ("spool: own cost, × memory", 5.0, True),
    "spool file": ("spool: own cost, × FileHandler", 1.0, True),
    "recovery": ("spool: 100,000 records taken over, seconds", 30.0, True),
    "inbox rate": ("inbox: events/s on one core, page open", 1_000.0, False),
    "inbox paint": ("inbox: 100,000 events, seconds to the page", 1.0, True),
    "inbox search": ("inbox: 100,000 events, seconds to search", 0.1, True),
    "middleware": ("web: middleware, seconds more for a request", 20e-6, True),
    "proxy": ("web: events/s of browsers on one core", 1_000.0, False),
    "kinds": ("kinds: records/s of known kinds", 150_000.0, False),
    "f-strings": ("kinds: f-strings/s with new numbers each", 50_000.0, False),
    "id kinds": ("kinds: f-strings/s with new ids each", 50_000.0, False),
    "folded alerts": ("folding: records/s of known kinds", 150_000.0, False),
    "folded f-strings": ("folding: f-strings/s with new ids each", 50_000.0, False),
    "new kind": ("outbreak: a new kind in a storm, seconds", 0.05, True),
    "new kind p99": ("outbreak: the same, p99", 1.0, True),
    "storm pushes": ("outbreak: pushes of a storm", 1.0, True),
    "folded events": ("folding: events/s by name", 150_000.0, False),
}


MEASUREMENTS = (
    "memory",
    "imports",
    "delivery",
    "producer",
    "spool",
    "inbox",
    "web",
    "kinds",
    "folding",
    "outbreak",
    "scarcity",
)


def main(names: Sequence[str]) -> None:
    """Measure in a process each, so that none disturbs another, and print a table.

    Args:
        names: what to measure, of `MEASUREMENTS`; all of it when empty.
    """
    if unknown := set(names) - set(MEASUREMENTS):
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; use {', '.join(MEASUREMENTS)}")
    measured: dict[str, float] = {}
    for name in names or MEASUREMENTS:
        print(name, flush=True)
        # ended without exit hooks: those of the peers would wait for servers that are not there
        code = f"import json, os, benchmarks.{name} as b; print(json.dumps(b.main()), flush=True); os._exit(0)"
        done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
        *lines, last = done.stdout.splitlines()
        print("\n".join(lines), flush=True)
        measured.update(json.loads(last))
    print(f"\n{'figure':48} {'target':>10} {'measured':>10}")
    for key, (title, target, at_most) in TARGETS.items():
        if names and key not in measured:
            continue
        value = measured[key]
        met = value <= target if at_most else value >= target
        print(f"{title:48} {'≤' if at_most else '≥'} {target:8.4g} {value:10.4g}  {'met' if met else 'NOT MET'}")
    print(f"\nPython {sys.version.split()[0]}, {os.cpu_count()} cores")


if __name__ == "__main__":
    main(sys.argv[1:])
