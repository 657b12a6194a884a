"""Which exceptions are a fault of the value or the code that raised them."""

from __future__ import annotations

import threading


def is_fault(error: BaseException) -> bool:
    """Whether what was raised says nothing about the thread itself, so that the work goes on without the value.

    Every `Exception` is. Others, such as `SystemExit`, are one where no signal can have caused them: Python runs signal
    handlers in the main thread only.
    """
    return isinstance(error, Exception) or threading.current_thread() is not threading.main_thread()
