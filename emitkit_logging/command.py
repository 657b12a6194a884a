"""Deprecated: use `emitkit-logging`, `python -m emitkit_logging` or `emitkit_logging.cli.main`."""

import sys
import warnings

from emitkit_logging.cli import main

__all__ = ["main"]

warnings.warn(
    "emitkit_logging.command has moved to emitkit_logging.cli; use `python -m emitkit_logging`",
    DeprecationWarning,
    stacklevel=2,
)

if __name__ == "__main__":
    sys.exit(main())
