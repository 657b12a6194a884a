"""What an application adds to a record is found whatever was imported first."""

from __future__ import annotations

import subprocess
import sys

import pytest

FACTORY = """
import logging
plain = logging.getLogRecordFactory()
def factory(name, *args, **kwargs):
    record = plain(name, *args, **kwargs)
    record.component, record.user_id = name.split(".")[0], "user-9"
    return record
"""
INSTALL = "logging.setLogRecordFactory(factory)\n"
IMPORT = "from emitkit_logging import EmitKitFormatter\n"
PRINT = """
record = logging.getLogger("shop.cart").makeRecord("shop.cart", 40, "f.py", 1, "down", (), None)
event = EmitKitFormatter().event(record)
print(event.user_id, event.metadata["component"])
"""


@pytest.mark.parametrize("order", [INSTALL + IMPORT, IMPORT + INSTALL], ids=["factory first", "import first"])
def test_record_factory(order):
    """What a record factory adds is sent, and one that reads the name does not make the import fail."""
    done = subprocess.run(
        [sys.executable, "-c", FACTORY + order + PRINT], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("user-9 shop\n", "")
