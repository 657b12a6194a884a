"""Run one of the examples against a local EmitKit until Ctrl-C. It needs no account and no API key.

python examples/run.py flask
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from emitkit_logging.inbox import Inbox

HERE = Path(__file__).parent
GUNICORN = ["gunicorn", "--bind", "127.0.0.1:8000", "--threads", "4", "--log-config-json", "logging.json"]
UVICORN = ["uvicorn", "--log-config", "logging.json"]
SERVERS = {
    "django": [*GUNICORN, "django_site:application"],
    "fastapi": [*UVICORN, "fastapi_app:app"],
    "flask": [*GUNICORN, "flask_app:app"],
    "starlette": [*UVICORN, "starlette_app:app"],
    "wsgi": [*GUNICORN, "wsgi_app:app"],
    "celery": ["celery", "--app", "celery_app", "worker", "--concurrency", "2"],
}


def main(name):
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Inbox() as inbox, tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "EMITKIT_API_KEY": inbox.api_key,
            "EMITKIT_BASE_URL": inbox.url,
            "CELERY_FOLDER": folder,
        }
        os.mkdir(os.path.join(folder, "control"))
        if name == "celery":
            subprocess.run([sys.executable, "celery_app.py"], cwd=HERE, env=environment, check=True)
        print(f"inbox: {inbox.url}/", *([] if name == "celery" else ["shop: http://127.0.0.1:8000/"]), sep="\n")
        sys.stdout.flush()
        server = subprocess.Popen([sys.executable, "-m", *SERVERS[name]], cwd=HERE, env=environment)
        try:
            return server.wait()
        except KeyboardInterrupt:
            server.terminate()  # no effect when Ctrl-C in the terminal has ended it already
            server.wait()
            return 0


if __name__ == "__main__":
    if sys.argv[1:] not in [[name] for name in SERVERS]:
        raise SystemExit(f"usage: python examples/run.py {'|'.join(SERVERS)}")
    raise SystemExit(main(sys.argv[1]))
