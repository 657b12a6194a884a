"""Withhold and mask what is secret in a captured record, before it is written to disk.

In memory that is done in the background, when the event is made. What is written must not be readable: not by other
programs, and not by a process with other options that delivers it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from emitkit_logging._events import extras
from emitkit_logging._events.captured import CapturedException, CapturedRecord
from emitkit_logging._events.converter import LONGEST_KEY, LONGEST_TRACE, Converted, JsonConverter
from emitkit_logging._events.entries import untaken
from emitkit_logging._events.redaction import REDACTED, Redactor

_TEXTS = ("msg", "exc_text", "stack_info")
_RENDERED = ("message", "asctime")  # by the formatter of another handler
_NUMBERS = frozenset((int, float, bool, type(None)))
_SEQUENCES = (list, tuple, set, frozenset)
_names: dict[str, None] = {}
_shared = Redactor()


def share_names(names: Iterable[str]) -> None:
    """Add key names that a handler of this process withholds to those of `shared_redactor`."""
    global _shared  # noqa: PLW0603 - replaced as a whole, so that other threads see the old one or the new one
    new = [name for name in names if name not in _names]
    if new:
        _names.update(dict.fromkeys(new))
        _shared = Redactor(_names)


def shared_redactor() -> Redactor:
    """Return a redactor that withholds what any handler of this process withholds."""
    return _shared


def redacted(captured: CapturedRecord, converter: JsonConverter) -> CapturedRecord:
    """Return a record without the values of secret keys, and with the secrets in its texts masked.

    Args:
        captured: the record; it is not changed.
        converter: its redactor decides.
    """
    result = CapturedRecord(_attributes(captured.attributes, converter))
    result.is_scalar = captured.is_scalar and Converted not in map(type, result.attributes.values())
    result.make_usable()
    result.is_trusted = captured.is_trusted
    result.report = captured.report
    if captured.context is not None:
        result.context = _value(dict(captured.context), converter)
    if captured.exception is not None:
        result.exception = _exception(captured.exception, converter)
    if captured.text is not None:
        result.text = converter.text(captured.text)
    if captured.unused_args is not None:
        result.unused_args = captured.unused_args
    return result


def _attributes(attributes: Mapping[str, Any], converter: JsonConverter) -> dict[str, Any]:
    redactor, name = converter.redactor, converter.name
    result = dict(attributes)
    for key in _RENDERED:
        result.pop(key, None)
    for key, value in attributes.items():
        if key in extras.STANDARD:
            kind = type(value)
            if kind in _NUMBERS or key in _RENDERED:
                continue
            if key in _TEXTS:
                result[key] = _value(value, converter)
            elif kind is str:
                result[key] = name(value)
            elif value != ():
                # a record made of a dict may have anything there
                result[key] = _value(converter.snapshot(value), converter)
        else:
            kept = Converted(REDACTED) if redactor.is_secret(key) else _value(value, converter)
            masked = redactor.mask_repeated(key) if len(key) <= LONGEST_KEY else converter.key(key)
            if masked != key:
                del result[key]
                masked = untaken(masked, result)
            result[masked] = kept
    return result


def _exception(exception: CapturedException, converter: JsonConverter) -> CapturedException:
    trace = converter.ending(exception.stacktrace, LONGEST_TRACE)
    return CapturedException(converter.text(exception.type), converter.text(exception.message), trace)


def _value(value: Any, converter: JsonConverter) -> Any:
    """Return a value of a captured record, redacted. Its builtin types stay what they are."""
    kind = type(value)
    if kind is str:
        return converter.text(value)
    if kind is dict:
        return {_key(key, converter): _item(key, item, converter) for key, item in value.items()}
    if kind in _SEQUENCES:
        is_secret_pair = converter.redactor.is_secret_pair
        items: Any = converter.redactor.without_options(value) if kind in (list, tuple) else value
        return kind(
            [
                type(item)((_value(item[0], converter), REDACTED)) if is_secret_pair(item) else _value(item, converter)
                for item in items
            ]
        )
    return value  # a number, or what the codec converts


def _key(key: object, converter: JsonConverter) -> object:
    if type(key) is not str:
        return key
    return converter.text(key) if len(key) <= LONGEST_KEY else converter.key(key)


def _item(key: object, item: object, converter: JsonConverter) -> object:
    return REDACTED if converter.redactor.is_secret(str(key)) else _value(item, converter)
