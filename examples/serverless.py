"""A serverless function. The platform may freeze the process when the function returns, so it flushes first.

python examples/serverless.py
"""

import logging

from emitkit_logging import EmitKitHandler

emitkit = EmitKitHandler()
logger = logging.getLogger("function")
logger.setLevel(logging.INFO)
logger.addHandler(emitkit)


def handle(event, context):
    logger.info("file_uploaded", extra={"event": "file_uploaded", "user_id": event["user"], "bytes": event["bytes"]})
    return {"statusCode": 200 if emitkit.flush(timeout=3) else 202}


if __name__ == "__main__":
    print(handle({"user": "user-123", "bytes": 2048}, None))
