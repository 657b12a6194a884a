"""What a record says about a user, and the identify request made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from emitkit_logging._api.encoding import Json


@dataclass(frozen=True, slots=True)
class Identity:
    """What one record tells about a user.

    `created` is the record's time in epoch seconds: an older record never overwrites what a newer one said.
    """

    user_id: str
    properties: Mapping[str, Json] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    created: float = 0.0

    @property
    def tells(self) -> bool:
        """Whether there is anything to tell besides the id."""
        return bool(self.properties or self.aliases)


@dataclass(frozen=True, slots=True)
class IdentifyCall:
    """What one identify request says: the union of what is known."""

    user_id: str
    properties: Mapping[str, Json]
    aliases: tuple[str, ...]

    def body(self) -> dict[str, Json]:
        """Return the request's JSON object; `user_id` is the one spelling that every server takes (API contract)."""
        return {
            "user_id": self.user_id,
            "properties": dict(self.properties),
            "aliases": list(self.aliases),
        }


def identify_call(person: Identity) -> IdentifyCall:
    """Return what one record tells, by itself."""
    return IdentifyCall(person.user_id, person.properties, (person.user_id, *person.aliases))
