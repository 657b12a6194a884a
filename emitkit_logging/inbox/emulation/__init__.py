"""How the two servers in use decide and answer. Pure: the clock is passed in."""
