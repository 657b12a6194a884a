"""RQ with Redis: each job's records arrive although its process ends by `os._exit`, with the context of the job."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import redis
import rq
import rq.worker

from emitkit_logging.inbox import Inbox
from tests.slow_link import slow_link

HERE = Path(__file__).parent
WORKERS = ["Worker", "SimpleWorker", *(["SpawnWorker"] if hasattr(rq.worker, "SpawnWorker") else [])]


@pytest.mark.parametrize("delay", [0.0, 0.15])
@pytest.mark.parametrize("place", ["job", "worker"])
@pytest.mark.parametrize("worker", WORKERS)
def test_jobs(broker, worker, place, delay):
    """The records of jobs that succeed, fail and take too long arrive once, each with its job's context."""
    if (worker, place) == ("SpawnWorker", "worker"):
        pytest.skip("its processes inherit no handler")
    connection = redis.Redis.from_url(broker)
    queue = rq.Queue("orders", connection=connection)
    done = [queue.enqueue("rq_jobs.job", f"job{number}") for number in range(4)]
    failed = queue.enqueue("rq_jobs.fail")
    late = queue.enqueue("rq_jobs.wait", job_timeout=1)
    connection.close()
    with Inbox(rate_limit=0) as inbox, slow_link(inbox.url, delay) as url:
        command = ("worker", "--burst", "--url", broker, "--config", "rq_settings", "--path", str(HERE), "orders")
        program = subprocess.run(
            [sys.executable, "-m", "rq.cli", *command, "--worker-class", f"emitkit_logging.middleware.rq.{worker}"],
            cwd=HERE,
            env={
                **os.environ,
                "PYTHONPATH": str(HERE),
                "PLACE": place,
                "EMITKIT_API_KEY": inbox.api_key,
                "EMITKIT_BASE_URL": url,
                "NO_PROXY": "*",
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
        events = inbox.events
    assert program.returncode == 0, program.stderr
    jobs = {event["metadata"].get("event"): event["metadata"].get("server") for event in events}
    expected = {f"job{number}": described(job, "rq_jobs.job") for number, job in enumerate(done)}
    expected["timed_out"] = described(late, "rq_jobs.wait")
    assert {name: server for name, server in jobs.items() if name is not None} == expected, program.stderr
    alerts = [event["metadata"]["server"] for event in events if event["channelName"] == "alerts"]
    if place == "worker":  # else RQ has configured its own logger before, so that its records go nowhere else
        assert described(failed, "rq_jobs.fail") in alerts
    assert len(events) == len(expected) + len(alerts)


def described(job, function):
    """Return the context that the records of a job have."""
    return {"host": socket.gethostname(), "job": function, "jobId": job.id, "queue": "orders"}
