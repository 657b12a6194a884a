"""A Redis server for the tests of task queues."""

from __future__ import annotations

import shutil
import socket
import subprocess

import pytest

from tests.programs import PATIENCE


@pytest.fixture
def broker(tmp_path):
    """The URL of a Redis server that only this test uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = shutil.which("redis-server")
    assert program is not None, "redis-server is not installed"
    server = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    assert any("Ready to accept connections" in line for line in server.stdout)
    yield f"redis://127.0.0.1:{port}/0"
    server.terminate()
    server.stdout.read()
    server.stdout.close()
    assert server.wait(PATIENCE) == 0
