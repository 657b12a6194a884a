"""``python -m emitkit_logging.inbox``: the same as ``emitkit-logging inbox``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from emitkit_logging.inbox.arguments import DESCRIPTION, EXAMPLES, ArgumentParser, add_arguments, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the inbox until it is interrupted or terminated, and return the exit status."""
    parser = ArgumentParser(
        prog="emitkit-logging inbox",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    return run(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
