"""Event context: which values it has, and which code it applies to."""
