"""Mask the variable parts of a log message: numbers, ids, times, addresses and quoted strings.

Words are not masked here; `templates` finds those that vary. No expression looks at more than `LONGEST_MASKED`
characters of a text, and each looks ahead only a constant number of characters or over one class of characters. So the
time is bounded whatever a text holds.
"""

from __future__ import annotations

import json
import re

MASK = "…"
"""What stands in a template for a variable part."""

LONGEST_MASKED = 1_000
"""Characters of a message that its template is made of."""

_LONGEST_JSON = 20_000
_MESSAGE_KEYS = ("message", "msg", "event")
_TRACEBACK = "Traceback (most recent call last):"

_METHODS = r"(?:GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS)"
_UNITS = (
    r"(?:[nuµμm]?s|msecs?|sec(?:ond)?s?|m(?:in(?:ute)?s?)?|h(?:(?:ou)?rs?)?|d(?:ays?)?|weeks?|%|[kKMGTP]i?[bB]|[bB]|bytes?"
    r"|[kMG]?Hz|[kKMmx×]|st|nd|rd|th|USD|EUR|GBP|CHF|JPY)"
)
_MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = rf"(?:{'|'.join(_MONTH_NAMES)})[a-z]{{0,6}}"
_DAYS = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6}"

_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_DIGIT = re.compile(r"\d")
_REQUEST = re.compile(rf"\b({_METHODS}) (?=/|https?:)[^\s\"']+")
# a request line keeps its method, and structlog's key=value output its event
_QUOTED = re.compile(
    r"""(?<![\w'"])(?<!event=)(?<!message=)(?<!msg=)[bru]?(?:"""
    rf"""'(?!{_METHODS} )(?:[^'\n]|(?<=\w)'(?=\w)){{0,300}}'"""
    rf"""|"(?!{_METHODS} )[^"\n]{{0,300}}"|`[^`\n]{{0,300}}`)(?![\w'"])"""
)
_URL = re.compile(r"""\b([a-zA-Z][a-zA-Z0-9+.]{1,15}://[^\s/?#"'<>()\]},;]{1,255})[/?#][^\s"'<>()\]},;]*""")
_QUERY = re.compile(r"""(?<=[\w/…-])\?[\w.~%-]{1,100}=[^\s"'<>()\]},;]*""")
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,6}")
_HOST = re.compile(r"(?<![\w.-])(?:[a-zA-Z][\w-]{0,62}(?:\.[\w-]{1,63}){1,6}|localhost):\d{2,5}(?!\w|\.\w)")
_SEGMENT = re.compile(r"(?<=[/\\])[^\s/\\\"'<>()\[\]{},;:=?&]*\d[^\s/\\\"'<>()\[\]{},;:=?&]*")
# a UUID, or at least 16 hexadecimal digits; written so that most places of a text are left after one look
_OPAQUE = re.compile(r"[0-9a-fA-F]{8}(?:-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|[0-9a-fA-F]{8,})(?![0-9a-zA-Z])")
_COLONS = re.compile(
    r"(?<![\w:])(?:(?:[0-9a-fA-F]{1,4}::?){2,8}[0-9a-fA-F]{0,4}|(?:[fF][eE]80)?::[0-9a-fA-F]{1,4})(?:%\w{1,15})?(?![\w:])"
)
_PREFIXED = re.compile(r"(?<=[a-z]{2}_)(?=[A-Za-z]*[0-9])[A-Za-z0-9]{8,}(?![A-Za-z0-9_])")
# letters and digits at random, which CamelCase with a number in it is not
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9])(?=[A-Za-z]*[0-9])(?![a-z]*(?:[A-Z]{1,5}[a-z]{2,}|[0-9]{1,4}(?![0-9]))+(?![A-Za-z0-9]))"
    r"[A-Za-z0-9]{14,}(?![A-Za-z0-9])"
)
_CODE = re.compile(r"(?<![\w-])[A-Z]{1,6}-\d[A-Z0-9]*(?:-[A-Z0-9]+){0,4}(?![\w-])")
_HEX = re.compile(
    r"(?<![0-9a-zA-Z])(?:nan|NaN|inf|[0-9][xX][0-9a-fA-F]+|(?=[0-9]*[a-fA-F])(?=[a-fA-F]*[0-9])[0-9a-fA-F]{6,}|[a-f]{8,}|[A-F]{8,}"
    r"|(?:[A-Za-z]+[0-9]+){2,}[A-Za-z]*|[0-9]+(?:[A-Za-z]+[0-9]+)+[A-Za-z]*)(?![0-9a-zA-Z])"
)
_NUMBER = re.compile(
    r"\d(?:[\d.,:_'’]*\d)?(?:[eE][-+]?\d+)?(?:-?(?:rc|a|b|alpha|beta|dev|post)\.?\d+)?"
    rf"(?: ?{_UNITS}(?!\w))?"
)
_BOUND = re.compile(r"(?<=\s)[<>~]=?(?=\d[\w.]*(?: sec)?(?:[\s,;]|$))")
_SIGN = re.compile(r"[-+−$€£¥](?<![^\W_].)(?<![.)\]…].)[$€£¥]?(?=…)")
_DATE = re.compile(rf"(?:\b{_DAYS},? {{1,2}}(?={_MONTHS}|…))?(?:\b{_MONTHS},? {{1,2}}…|…[ /-]{_MONTHS}\b)")
# an empty list is a list; after a word it is a call
_EMPTY = re.compile(r"(?<![\w.])([(\[{])([)\]}])")
_RUN = re.compile(r"…(?:[-.,:/_@+ ×xTZ%~#]{0,3}…)+|…(?:Z| (?:[AP]M|UTC|GMT|[PECM][SD]T)\b)")


def headline(text: str) -> str:
    """Return the line that a message's template is made of.

    That is its first line; of a JSON object its event or message; with a traceback in it, its last line, too, which
    names the exception. The line has at most `LONGEST_MASKED` characters and, where it was longer, `MASK`.
    """
    if text[:1] == "{" and len(text) <= _LONGEST_JSON:
        text = _message_in_json(text)
    start = text[: 2 * LONGEST_MASKED].lstrip()
    line = start.partition("\n")[0].rstrip()
    if len(line) < len(start) and _TRACEBACK in text:
        last = text[-LONGEST_MASKED:].rstrip().rpartition("\n")[2].strip()
        line = f"{line[: LONGEST_MASKED // 2]} {last}"
    return line if len(line) <= LONGEST_MASKED else f"{line[:LONGEST_MASKED]}{MASK}"


def _message_in_json(text: str) -> str:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    for key in _MESSAGE_KEYS:
        if isinstance(found, dict) and isinstance(found.get(key), str):
            return str(found[key])
    return text


def shape(text: str) -> str:
    """Return a text that is the same for texts that differ in digits and long ids only; they have the same mask.

    This is much faster than `mask`, so that what is known of a text can be found by it.
    """
    # bytes are translated many times faster than text
    zeros = text.encode("utf-8", "surrogatepass").translate(_ZEROS).decode("utf-8", "surrogatepass")
    text = _OPAQUE.sub(MASK, zeros)
    return _PREFIXED.sub(MASK, text) if "_" in text else text


def mask(text: str) -> str:
    """Return `text` with each variable part replaced by `MASK`, runs of them by one, and runs of spaces by one.

    Args:
        text: one line of at most `LONGEST_MASKED` characters.
    """
    text = _OPAQUE.sub(MASK, text)
    if "/" in text:
        text = _REQUEST.sub(r"\1 …", text)
    if '"' in text or "'" in text or "`" in text:
        text = _QUOTED.sub(MASK, text)
    if "://" in text:
        text = _URL.sub(r"\1/…", text)
    if "?" in text:
        text = _QUERY.sub("", text)
    if "@" in text:
        text = _EMAIL.sub(MASK, text)
    if "_" in text:
        text = _PREFIXED.sub(MASK, text)
    text = _mask_digits(text) if _DIGIT.search(text) else _HEX.sub(MASK, text)
    if "()" in text or "[]" in text or "{}" in text:
        text = _EMPTY.sub(rf"\1{MASK}\2", text)
    text = _RUN.sub(MASK, _RUN.sub(MASK, text)) if MASK in text else text
    return " ".join(text.split())


def _mask_digits(text: str) -> str:
    if "/" in text or "\\" in text:
        text = _SEGMENT.sub(MASK, text)
    if ":" in text:
        text = _COLONS.sub(MASK, _HOST.sub(MASK, text))
    if "-" in text:
        text = _CODE.sub(MASK, text)
    text = _HEX.sub(MASK, _TOKEN.sub(MASK, text))
    text = _BOUND.sub("", text) if "<" in text or ">" in text or "~" in text else text
    text = _SIGN.sub("", _NUMBER.sub(MASK, text))
    return _DATE.sub(MASK, text) if any(map(text.__contains__, _MONTH_NAMES)) else text
