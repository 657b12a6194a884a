"""`emitkit-logging completion`: print a script for a shell's completion, which shtab makes of the parser."""

from __future__ import annotations

import sys

from emitkit_logging.cli.arguments import make_parser


def completion(shell: str) -> int:
    """Print the script.

    Args:
        shell: one of `emitkit_logging.cli.arguments.SHELLS`.

    Returns:
        The exit status: 0, or 1 without shtab.
    """
    try:
        import shtab  # noqa: PLC0415 - an extra
    except ImportError:
        print("completion needs shtab: pip install 'emitkit-logging[completion]'", file=sys.stderr)
        return 1
    print(shtab.complete(make_parser(shtab.FILE), shell))
    return 0
