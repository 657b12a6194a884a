"""Twenty processes that share a key through a relay: how soon alerts arrive, and what the server refuses.

`python -m benchmarks.fleet_processes` takes a minute and a half; it needs redis-server. Each process logs ten product
events a second, together 120 times what the server allows, and every second process one alert of a new kind.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time

import requests

from benchmarks import outbreak
from benchmarks.fleet import redis_server

PROCESSES = 20
RECORDS = 150
WINDOW = 60.0
PROGRAM = f"""
import logging, random, sys, time
from emitkit_logging import EmitKitHandler
number, url = int(sys.argv[1]), sys.argv[2]
log = logging.getLogger("app")
log.setLevel(logging.INFO)
log.addHandler(EmitKitHandler(relay=url, shutdown_timeout=10.0))
alert_at = random.Random(number).randrange(20, 140)
for each in range({RECORDS}):
    log.info("row imported", extra={{"event": f"row_{{each % 10}}", "number": each}})
    if each == alert_at and number % 2:
        log.error("it failed", extra={{"event": f"failed_{{number}}", "at": time.time()}})
    time.sleep(0.1)
"""


def main() -> None:
    """Print the figures."""
    with redis_server() as url, outbreak.running("current") as (server, key):
        command = [sys.executable, "-m", "emitkit_logging", "relay", "--redis", url]
        environment = {**os.environ, "EMITKIT_API_KEY": key, "EMITKIT_BASE_URL": server}
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as relay:
            program = [sys.executable, "-c", PROGRAM]
            made = [subprocess.Popen([*program, str(number), url]) for number in range(PROCESSES)]
            for process in made:
                process.wait()
            time.sleep(WINDOW)  # the last folds go when the next window begins
            status = subprocess.run([*command, "--status", "--json"], env=environment, capture_output=True, check=True)
            relay.terminate()
        events = requests.get(f"{server}/_inbox/events", timeout=30).json()["events"]
    metadata = [event["metadata"] for event in events]
    delays = [
        outbreak.seconds(event["createdAt"]) - event["metadata"]["at"] for event in events if "at" in event["metadata"]
    ]
    stored = sum(each.get("occurrences", 1) for each in metadata)
    logged = PROCESSES * RECORDS + PROCESSES // 2
    print(f"{len(delays)} alerts: median {statistics.median(delays):.3f} s, at most {max(delays):.3f} s")
    print(f"{logged:,} log records, {stored:,} stored, in {len(events)} events")
    print(f"refused and sent again: {json.loads(status.stdout)['counts'].get('retries', 0)}")


if __name__ == "__main__":
    main()
