"""A Flask application; whatever a view raises is logged by Flask itself and reaches EmitKit.

flask --app examples/flask_app.py run
"""

import json
import logging.config
from pathlib import Path

from flask import Flask, request

logging.config.dictConfig(json.loads(Path(__file__).with_name("logging.json").read_text(encoding="utf-8")))
app = Flask(__name__)


@app.get("/signup")
def sign_up():
    app.logger.info("user_signed_up", extra={"event": "user_signed_up", "user_id": request.args["user"]})
    return "welcome"


@app.get("/broken")
def broken():
    raise RuntimeError("the view is broken")
