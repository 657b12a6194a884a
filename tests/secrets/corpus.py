"""Texts that hold a secret, of every kind that users expect to be masked, and lines that hold none.

No secret here is one: each is made of the same few words.
"""

from __future__ import annotations

MARK = "Hunter7Qz"
"""Stands in every secret, so that a leak is found in any encoding of the rest."""

LONG = f"{MARK}AbCdEf0123456789"
DIGITS = "4242424242424242"
JWT = f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1In0.{LONG}{LONG}"
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{LONG}\n{LONG}\n-----END RSA PRIVATE KEY-----"

SECRETS: tuple[str, ...] = (
    # addresses
    f"postgres://u:{MARK}@h/db",
    f"postgres://u:a/{MARK}@h/db",
    f'postgres://u:a"{MARK}@h/db',
    f"postgres://u:p@{MARK}@h/db",
    f"redis://:{MARK}@h:6379/0",
    f"amqp://u:{MARK}@h//",
    f"mongodb+srv://u:{MARK}@h/db?w=1",
    f"mysql+pymysql://u:{MARK}@h:3306/db",
    f"https://{MARK}@github.com/x.git",
    f"https://{MARK}:x-oauth-basic@github.com/x",
    f"u:{MARK}@tcp(10.0.0.1:3306)/db",
    f"GET /cb?token={MARK}&x=1",
    f"Max retries exceeded with url: /x?access_token={MARK}",
    f"https://h/x?api_key={MARK}#top",
    f"https://h/x?X-Amz-Signature={LONG}",
    f"https://h/x?sig={LONG}&se=1",
    f"/reset?password={MARK}",
    # headers
    f"Authorization: Bearer {LONG}",
    f"authorization: BeaRer {LONG}",
    f'Authorization: Bearer "{LONG}"',
    f"Authorization: Basic {LONG}==",
    f"Proxy-Authorization: Basic {LONG}==",
    f"Authorization: Token {LONG}",
    f"Cookie: sessionid={LONG}; theme=dark",
    f"Set-Cookie: session_id={LONG}; Path=/",
    f"X-Api-Key: {LONG}",
    f"X-CSRF-Token: {LONG}",
    f"[('Authorization', 'Basic {LONG}')]",
    f"{{'Cookie': 'a={LONG}'}}",
    f'curl -H "Authorization: Bearer {LONG}" https://h',
    # bodies and settings
    f'{{"password": "{MARK}"}}',
    f"{{'password': '{MARK}'}}",
    f'{{\\"password\\": \\"{MARK}\\"}}',
    f"password={MARK}&user=u",
    f"password='{MARK}'",
    f"password: {MARK}",
    f"Password : {MARK}",
    f"the password is {MARK}",
    f"Password is: {MARK}",
    f"DB_PASSWORD={MARK}",
    f"PGPASSWORD={MARK} psql",
    f"--password={MARK}",
    f"--api-key {MARK}",
    f"user=u password={MARK} host=h",
    f"pwd={MARK}",
    f"passphrase={MARK}",
    f"client_secret={MARK}",
    f"secret_key = '{MARK}'",
    f"refresh_token={LONG}",
    f"auth={LONG}",
    f"jwt={LONG}",
    f"signature={LONG}",
    f"access_key={LONG}",
    f"aws_secret_access_key = {LONG}",
    f"iban={LONG}",
    f"private_key={LONG}",
    f"password%3D{MARK}",
    f"<password>{MARK}</password>",
    f"<wsse:Password Type='text'>{MARK}</wsse:Password>",
    f"<password><![CDATA[{MARK}]]></password>",
    f'Content-Disposition: form-data; name="password"\r\n\r\n{MARK}\r\n--b',
    f"/x?user%5Bpassword%5D={MARK}",
    f"DB_PASS={MARK}",
    f"AccountKey={LONG}==;EndpointSuffix=x",
    # shapes
    f"emitkit_{LONG}",
    f"emitkit_live_{LONG}",
    f"whsec_{LONG}",
    JWT,
    PEM,
    PEM.replace("RSA PRIVATE", "PRIVATE"),
    PEM.replace("RSA", "OPENSSH"),
    f"ghp_{LONG}{LONG}",
    f"github_pat_{LONG}{LONG}",
    f"glpat-{LONG}",
    f"sk_live_{LONG}",
    f"rk_test_{LONG}",
    f"xoxb-123456789012-{LONG}",
    f"https://hooks.slack.com/services/T00000000/B00000000/{LONG}",
    f"npm_{LONG}{LONG}",
)
"""Texts with a secret each, which contains `MARK`."""

NUMBERS = (DIGITS, "4242 4242 4242 4242", "4242-4242-4242-4242", "378282246310005", "5555555555554444")
"""Card numbers, which pass Luhn; and keys of AWS, which have capitals and digits only."""

AWS_KEY = "AKIAIOSFODNN7EXAMPLE"

SECRET_KEYS = (
    *("password", "db_password", "passwd", "pwd", "passphrase", "secret", "client_secret", "token", "access_token"),
    *("api_key", "apiKey", "X-Api-Key", "authorization", "auth", "otp", "pin", "jwt", "session_id_cookie", "cookies"),
    *("csrf_token", "credentials", "private_key", "card_number", "credit_card", "cvv", "ssn", "iban", "signature"),
    "access_key",
)
"""Keys whose values are withheld, whatever they are."""

ORDINARY = (
    'SELECT "auth_user"."id", "auth_user"."password", "auth_user"."last_login" FROM "auth_user"',
    'INSERT INTO "auth_user" ("id", "password", "last_login", "is_active") VALUES (%s, %s, %s, %s)',
    *("token_type=bearer expires_in=3600", 'WWW-Authenticate: Bearer realm="api"', "pwd=/home/app", "PWD: /srv/www"),
    *("auth: user=jane result=ok", "signature: f(x: int) -> int", "api_keys: 3 active", "iban_country=DE"),
    *("author: Jane Doe", "tokenizer: bert-base", "monkey=banana", "passenger=Smith", "pinned: true", "spin=1"),
    *("signature_date=2026-01-01", "compass: north", "bypass=true", "keyboard: us", "turnkey=yes", "whiskey=1"),
    *("password is wrong", "password is too short", "password was reset", "password must have 8 characters"),
    *("token expired", "token is invalid", "no password given", "invalid password for user 7", "password: required"),
    *("Basic usage: see below", "Bearer of good news", "secret santa starts at 5", "key: value", "the key is missing"),
    *("card 7 of 52", "order 4242424242424241 failed", "pin: mapped", "authentication failed: timeout", "auth: ok"),
    *("tokens=512 in 0.4 s", "max_tokens=2048", "prompt_tokens: 12", "password reset for user 12", "2FA is on"),
    *("session started", "cookie policy accepted", "secretary=Bob", "tokenized 5 rows", "passed=12 failed=0"),
    *("GET /password/reset 200", "https://h/x?page=2&sort=asc", "user@example.com logged in", "a://b c@d"),
)
"""Lines that look like a secret and are none."""
