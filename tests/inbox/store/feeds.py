"""What tests store in a feed."""

from __future__ import annotations


def add(feed, **fields):
    return feed.add_event({"channelName": "general", "title": "T", **fields}, now=1_800_000_000.9876)


def identify(feed, user_id, *aliases, merge=True, **properties):
    return feed.identify(user_id, properties, aliases, now=1_800_000_000.0, merge=merge)
