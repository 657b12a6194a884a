"""Threads, forks, exits and HTTP."""
