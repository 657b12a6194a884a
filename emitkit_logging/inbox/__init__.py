"""A local EmitKit with a live page, for development, demos and tests.

`Inbox` runs it inside the current process, ``emitkit-logging inbox`` in a terminal. It needs the extra ``inbox``
(starlette and uvicorn); importing this package does not, and loads nothing more until `Inbox` is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emitkit_logging.inbox.server import Inbox

__all__ = ["Inbox"]


def __getattr__(name: str) -> Any:
    if name == "Inbox":
        from emitkit_logging.inbox.server import Inbox  # noqa: PLC0415 - the command line asks for options only

        return Inbox
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
