"""What `import emitkit_logging` costs beside `import requests`, in fresh interpreters."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROUNDS = 15


def spent(code: str) -> float:
    """Return the seconds that a fresh interpreter takes to run `code`."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - began


def main() -> dict[str, float]:
    """Print and return the ratios to `import requests`: of the package, and of the handler that it loads on demand."""
    package, handler = [], []
    for _ in range(ROUNDS):
        nothing = spent("pass")
        theirs = spent("import requests") - nothing
        package.append((spent("import emitkit_logging") - nothing) / theirs)
        handler.append((spent("from emitkit_logging import EmitKitHandler") - nothing) / theirs)
    ratios = {"import": statistics.median(package), "import of the handler": statistics.median(handler)}
    print("  " + "; ".join(f"{name}: {ratio:.2f} × requests" for name, ratio in ratios.items()))
    return ratios
