"""loguru with a handler of the standard library. Values that are bound become the event.

python examples/loguru_app.py
"""

from loguru import logger

from emitkit_logging import EmitKitHandler

handler = EmitKitHandler(category_channel_map={"user": "user-activity"})
logger.add(handler, format=lambda _: "{message}")  # with a string as its format loguru would append the traceback

logger.bind(event="user_signed_up", user_id="user-123", plan="pro").info("Ada signed up")
try:
    1 / 0  # noqa: B018
except ZeroDivisionError:
    logger.exception("the division failed")
handler.close()
