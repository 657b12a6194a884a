"""What a record says about a user, and the identify request made of it (design, *Users*)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from emitkit_logging._api.encoding import Json
from emitkit_logging._api.limits import LONGEST_ID, MOST_ALIASES
from emitkit_logging._api.text import shorten, units
from emitkit_logging._events import extras
from emitkit_logging._events.converter import JsonConverter
from emitkit_logging._events.extras import Extras
from emitkit_logging._events.redaction import Redactor

_NAMES = ("email", "username", "name")
_ALIASES = ("email", "username")
_IDENTITY_KEYS = frozenset(("id", "user_id", *_NAMES, "traits", "aliases"))


@dataclass(frozen=True, slots=True)
class Identity:
    """What one record says about a user.

    Attributes:
        user_id: the user's id.
        properties: what is known of the user, by name.
        aliases: other names of the user, without the id.
        created: when the record was logged, in epoch seconds. An older record never overwrites a newer one.
        is_trusted: whether the application itself says so. What a browser claims to be is no alias of anybody.
    """

    user_id: str
    properties: Mapping[str, Json] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    created: float = 0.0
    is_trusted: bool = True

    @property
    def has_facts(self) -> bool:
        """Whether it has anything besides the id."""
        return bool(self.properties or self.aliases)


@dataclass(frozen=True, slots=True)
class IdentifyCall:
    """The content of one identify request: all that is known of a user.

    Attributes:
        user_id: the user's id.
        properties: what is known of the user, by name.
        aliases: other names of the user, and the id unless only untrusted sources name it.
        claimed: names of the properties that only an untrusted source has set; this is not sent.
    """

    user_id: str
    properties: Mapping[str, Json]
    aliases: tuple[str, ...]
    claimed: frozenset[str] = field(default=frozenset(), compare=False)

    def body(self) -> dict[str, Json]:
        """Return the request's JSON object; `user_id` is the one spelling that every server takes (API contract)."""
        return {
            "user_id": self.user_id,
            "properties": dict(self.properties),
            "aliases": list(self.aliases),
        }


def identify_call(identity: Identity) -> IdentifyCall:
    """Return the identify request for what one record says, by itself."""
    own = (identity.user_id,) if identity.is_trusted else ()
    return IdentifyCall(identity.user_id, identity.properties, (*own, *identity.aliases))


class IdentityReader:
    """Reads from a record's extras who the user is, and what is known of that user.

    Args:
        converter: converts properties.
        redactor: says which keys are secret.
    """

    def __init__(self, converter: JsonConverter, redactor: Redactor) -> None:
        self._converter = converter
        self._redactor = redactor

    def take(
        self, found: Extras, created: float, *, is_trusted: bool = True
    ) -> tuple[tuple[Identity, ...], str | None]:
        """Take `user_id`, `user` and `identify` out of a record's extras.

        Args:
            found: the extras.
            created: when the record was logged, in epoch seconds.
            is_trusted: whether the application itself logged it.

        Returns:
            What the record says about users, and the id of its own user, or `None`.
        """
        own_id, user = found.take("user_id"), found.take("user")
        given_id = self._kept_id(own_id, found, "user_id")
        identities: list[Identity] = []
        fallback = self._kept_id(user, found, "user")
        if fallback is None and extras.is_dict(user):
            identity = self._identity(user, given_id, created)
            self._kept_id(self._given_id(user), found, "user_id")
            if identity is not None and identity.has_facts:
                identities.append(identity)
            fallback = identity.user_id if identity is not None else None
            fallback = fallback or self._fact(user, "email") or self._fact(user, "username")
        identity = self.identify(found, created)
        if identity is not None:
            found.take("identify")
            identities.append(identity)
            fallback = fallback or identity.user_id
        if not is_trusted:
            identities = [replace(identity, is_trusted=False) for identity in identities]
        return tuple(identities), given_id or fallback

    def _kept_id(self, value: object, found: Extras, key: str) -> str | None:
        """Return what `_id` returns, and leave an id that had to be shortened to the metadata as `key`."""
        text = None if value is None else self.whole_id(value)
        if text is None or units(text) <= LONGEST_ID:
            return text
        found.remaining.setdefault(key, text)
        return shorten(text, LONGEST_ID)

    def identify(self, found: Extras, created: float) -> Identity | None:
        """Return what `extra["identify"]` says, without taking it, or `None` where it names nobody."""
        values = found.get("identify")
        return None if values is None else self._identity(values, None, created)

    def check(self, user_id: object, traits: object, aliases: Iterable[str], created: float) -> Identity:
        """Return what `EmitKitHandler.identify` was given, converted.

        Args:
            user_id: a string, an integer or a UUID.
            traits: a mapping, or `None`.
            aliases: other names of the user.
            created: epoch seconds.

        Raises:
            TypeError: for an id that is no string, integer or UUID, or traits that are no mapping.
            ValueError: for an id that is empty or has over 255 characters.
        """
        if not extras.is_id(user_id):
            raise TypeError(f"user_id: must be a string, an integer or a UUID, not {user_id!r}")
        if traits is not None and not isinstance(traits, Mapping):
            raise TypeError(f"traits: must be a dict, not {type(traits).__name__}")
        text = self.whole_id(user_id)
        if text is None or units(text) > LONGEST_ID:
            raise ValueError(f"user_id: must have 1 to {LONGEST_ID} characters")
        identity = self._identity({**(traits or {}), "id": user_id, "aliases": aliases}, None, created)
        assert identity is not None  # noqa: S101 - its id was checked
        return identity

    def _identity(self, values: Mapping[Any, Any], given_id: str | None, created: float) -> Identity | None:
        user_id = self._id(self._given_id(values)) or given_id
        if user_id is None:
            return None
        properties = _properties(values)
        converted = self._converter.items(properties) if properties else {}
        return Identity(user_id, converted, self._aliases(values, user_id), created)

    def _aliases(self, values: Mapping[Any, Any], user_id: str) -> tuple[str, ...]:
        aliases = [self._fact(values, key) for key in _ALIASES if extras.is_text(values.get(key))]
        more = values.get("aliases")
        if isinstance(more, list | tuple | set | frozenset):
            aliases += [self._name(alias) for alias in more]
        unique = dict.fromkeys(alias for alias in aliases if alias is not None and alias != user_id)
        return tuple(unique)[: MOST_ALIASES - 1]

    def _given_id(self, values: Mapping[Any, Any]) -> object:
        """Return the first value of `id` and `user_id` that can be an id, or `None`."""
        given = (values.get(key) for key in ("id", "user_id") if not self._redactor.is_secret(key))
        return next((value for value in given if self.whole_id(value) is not None), None)

    def _fact(self, values: Mapping[Any, Any], key: str) -> str | None:
        return None if self._redactor.is_secret(key) else self._name(values.get(key))

    def _name(self, value: object) -> str | None:
        """Return another name of a user, or `None` for one over the limit: cut, it could be another user's."""
        text = self.whole_id(value)
        return text if text is not None and units(text) <= LONGEST_ID else None

    def _id(self, value: object) -> str | None:
        """Return an id, within its limit: a longer one is visibly shortened."""
        text = self.whole_id(value)
        return None if text is None else shorten(text, LONGEST_ID)

    def whole_id(self, value: object) -> str | None:
        """Return an id of any length, or `None` for what is no id."""
        if not extras.is_id(value):
            return None
        return self._converter.text(extras.id_text(value)) or None


def _properties(values: Mapping[Any, Any]) -> dict[Any, Any]:
    traits: Any = values.get("traits")
    properties: dict[Any, Any] = dict(traits) if extras.is_dict(traits) else {}
    properties.update((key, value) for key, value in values.items() if key not in _IDENTITY_KEYS)
    properties.update((key, values[key]) for key in _NAMES if values.get(key) not in (None, ""))
    return properties
