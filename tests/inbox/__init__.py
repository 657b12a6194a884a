"""Tests of the local EmitKit, `emitkit_logging.inbox`."""
