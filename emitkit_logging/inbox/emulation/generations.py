"""The generations of the server, by name."""

from __future__ import annotations

from collections.abc import Mapping

from emitkit_logging.inbox.emulation.base import Generation
from emitkit_logging.inbox.emulation.current import Current
from emitkit_logging.inbox.emulation.self_hosted import SelfHosted

GENERATIONS: Mapping[str, Generation] = {each.name: each for each in (Current(), SelfHosted())}
