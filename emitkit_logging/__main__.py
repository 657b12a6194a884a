"""Run `emitkit-logging` as `python -m emitkit_logging`."""

import sys

from emitkit_logging.cli import main

if __name__ == "__main__":
    sys.exit(main())
