"""Mask the values behind secret names in texts: JSON, form bodies, headers, reprs, connection strings, options."""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from typing import TypeAlias

from emitkit_logging._events.secret_names import Secrecy
from emitkit_logging._events.secret_shapes import REDACTED
from emitkit_logging._events.secret_values import is_secret_value

_QUOTE = r"""\\{0,4}["']"""
_SEPARATOR = re.compile(
    # each alternative begins with one fixed character, so that the search skips all others quickly
    rf"""(?:=(?:=?=|>)?|:=?|>|%3[DdAa])\s{{0,8}}|,(?=\s{{0,8}}[bBuU]?{_QUOTE})\s{{0,8}}"""
)
_STATEMENT = re.compile(r"(password|passwd|passphrase|passcode|pwd) (?:is|was)(?: now)?:? {1,4}(?=\S)", re.IGNORECASE)
_STATED = re.compile(r"""([^\s"',;()\[\]{}<>]+?)(?=[.!]?(?:$|[\s"',;()\[\]{}<>]))""")
_STATES = re.compile(
    r"(?:.*(?:ed|ing|ble|ent|ant|ect|ory|ive|ong|ort)|[a-z]{1,3}|wrong|weak|empty|valid|invalid|null|none|unset|known"
    r"|unknown|given|used|same|only|also|still|just|already|always|never|safe|strong|good|okay|hidden|plain|bad|missing"
    r"|unchanged|required|reset|lost|found|known|.*en|more|less|shown|sent|kept|stored|unsafe|common|mandatory|about|from|here|what|that)",
    re.IGNORECASE,
)
_OPTION = re.compile(r"--([\w.\-]+) {1,4}(?![-\s])")
_WORD_CHARACTERS = string.ascii_letters + string.digits + "_.-"
_KEY = re.compile(r"[\w.\-]+\Z")
_LONGEST_KEY = 80
_OPENING = re.compile(rf"[bBuUrRfF]{{0,2}}({_QUOTE})")
_BODIES = {'"': re.compile(r'(?:[^"\\]|\\.|"")*', re.DOTALL), "'": re.compile(r"(?:[^'\\]|\\.|'')*", re.DOTALL)}
_BARE = re.compile(r"""(?:[^\s&,;)\]}"'<>\\]|\\(?![nrt"'])|[,;)\]}"'](?![\s,;)\]}"'>\\]|$|[\w.\-]{1,40}["']?[=:]))+""")
_QUERY_VALUE = re.compile(r"""[^\s&#;"'<>]+""")
_ELEMENT = re.compile(r"<!\[CDATA\[.*?(?:\]\]>|\Z)|[^<]+", re.DOTALL)
_TAG = re.compile(r"<(?:[\w.-]+:)?([\w.-]+)(?:\s[^<>]*)?\Z")
_FORM_PART = re.compile(r"""name="([^"\s]{1,80})"[^\S\n]*\n(?:[^\S\n]*\S[^\n]*\n)?[^\S\n]*\n""")
_FORM_VALUE = re.compile(r".+?(?=\s*\n\s*--|\Z)", re.DOTALL)
_CONTAINER = re.compile(rf"[\[({{]\s{{0,8}}(?=[bBuU]?{_QUOTE})")
_CLOSING = {"[": "]", "(": ")", "{": "}"}
_SENTENCE = re.compile(rf"[\[({{]\s{{0,8}}{_QUOTE}[A-Z]?[a-z]+ [a-z]+ ")
_SCHEME = re.compile(
    r"(bearer|basic|digest|token|apikey|api-key|negotiate|ntlm|hawk|aws4-hmac-sha256|hmac)(?:\s|%20){1,8}",
    re.IGNORECASE,
)
_REST_OF_LINE = re.compile(r"[^\r\n]*")
_WORD = re.compile(r"(?:[A-Za-z]+[.,;:!?]?|\d{1,2})(?= {1,2}[\w(<\"'])")
_QUOTES = ("'", '"')
_NOUNS = frozenset(("key", "keys", "number", "card"))
_HEADERS = frozenset(
    ("authorization", "proxy-authorization", "cookie", "set-cookie", "proxy_authorization", "set_cookie")
)
_ONE_TOKEN = ("bearer", "basic", "token", "apikey", "api-key")


_Span: TypeAlias = "tuple[int, int] | None"
"""Where a secret begins and ends in its text, or `None` where there is none."""


class PairMasker:
    """Masks values by the names before them.

    Args:
        in_text: returns what a name in a text says about its value.
    """

    def __init__(self, in_text: Callable[[str], Secrecy]) -> None:
        self._in_text = in_text

    def mask(self, text: str) -> str:
        """Return `text` with the values behind secret names masked, in time proportional to its length."""
        masked = self._replaced(text, _SEPARATOR, self._span_after_separator)
        if 'name="' in masked:
            masked = self._replaced(masked, _FORM_PART, self._span_in_form)
        if " is" in masked or " was" in masked:
            masked = self._replaced(masked, _STATEMENT, _span_after_statement)
        return self._replaced(masked, _OPTION, self._span_after_option) if "--" in masked else masked

    @staticmethod
    def _replaced(text: str, pattern: re.Pattern[str], span_of: Callable[[re.Match[str], int], _Span]) -> str:
        pieces: list[str] = []
        done = 0
        for found in pattern.finditer(text):
            if found.start() < done:
                continue
            span = span_of(found, done)
            if span is not None:
                pieces += (text[done : span[0]], REDACTED)
                done = span[1]
        return "".join(pieces) + text[done:] if pieces else text

    def _span_after_separator(self, found: re.Match[str], done: int) -> _Span:
        text, start = found.string, found.start()
        head = text[max(done, start - _LONGEST_KEY) : start].rstrip()
        bare = head.rstrip("\"'\\]")
        if bare.endswith(("%5D", "%5d")):  # ?user%5Bpassword%5D=
            bare = bare[:-3]
        separator = found[0].rstrip()
        if separator == ">":
            tag = _TAG.search(head)
            is_secret = tag is not None and self._in_text(tag[1]) is not Secrecy.NONE
            return _found(_ELEMENT, text, found.end()) if is_secret else None
        key = _last_word(bare).removeprefix("5B").removeprefix("5b") if "%5" in head else _last_word(bare)
        if not key or key.isdigit():
            return None
        before = bare[-len(key) - 1 : -len(key)]
        if separator == "," and not (
            head[-1:] in _QUOTES and before in _QUOTES and bare[-len(key) - 2 : -len(key) - 1] != "."
        ):  # "user"."password", "user"."email" are names of columns
            return None
        secrecy = self._in_text(key)
        if secrecy is Secrecy.NONE and key.lower() in _NOUNS:
            previous = _last_word(bare[: -len(key)].rstrip(" "))
            secrecy = self._in_text(f"{previous} {key}")
        if secrecy is Secrecy.NONE or text.startswith(REDACTED, found.end()):
            return None
        return _span(text, found.end(), key, secrecy, before, separator)

    def _span_in_form(self, found: re.Match[str], _: int) -> _Span:
        is_secret = self._in_text(found[1]) is not Secrecy.NONE and not found.string.startswith(REDACTED, found.end())
        return _found(_FORM_VALUE, found.string, found.end()) if is_secret else None

    def _span_after_option(self, found: re.Match[str], _: int) -> _Span:
        secrecy = self._in_text(found[1])
        if secrecy is Secrecy.NONE or found.string.startswith(REDACTED, found.end()):
            return None
        return _span(found.string, found.end(), found[1], secrecy, "", "")


def _span_after_statement(found: re.Match[str], _: int) -> _Span:
    """Return where the secret is in `the password is …`, unless what follows says of what kind the password is."""
    text, start = found.string, found.end()
    opening = _OPENING.match(text, start)
    if opening is not None:
        begin, end = opening.end(), _closing(text, opening)
        return (begin, end) if begin < end and " " not in text[begin:end] else None
    stated = _STATED.match(text, start)
    if stated is None or stated[1].startswith(REDACTED):
        return None
    if stated[1].isalpha():  # a word is one only at the end of its sentence
        is_last = not text[stated.end() :].lstrip(" ").strip(".!")[:1].isalnum()
        return None if _STATES.fullmatch(stated[1]) or not is_last else stated.span(1)
    return stated.span(1) if any(map(str.isdigit, stated[1])) or not stated[1].replace("-", "").isalpha() else None


def _last_word(text: str) -> str:
    if text.isascii():
        return text[len(text.rstrip(_WORD_CHARACTERS)) :]
    found = _KEY.search(text)
    return found[0] if found is not None else ""


def _span(text: str, start: int, key: str, secrecy: Secrecy, before: str, separator: str) -> _Span:
    """Return where the secret begins and ends that stands at `start`, or `None` where none does."""
    container = _CONTAINER.match(text, start)
    if container is not None:
        return _container_span(text, start)
    opening = _OPENING.match(text, start)
    is_header = key.lower() in _HEADERS
    if opening is not None:
        begin, end = opening.end(), _closing(text, opening)
        is_comma = separator.endswith(",")
        if is_header:
            return (begin, end) if "cookie" in key.lower() else _after_scheme(text, begin, end)
        value = text[begin:end]
        # a list of names: ("password", "email"), or of columns: ("id", "password", "last_login", "is_active")
        is_listed = text.startswith(",", end + len(opening[1]))
        is_plain = is_comma and (value.isalpha() or (is_listed and value.replace("_", "").isalpha()))
        return (begin, end) if not is_plain and _is_secret(value, key, secrecy) else None
    if before in ("?", "&", ";") and separator == "=":
        return _found(_QUERY_VALUE, text, start)
    if is_header and separator in (":", "=", "%3A", "%3a"):
        return _header_span(text, start, key, before)
    bare = _BARE.match(text, start)
    if bare is None:
        return None
    is_prose = separator == ":" and _WORD.match(text, start) is not None
    return bare.span() if is_secret_value(bare[0], key, secrecy, is_prose=is_prose) else None


def _is_secret(value: str, key: str, secrecy: Secrecy) -> bool:
    if secrecy is Secrecy.VAGUE and " " in value and value.replace(" ", "").isalpha():
        return False
    return is_secret_value(value, key, secrecy, is_prose=False)


def _found(pattern: re.Pattern[str], text: str, start: int) -> _Span:
    found = pattern.match(text, start)
    return None if found is None else found.span()


def _closing(text: str, opening: re.Match[str]) -> int:
    """Return where the text ends that a quote opens: at the same quote, or at the end of all."""
    quote = opening[1]
    if len(quote) > 1:  # escaped, as in JSON within JSON
        end = text.find(quote, opening.end())
        return end if end >= 0 else len(text)
    body = _BODIES[quote].match(text, opening.end())
    return body.end() if body is not None else len(text)


def _container_span(text: str, start: int) -> _Span:
    if _SENTENCE.match(text, start):  # an error of a form: {"password": ["This field is required."]}
        return None
    end = text.find(_CLOSING[text[start]], start)
    return start, end + 1 if end >= 0 else len(text)


def _header_span(text: str, start: int, key: str, before: str) -> _Span:
    line = _REST_OF_LINE.match(text, start)
    end = line.end() if line is not None else len(text)
    if before in ('"', "'"):  # curl -H "Authorization: …"
        quoted = text.find(before, start, end)
        end = quoted if quoted >= 0 else end
    if "cookie" in key.lower():
        return (start, end) if text.find("=", start, min(end, start + 256)) >= 0 else None
    return _after_scheme(text, start, end)


def _after_scheme(text: str, start: int, end: int) -> _Span:
    """Return the span of the credentials in the value of an `Authorization` header."""
    scheme = _SCHEME.match(text, start, end)
    if scheme is None:
        bare = _BARE.match(text, start, end)
        is_token = bare is not None and is_secret_value(bare[0], "authorization", Secrecy.VAGUE, is_prose=False)
        return bare.span() if bare is not None and is_token else None
    begin = scheme.end()
    opening = _OPENING.match(text, begin, end)
    begin = opening.end() if opening is not None else begin
    if text.startswith(REDACTED, begin) or begin >= end:
        return None
    if scheme[1].lower() not in _ONE_TOKEN:
        return begin, end
    token = _BARE.match(text, begin, end)
    return token.span() if token is not None and token[0].lower() not in ("token", "scheme", "header") else None
