"""A wrong option is an error at configuration. The message names the option and never contains the key."""

from __future__ import annotations

import logging
import logging.config
import math
import socket

import pytest

from emitkit_logging import EmitKitFormatter, EmitKitHandler, event_context

KEY = "emitkit_0123456789abcdef"
LOCAL = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    monkeypatch.delenv("EMITKIT_API_KEY", raising=False)
    monkeypatch.delenv("EMITKIT_BASE_URL", raising=False)


def make(**options) -> EmitKitHandler:
    return EmitKitHandler(**{"api_key": KEY, "base_url": LOCAL, **options})


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("api_key", 5, TypeError),
        ("api_key", "emitkit_ä", ValueError),
        ("api_key", "emitkit_a b", ValueError),
        ("base_url", 5, TypeError),
        ("base_url", "api.emitkit.com", ValueError),
        ("base_url", "ftp://example.com", ValueError),
        ("base_url", "http://example.com", ValueError),
        ("base_url", "http://[::1", ValueError),
        ("base_url", "https://ada:secret@example.com", ValueError),
        ("base_url", "https://example.com?x=1", ValueError),
        ("allow_http", "yes", TypeError),
        ("level", "LOUD", ValueError),
        ("level", 1.5, TypeError),
        ("channel_name", "", ValueError),
        ("channel_name", "x" * 256, ValueError),
        ("channel_name", None, TypeError),
        ("category_channel_map", ["x"], TypeError),
        ("category_channel_map", {"user": ""}, ValueError),
        ("level_channel_map", {"LOUD": "x"}, ValueError),
        ("level_channel_map", {"ERROR": 5}, TypeError),
        ("notify", 1, TypeError),
        ("display_as", "banner", ValueError),
        ("source", "x" * 51, ValueError),
        ("plain_level", "LOUD", ValueError),
        ("event_from_message", None, TypeError),
        ("timeout", 0, ValueError),
        ("timeout", math.nan, ValueError),
        ("timeout", "5", TypeError),
        ("queue_size", 0, ValueError),
        ("queue_size", 1.5, TypeError),
        ("alias_ttl", -1, ValueError),
        ("alias_cache_size", 0, ValueError),
        ("shutdown_timeout", -1, ValueError),
        ("rate_limit", -1, ValueError),
        ("rate_limit", True, TypeError),
        ("alert_reserve", 1.5, ValueError),
        ("notify_interval", -1, ValueError),
        ("notify_interval", "5", TypeError),
        ("capture_uncaught", "yes", TypeError),
        ("redact", "password", TypeError),
        ("redact", [5], TypeError),
        ("debug", "yes", TypeError),
    ],
)
def test_wrong(option, value, error, enabled):
    """Every option is checked, also in a disabled handler."""
    with pytest.raises(error, match=option) as caught:
        make(**{"enabled": enabled, option: value})
    assert KEY not in str(caught.value)


def test_unknown():
    """A misspelt option is a TypeError."""
    with pytest.raises(TypeError, match="chanel_name"):
        make(chanel_name="x")
    with pytest.raises(TypeError, match="chanel_name"):
        EmitKitFormatter(chanel_name="x")
    with pytest.raises(TypeError, match="enabled"):
        make(enabled="no")


def test_missing_key():
    """The error for a missing key names the variable to set; a disabled handler needs no key."""
    with pytest.raises(ValueError, match="EMITKIT_API_KEY"):
        EmitKitHandler()
    assert EmitKitHandler(enabled=False).handle(logging.makeLogRecord({})) is False


def test_environment(monkeypatch):
    """The key and the address come from the environment variables that the official SDK reads."""
    monkeypatch.setenv("EMITKIT_API_KEY", KEY)
    monkeypatch.setenv("EMITKIT_BASE_URL", "http://example.com")
    with pytest.raises(ValueError, match="base_url"):
        EmitKitHandler()
    EmitKitHandler(allow_http=True).close()


@pytest.mark.parametrize(
    "url", ["http://localhost:1/", "http://127.9.9.9", "http://[::1]:5/api", "https://example.com"]
)
def test_addresses(url):
    """Plain http is allowed to a loopback address, https to any."""
    make(base_url=url).close()


def test_unusual_key(caplog):
    """A key that does not look like EmitKit's is used. The warning does not contain it."""
    make(api_key="something-else").close()
    assert "emitkit_" in caplog.text
    assert "something-else" not in caplog.text


@pytest.mark.parametrize("level", ["error", "ERROR", 40, "40"])
def test_levels(level):
    """A level is a name in any case, a number or a string of digits."""
    handler = make(level=level, plain_level=None, level_channel_map=None)
    assert handler.level == logging.ERROR
    handler.close()


@pytest.mark.parametrize("kind", ["class", "()"])
def test_dict_config(kind):
    """dictConfig makes the handler in both of its forms; the cause of its error names a wrong option."""
    handler = {kind: "emitkit_logging.EmitKitHandler", "api_key": KEY, "base_url": LOCAL, "level": "INFO"}
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"emitkit": handler},
        "loggers": {"configured": {"handlers": ["emitkit"]}},
    }
    logging.config.dictConfig(config)
    (made,) = logging.getLogger("configured").handlers
    assert isinstance(made, EmitKitHandler)
    logging.getLogger("configured").handlers.clear()
    made.close()
    handler["display_as"] = "banner"
    with pytest.raises(ValueError, match="emitkit") as caught:
        logging.config.dictConfig(config)
    assert "display_as" in str(caught.value.__cause__)


@pytest.mark.parametrize("value", ["0", "false", "No", " OFF "])
def test_disabled_by_the_environment(monkeypatch, value):
    """`EMITKIT_ENABLED` disables a handler where a configuration file cannot; the option wins over it."""
    monkeypatch.setenv("EMITKIT_ENABLED", value)
    assert EmitKitHandler().handle(logging.makeLogRecord({"levelno": 50})) is False
    with pytest.raises(ValueError, match="api_key"):
        EmitKitHandler(enabled=True)


@pytest.mark.parametrize("value", ["1", "true", "", "whatever"])
def test_enabled_by_the_environment(monkeypatch, value):
    """Any other value leaves the handler enabled."""
    monkeypatch.setenv("EMITKIT_ENABLED", value)
    with pytest.raises(ValueError, match="api_key"):
        EmitKitHandler()


@pytest.mark.parametrize(("value", "is_allowed"), [("1", True), ("Yes", True), ("0", False), ("", False), ("x", False)])
def test_http_allowed_by_the_environment(monkeypatch, value, is_allowed):
    """`EMITKIT_ALLOW_HTTP` stands for `allow_http` where that is not given."""
    monkeypatch.setenv("EMITKIT_ALLOW_HTTP", value)
    if is_allowed:
        make(base_url="http://example.com").close()
        with pytest.raises(ValueError, match="base_url"):
            make(base_url="http://example.com", allow_http=False)
    else:
        with pytest.raises(ValueError, match="EMITKIT_ALLOW_HTTP=1"):
            make(base_url="http://example.com")


def test_both_ways_out(monkeypatch):
    """The error for a missing key says how to give one, and how to do without."""
    monkeypatch.delenv("EMITKIT_API_KEY", raising=False)
    with pytest.raises(ValueError, match=r"EMITKIT_API_KEY.*EMITKIT_ENABLED=0.*enabled=False"):
        EmitKitHandler()


def test_missing_key_in_dict_config(monkeypatch, caplog):
    """dictConfig hides the cause, and gunicorn, Django and Celery print only its own error: the library logs it too."""
    monkeypatch.delenv("EMITKIT_API_KEY", raising=False)
    config = {
        "version": 1,
        "incremental": False,
        "disable_existing_loggers": False,
        "handlers": {"emitkit": {"class": "emitkit_logging.EmitKitHandler"}},
    }
    errors: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record):
            errors.append(record.getMessage())

    keeping = Keeping()
    logging.getLogger("emitkit_logging").addHandler(keeping)
    try:
        with pytest.raises(ValueError, match="emitkit"):
            logging.config.dictConfig(config)
    finally:
        logging.getLogger("emitkit_logging").removeHandler(keeping)
    assert any("EMITKIT_API_KEY" in error for error in errors)


def test_context(handler, server, logger):
    """The handler's context is under what a block and the record say, and `server.host` is the machine's name."""
    logger.addHandler(handler(context={"server": {"release": "1.4"}, "region": "eu", "tenant": "all"}))
    with event_context(tenant="t", server={"route": "/x"}):
        logger.info("x", extra={"event": "a", "server": {"release": "2"}})
    logger.info("x", extra={"event": "b"})
    first, second = (seen.body["metadata"] for seen in server.wait_for(2))
    host = socket.gethostname()
    assert first["server"] == {"host": host, "release": "2", "route": "/x"}
    assert (first["region"], first["tenant"]) == ("eu", "t")
    assert second["server"] == {"host": host, "release": "1.4"}
    assert (second["region"], second["tenant"]) == ("eu", "all")


def test_context_of_everything(handler, server, logger):
    """The context may name the host, a channel and a user, and holds for records that fold."""
    logger.addHandler(handler(context={"server": {"host": "web-1"}, "channel": "ops", "user_id": "u"}, rate_limit=1))
    for _ in range(5):
        logger.error("down")
    seen = server.wait_for(1)[0].body
    assert (seen["channelName"], seen["userId"], seen["metadata"]["server"]) == ("ops", "u", {"host": "web-1"})


@pytest.mark.parametrize("value", ["x", {"event": "x"}, {5: "x"}])
def test_wrong_context(value):
    """What is no context is a TypeError."""
    with pytest.raises(TypeError, match=r"context|event"):
        make(context=value)
