"""Secrets that are recognised by their shape, wherever they stand in a text.

Every function takes time in proportion to the length of its text, whatever the text is.
"""

from __future__ import annotations

import re

REDACTED = "[redacted]"

_EMITKIT_KEY = re.compile(r"(emitkit_|whsec_)([A-Za-z0-9_+/=-]{8,})")
_LETTERS_AND_DIGITS = re.compile(r"[A-Za-z0-9]{16,}")


def _any_case(word: str, after: str) -> re.Pattern[str]:
    """Return a pattern of a word in any case and what follows; each alternative begins with one fixed character."""
    rest = "".join(f"[{char}{char.upper()}]" for char in word[1:])
    alternatives = (f"{first}(?<![A-Za-z]{first}){rest}" for first in (word[0], word[0].upper()))
    return re.compile(f"({'|'.join(alternatives)}){after}")


def _at_word_start(*shapes: str) -> re.Pattern[str]:
    """Return a pattern of shapes that begin a word. The search skips all other first characters."""
    return re.compile("|".join(f"{shape[0]}(?<![A-Za-z0-9]{shape[0]}){shape[1:]}" for shape in shapes))


_KEYS = _at_word_start(
    "AKIA[A-Z0-9]{16}(?![A-Za-z0-9])",  # AWS
    "ASIA[A-Z0-9]{16}(?![A-Za-z0-9])",
    r"AIza[\w-]{35}",  # Google
    r"ya29\.[\w-]{20,}",
    "gh[opsur]_[A-Za-z0-9]{20,}",  # GitHub
    r"github_pat_\w{20,}",
    r"gl(?:pat|dt|rt|cbt|ptt|soat)-[\w-]{16,}",  # GitLab
    "sk_(?:live|test)_[A-Za-z0-9]{8,}",  # Stripe
    "rk_(?:live|test)_[A-Za-z0-9]{8,}",
    r"xox[a-z](?:\.xox[a-z])?-[\w-]{8,}",  # Slack
    r"xapp-[\w-]{8,}",
    r"sk-(?=[\w-]{0,40}\d)[\w-]{20,}",  # OpenAI, Anthropic
    r"SG\.[\w-]{16,}\.[\w-]{16,}",  # SendGrid
    "npm_[A-Za-z0-9]{30,}",
    r"pypi-[\w-]{50,}",
    "hf_[A-Za-z]{30,}",
    "dop_v1_[0-9a-f]{40,}",  # DigitalOcean
    "shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",  # Shopify
    "AGE-SECRET-KEY-1[A-Z0-9]{20,}",
    "key-[0-9a-f]{32}(?![A-Za-z0-9])",  # Mailgun
    r"eyJ[\w-]{6,}\.[\w-]{4,}\.[\w-]*(?:\.[\w-]+)*",  # JWT
)
_TELEGRAM_KEY = re.compile(r":AA(?<=\d:AA)[\w-]{33}(?![\w-])")
_SLACK_HOOK = re.compile(r"(hooks\.slack\.com/(?:services|workflows)/)[\w/-]+")
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]{1,60}-----|\Z)", re.DOTALL
)
_CARD = re.compile(
    "|".join(rf"{first}(?<![\w.+-]{first})\d{{3}}(?:[ -]?\d){{8,15}}(?![\w-]|\.\d)" for first in "23456")
)
_CARD_NUMBERS = re.compile(  # by issuer: Visa, Mastercard, American Express, Diners, Discover, JCB, Maestro, UnionPay
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}|35\d{14}"
    r"|5[0678]\d{10,17}|6\d{15,18}"
)
_BEARER = _any_case(r"bearer", r"""((?:\s|%20|\+){1,8}\\{0,4}["']?)([^\s"'<>,;)\]}\\]+)""")
_BASIC = _any_case(r"basic", r"""((?:\s|%20){1,8}\\{0,4}["']?)([A-Za-z0-9+/_-]{6,}={0,2})(?![\w.])""")
_AFTER_BEARER = """
token tokens auth authentication authorization authenticated of is was are were has had header headers scheme
schemes not missing required and or for in on to with from error the a an method type realm credentials credential
format invalid expired challenge prefix string value bonds bond plants plant
"""
_NOT_TOKENS = frozenset(_AFTER_BEARER.split())
_CHALLENGE = re.compile(  # or another pair: token_type=bearer expires_in=60
    r"(?:realm|error|error_description|scope|charset|resource_metadata)=|[a-z_]{2,30}=(?=[^=\s])", re.IGNORECASE
)
_ENCODED = re.compile(r"(?=.{0,200}(?:\d|[a-z][A-Z]|=$)).*", re.DOTALL)


def mask_shapes(text: str) -> str:
    """Return `text` with keys of known services, JWTs, private keys, bearer tokens and card numbers masked."""
    if "PRIVATE KEY" in text:
        text = _PRIVATE_KEY.sub(REDACTED, text)
    if "emitkit_" in text or "whsec_" in text:
        text = _EMITKIT_KEY.sub(_masked_emitkit_key, text)
    text = _BEARER.sub(_masked_token, text)
    text = _BASIC.sub(_masked_basic, text)
    if "hooks.slack" in text:
        text = _SLACK_HOOK.sub(rf"\1{REDACTED}", text)
    if ":AA" in text:
        text = _TELEGRAM_KEY.sub(f":{REDACTED}", text)
    text = _KEYS.sub(REDACTED, text)
    return _CARD.sub(_masked_card, text)


def _masked_emitkit_key(found: re.Match[str]) -> str:
    body = found[2]
    is_key = any(char.isdigit() for char in body) or _LETTERS_AND_DIGITS.match(body)
    return REDACTED if is_key else found[0]


def _masked_token(found: re.Match[str]) -> str:
    token = found[3]
    is_word = token.lower().rstrip(".:!?") in _NOT_TOKENS or _CHALLENGE.match(token) or token.startswith("[redacted")
    return found[0] if is_word else f"{found[1]}{found[2]}{REDACTED}"


def _masked_basic(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2]}{REDACTED}" if _ENCODED.fullmatch(found[3]) else found[0]


def _masked_card(found: re.Match[str]) -> str:
    number = re.sub("[ -]", "", found[0])
    return REDACTED if _CARD_NUMBERS.fullmatch(number) and _passes_luhn(number) else found[0]


def _passes_luhn(number: str) -> bool:
    digits = [int(digit) for digit in number]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


# URLs

_WEB = ("http", "https", "git+http", "git+https", "ws", "wss", "ftp", "ftps", "svn")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")
_LONGEST_SCHEME = 16
_USER_INFO = re.compile(
    r"""://(?:([^\s/?#:@"'<>,;]+)@|([^\s/?#:"'<>]*):((?:[^\s"'<>:]|:(?!//)|["'](?![\s,:;}\])]|$))*)@)"""
)
_PORT = re.compile(r"\d{1,5}(?:[/?#,;)\]}\"'\s]|$)")
_PASSWORD_IN_DSN = re.compile(r":[^\s:]*@(?=(?:tcp|unix)\()")
_FIXED_PASSWORDS = ("", "x-oauth-basic", "x-access-token", "x")
_NOT_TOKEN_USERS = frozenset(("git", REDACTED))
_HAS_DIGIT = re.compile(r"\d")


def mask_urls(text: str) -> str:
    """Return `text` with the passwords in URLs masked, and tokens that stand in the place of a user's name."""
    text = _USER_INFO.sub(_masked_user_info, text)
    return _PASSWORD_IN_DSN.sub(f":{REDACTED}@", text) if "@tcp(" in text or "@unix(" in text else text


def _masked_user_info(found: re.Match[str]) -> str:
    alone, user, password = found.groups()
    scheme = _SCHEME.search(found.string[max(0, found.start() - _LONGEST_SCHEME) : found.start()])
    is_web = scheme is not None and scheme[0].lower() in _WEB
    if alone is not None:
        return f"://{REDACTED}@" if is_web and alone not in _NOT_TOKEN_USERS else found[0]
    if is_web and _PORT.match(password + "@"):
        return found[0]
    if is_web and (password in _FIXED_PASSWORDS or (len(user) >= 16 and _HAS_DIGIT.search(user))):
        user = REDACTED
    return f"://{user}:{REDACTED}@"
