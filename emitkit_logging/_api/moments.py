"""Times as the API writes them."""

from __future__ import annotations

import re
from datetime import datetime, timezone


def read_moment(text: str) -> float | None:
    """Return the Unix seconds of an ISO 8601 date-time, in UTC when it has no zone; `None` for any other text."""
    try:
        # Python 3.10 reads three digits of a second or six, and no Z
        text = re.sub(r"\.(\d+)", lambda found: f".{found[1][:6]:0<6}", text.upper().replace("Z", "+00:00"))
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        return None
