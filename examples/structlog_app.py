"""structlog through the standard library. Its dict is the message of the record, and its key `event` the text.

python examples/structlog_app.py
"""

import json
import logging.config
from pathlib import Path

import structlog

logging.config.dictConfig(json.loads(Path(__file__).with_name("logging.json").read_text(encoding="utf-8")))
structlog.configure(
    processors=[structlog.contextvars.merge_contextvars, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
)
log = structlog.get_logger("shop")

log.info("Ada signed up", emitkit_event="user_signed_up", user_id="user-123", plan="pro")
log.error("the payment provider is down", provider="acme")
