"""The guide for serverless platforms, with the runtime of AWS Lambda and the framework of Google Cloud Functions."""

from __future__ import annotations

import http.server
import json
import os
import queue
import signal
import subprocess
import sys
import threading

import pytest

from tests.programs import get
from tests.stories.project import PATIENCE, free_port, listening

PAGE = "guides/serverless.md"


HEADERS = {
    "Content-Type": "application/json",
    "Lambda-Runtime-Aws-Request-Id": "r-1",
    "Lambda-Runtime-Deadline-Ms": "9999999999999",
    "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-west-1:123456789012:function:shop",
    "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
}
"""What AWS Lambda says of an invocation."""


class RuntimeApi(http.server.ThreadingHTTPServer):
    """The API from which a function of AWS Lambda fetches its invocations.

    Once it has an answer, it stops the function's process before it says so, as Lambda freezes it.

    Attributes:
        invocations: events that are to be handled.
        answers: what the function made of them: `response` or `error`, and the body.
        function: the process of the function.
    """

    daemon_threads = True
    function: subprocess.Popen[str]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), RuntimeApiHandler)
        self.invocations: queue.Queue[object] = queue.Queue()
        self.answers: queue.Queue[tuple[str, object]] = queue.Queue()


class RuntimeApiHandler(http.server.BaseHTTPRequestHandler):
    server: RuntimeApi
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        event = self.server.invocations.get()
        self.answer(200, json.dumps(event).encode(), **HEADERS)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        os.kill(self.server.function.pid, signal.SIGSTOP)
        self.server.answers.put((self.path.rpartition("/")[2], json.loads(body)))
        self.answer(202, b"{}")

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""


@pytest.fixture
def runtime(project):
    """The API of the runtime, and the runtime with the function of the guide."""
    project.write(PAGE, "delivered.py", "lambda_function.py")
    with RuntimeApi() as api:
        threading.Thread(target=api.serve_forever, daemon=True).start()
        environment = {
            **os.environ,
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.server_port}",
            "LAMBDA_TASK_ROOT": str(project.folder),
            "AWS_LAMBDA_FUNCTION_NAME": "shop",
            "PYTHONPATH": str(project.folder),
        }
        api.function = subprocess.Popen(
            [sys.executable, "-m", "awslambdaric", "lambda_function.lambda_handler"],
            cwd=project.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        yield api
        api.function.kill()
        api.function.communicate()
        api.shutdown()


def test_lambda(runtime, inbox):
    """What an invocation has logged is at EmitKit when the process is frozen; its exception is an alert."""
    runtime.invocations.put({"order": 7})
    kind, answer = runtime.answers.get(timeout=PATIENCE)
    assert (kind, answer["statusCode"]) == ("response", 200)
    assert [event["title"] for event in inbox.events] == ["Order Received"]
    os.kill(runtime.function.pid, signal.SIGCONT)
    runtime.invocations.put({})
    kind, answer = runtime.answers.get(timeout=PATIENCE)
    assert (kind, answer["errorType"]) == ("error", "KeyError")
    alert = inbox.wait_for(channel="alerts", timeout=0)
    assert (alert["title"], alert["description"]) == ("lambda_handler failed", "KeyError: 'order'")
    assert len(inbox.events) == 2


def test_cloud_functions(project, inbox):
    """The same decorator, with the framework's own server."""
    project.write(PAGE, "delivered.py", "main.py")
    port = free_port()
    with project.serve(PAGE, "functions-framework --target hello_http", "", "--port", str(port)):
        listening(url := f"http://127.0.0.1:{port}")
        assert get(f"{url}/?order=7") == 200
        assert [event["title"] for event in inbox.events] == ["Order Received"]
        assert get(f"{url}/") in {400, 500}
        assert inbox.wait_for(channel="alerts", timeout=PATIENCE)["title"] == "hello_http failed"
