"""How the fields that are stored are read from a request."""

from __future__ import annotations

import pytest

from emitkit_logging._api.contract import CURRENT
from emitkit_logging.inbox.emulation.base import read_call
from emitkit_logging.inbox.emulation.refusals import Invalid


def test_keeps_the_fields_that_the_contract_has():
    """Unknown fields of an event are not stored."""
    assert read_call(CURRENT, "event", {"channelName": "c", "title": "t", "more": 1}) == {
        "channelName": "c",
        "title": "t",
    }


@pytest.mark.parametrize("sent", [{"user_id": "u"}, {"userId": "u"}, {"user_id": "u", "userId": "u"}])
def test_identify_takes_either_name_of_the_user(sent):
    """The current server accepts both names of the user's id, and fills in what is left out."""
    assert read_call(CURRENT, "identify", sent) == {"user_id": "u", "properties": {}, "aliases": []}


def test_names_what_is_wrong():
    """A refused request has all its problems, and they read well as a message."""
    with pytest.raises(Invalid, match=r"^channelName: .*; title: ") as caught:
        read_call(CURRENT, "event", {"title": ""})
    assert [problem["path"] for problem in caught.value.problems] == [["channelName"], ["title"]]
    with pytest.raises(Invalid, match=r"^body: "):
        read_call(CURRENT, "event", [])
