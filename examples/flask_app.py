"""A Flask application. Flask logs the exceptions of views, and EmitKit gets them with the request.

flask --app examples/flask_app.py run
"""

import json
import logging.config
from pathlib import Path

from flask import Flask, request, send_file

from emitkit_logging.middleware.flask import install
from emitkit_logging.proxy import flask_blueprint

HERE = Path(__file__).parent
logging.config.dictConfig(json.loads((HERE / "logging.json").read_text(encoding="utf-8")))
app = Flask(__name__)
install(app)
app.register_blueprint(flask_blueprint("/api/analytics", channels=["feedback"]))


@app.get("/")
def page():
    return send_file(HERE / "page.html")


@app.get("/signup")
def sign_up():
    app.logger.info("user_signed_up", extra={"event": "user_signed_up", "user_id": request.args["user"]})
    return "welcome"


@app.get("/broken")
def broken():
    raise RuntimeError("the view is broken")
