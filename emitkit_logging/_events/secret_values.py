"""Whether a value that stands behind a secret name in a text is a secret, or a word about one."""

from __future__ import annotations

import re

from emitkit_logging._events.secret_names import Secrecy

_NO_SECRETS = """
none null nil undefined true false yes no on off ok okay required invalid incorrect expired missing wrong bad failed
failure failing mismatch mismatched changed updated reset empty set unset hidden masked removed present absent
unknown denied valid verified rejected revoked refreshed created deleted weak strong disabled enabled optional not
must should is was has have had are were cannot can could may will would the a an this that for to too of in and or
but with without by from stored received sent used issued rotated granted accepted found loaded saved skipped
success succeeded error errors basic bearer digest oauth oauth2 ldap saml saml2 jwt password token default auto
string str int bytes bool any object text field md5 sha1 sha256 sha512 hs256 hs512 rs256 es256 tls1 tls12 tls13 v1
v2 v3 v4 http https http2 x509 ed25519 rsa2048 rsa4096 base64
"""
_WORDS = frozenset(_NO_SECRETS.split())
_PLACEHOLDER = re.compile(
    r"""\[?(?:redacted|filtered)\]?|[*•.xX…]{3,}|\*+|%s|%r|%\(\w+\)s|\?|\{[\w!:.]*\}"""
    r"""|\$\{[\w.:-]*\}|<[\w ./-]+>|\[\]|\{\}|\(\)|-+""",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[-+]?[\d.,:/]+(?:[munµ]?s|sec|min|%|[kKmMgG]i?[bB]?|h|d|x)?")
_DIGITS = re.compile(r"\d{6,}")
_CODE = re.compile(r"(?:self|cls|settings|config|conf|os|env|request|args|options|kwargs|app|ctx|Secret\w*)[.(\[].*")
_NAME = re.compile(r"[A-Za-z_]+(?:[.-][A-Za-z_]+)*")
_ASSIGNMENT = re.compile(r"[A-Za-z_]+=[^=\s].*")
_CALL = re.compile(r"[A-Za-z_][\w.]*\(.*")
_DIRECTORY = re.compile(r"(?:/[A-Za-z]?[a-z_.-]+\d{0,3})+/?")
_PATH = re.compile(r"(?:~|\.{1,2})?/[\w./-]*")
_LONG_WORD = re.compile(r"[A-Za-z]{20,}")
_DIRECTORY_NAMES = ("pwd", "oldpwd")  # what a shell calls the directory that it is in
_NUMERIC_NAMES = ("otp", "totp", "pin", "token")


def is_secret_value(value: str, key: str, secrecy: Secrecy, *, is_prose: bool) -> bool:
    """Whether a value in a text is a secret.

    Args:
        value: the value, without quotes.
        key: the name before it.
        secrecy: what the name says.
        is_prose: whether it may be a word of a sentence: it has no quotes and stands behind a colon.
    """
    value = value.rstrip(".,;:!?") or value
    if not value or value.lower() in _WORDS or _PLACEHOLDER.fullmatch(value) or _CODE.fullmatch(value):
        return False
    if value.lower() == key.lower():  # `connect(password=password)` in a line of code
        return False
    if secrecy is Secrecy.CERTAIN:
        is_directory = key.lower() in _DIRECTORY_NAMES and _DIRECTORY.fullmatch(value) is not None
        return not (is_prose or is_directory)
    return _looks_secret(value, key)


def _looks_secret(value: str, key: str) -> bool:
    if _NUMBER.fullmatch(value):
        is_number_secret = key.lower().endswith(_NUMERIC_NAMES)
        return is_number_secret and (
            _DIGITS.fullmatch(value) is not None or (value.isdigit() and len(value) > 3 and "token" not in key.lower())
        )
    if _ASSIGNMENT.fullmatch(value) or _CALL.fullmatch(value):  # `auth: user=u`, `signature: f(x)`
        return False
    if _NAME.fullmatch(value) or _PATH.fullmatch(value):
        return _LONG_WORD.fullmatch(value) is not None
    return True
