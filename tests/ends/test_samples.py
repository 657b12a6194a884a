"""Processes that end without exit hooks: one of each kind; `make ends` runs all of them, see tests/ends."""

from __future__ import annotations

import signal

import pytest

from tests.ends import test_celery, test_multiprocessing, test_servers


@pytest.mark.parametrize(("method", "place"), [("fork", "child"), ("forkserver", "top"), ("spawn", "initializer")])
def test_children_of_multiprocessing(method, place):
    """A child delivers before it ends, however its handler was made."""
    test_multiprocessing.check(method, place, 0.15)


def test_replaced_celery_process(tmp_path):
    """A worker process of Celery delivers before it is replaced, without our middleware."""
    test_celery.check(tmp_path, "--max-tasks-per-child", "", 0.15)


@pytest.mark.parametrize("case", ["uvicorn", "uvicorn --workers 2", "uvicorn --log-config", "gunicorn -k gthread"])
def test_stopped_server(tmp_path, case):
    """A server that is stopped by SIGTERM delivers what waits for the next rate-limit window."""
    test_servers.check(case, signal.SIGTERM, tmp_path, 0.15)
