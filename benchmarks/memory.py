"""How much memory 200,000 records with 2 KB of extras take while the server is down."""

from __future__ import annotations

import contextlib
import logging
import resource

from emitkit_logging import EmitKitHandler

RECORDS = 200_000


def peak() -> float:
    """Return the process's peak of resident memory, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> dict[str, float]:
    """Print and return the megabytes that came on top."""
    handler = EmitKitHandler("emitkit_0123456789abcdef", base_url="http://127.0.0.1:9", shutdown_timeout=0.0)
    logger = logging.getLogger("benchmark.memory")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    before = peak()
    for number in range(RECORDS):
        logger.info("x", extra={"event": "file_uploaded", "content": f"{number:08}" * 250})
    grown = peak() - before
    print(f"  {grown:.0f} MB more; {handler.stats}")
    with contextlib.redirect_stderr(None):
        handler.close()
    return {"memory": grown}
