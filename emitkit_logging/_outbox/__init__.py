"""What is sent next, and what became of it. Pure: the clock is passed in."""
