"""A program that uses logging but not EmitKit. With a logging configuration its errors reach EmitKit.

python examples/legacy.py                            without EmitKit
python examples/legacy.py examples/logging.json      with EmitKit
"""

import json
import logging
import logging.config
import sys

log = logging.getLogger("billing")


def collect(invoices):
    for number, amount in invoices:
        log.info("invoice %s: %.2f", number, amount)
        try:
            if amount < 0:
                raise ValueError("negative amount")
        except ValueError:
            log.exception("invoice %s could not be collected", number)
    print(f"{len(invoices)} invoices")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        with open(sys.argv[1], encoding="utf-8") as file:
            logging.config.dictConfig(json.load(file))
    collect([("A-1", 12.5), ("A-2", -1.0), ("A-3", 99.0)])
