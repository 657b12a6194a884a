"""A local EmitKit with a live page, for development, demos and tests.

`Inbox` runs it inside the current process, ``emitkit-logging inbox`` in a terminal. It needs the extra ``inbox``
(starlette and uvicorn); importing this package does not.
"""

from emitkit_logging.inbox.server import Inbox

__all__ = ["Inbox"]
