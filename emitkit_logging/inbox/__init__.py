"""A local EmitKit to run against, in memory and on loopback only: for development, demos and tests.

`Inbox` runs it inside the current process, ``python -m emitkit_logging.inbox`` in a terminal. It needs the
extra ``inbox`` (starlette and uvicorn); importing this package does not.

The rooms, from the pure ones outwards: `contract` (what a request may hold), `limiter` and `idempotency` (who
is let through), `feed` (what is stored), `generations` (how the two servers in use decide and word it), `app`
(HTTP), `server` (a thread with a port), `terminal` (an event as a line).
"""

from emitkit_logging.inbox.server import Inbox

__all__ = ["Inbox"]
