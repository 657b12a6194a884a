"""How a log record becomes an event. Pure."""
