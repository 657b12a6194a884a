"""loguru hands its records to any handler of the standard library; what is bound becomes the event.

python examples/loguru_app.py
"""

from loguru import logger

from emitkit_logging import EmitKitHandler

handler = EmitKitHandler(category_channel_map={"user": "user-activity"})
logger.add(handler, format=lambda _: "{message}")  # to a plain string loguru appends the traceback

logger.bind(event="user_signed_up", user_id="user-123", plan="pro").info("Ada signed up")
try:
    1 / 0  # noqa: B018
except ZeroDivisionError:
    logger.exception("the division failed")
handler.close()
