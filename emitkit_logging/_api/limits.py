"""Limits of EmitKit's API contract, in numbers.

Lengths of texts are in UTF-16 code units, because a JavaScript server counts them so (see `emitkit_logging._api.text`).
`ACCEPTED_…` is what the hosted service accepts and refuses beyond. The other name is what this library sends at most
where that is less, since one request must pass on both generations of the server.
"""

from __future__ import annotations

LONGEST_IDEMPOTENCY_KEY = 255
LONGEST_TITLE = 500
ACCEPTED_TITLE = 1_000
LONGEST_DESCRIPTION = 5_000
LONGEST_CHANNEL = 255
LONGEST_ICON = 10
LONGEST_TAG = 50
MOST_TAGS = 20
ACCEPTED_SOURCE = 255
LONGEST_ID = 255
MOST_ALIASES = 50
MOST_ACTIONS = 4
MOST_FIELDS = 5
LONGEST_ANSWER = 2_000
"""The text that somebody may enter into a text field of an event."""

LONGEST_URL = 2_000
LONGEST_RESUME = 65_536

SHORTEST_WAIT = 10
LONGEST_WAIT = 604_800
DEFAULT_WAIT = 86_400
"""Seconds for which an event waits for its answer (`expiresIn`): at least, at most, and by default."""
