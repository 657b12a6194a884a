"""The store of a fleet, in Redis: the application's side, and that of the relay, which sends."""
