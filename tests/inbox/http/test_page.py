"""The data that the page requests, and who may request it, without a browser."""

from __future__ import annotations

import http.client
import json
from datetime import datetime
from pathlib import Path

import pytest
import requests

from emitkit_logging import inbox
from emitkit_logging.inbox import Inbox

from .calls import ask

STATIC = Path(inbox.__file__).parent / "static"
ERROR = {"log": {"level": "ERROR"}}


def get(client, path, **query):
    return requests.get(f"{client.inbox.url}/{path}", params=query, timeout=10)


def post(client, path, body=None, **headers):
    return requests.post(f"{client.inbox.url}/{path}", json=body or {}, headers=headers, timeout=10)


def titles(client, **query):
    return [event["title"] for event in get(client, "_inbox/feed", **query).json()["events"]]


class Stream:
    """A reader of the page's stream."""

    def __init__(self, client, **query):
        self._response = requests.get(f"{client.inbox.url}/_inbox/stream", params=query, stream=True, timeout=10)
        self._lines = self._response.iter_lines()
        self.last = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._response.close()

    def news(self):
        for line in self._lines:
            if line.startswith(b"id: "):
                self.last = int(line[4:])
            if line.startswith(b"data: "):
                return json.loads(line[6:])
        raise AssertionError("the stream ended")


def test_the_files_are_safe(client):
    """No script runs but the page's own, and no other host is asked."""
    scripts = sorted(path.name for path in STATIC.glob("*.js"))
    assert "page.js" in scripts
    for path, kind in (("", "text/html"), ("page.css", "text/css"), *((name, "text/javascript") for name in scripts)):
        response = get(client, path)
        assert (response.status_code, response.headers["content-type"]) == (200, f"{kind}; charset=utf-8")
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "://" not in response.text.replace("http://www.w3.org/2000/svg", "")
    assert " style=" not in get(client, "").text
    assert not any("innerHTML" in get(client, name).text for name in scripts)


def test_rows_newest_first_by_channel_level_and_text(fresh):
    """Filters are combined; text is found in any case, and literally."""
    fresh.event(title="Plain", channelName="a")
    fresh.event(title="100% of_it", channelName="b", metadata=ERROR)
    fresh.event(
        title="Ümlaut", channelName="b", metadata={"log": {"level": "WARNING"}, "order": "X-77"}, tags=["tagged"]
    )
    assert titles(fresh) == ["Ümlaut", "100% of_it", "Plain"]
    assert titles(fresh, channel="b") == ["Ümlaut", "100% of_it"]
    assert titles(fresh, level="ERROR") == ["100% of_it"]
    assert titles(fresh, level="warning", channel="b") == ["Ümlaut", "100% of_it"]
    for text, found in (("üML", ["Ümlaut"]), ("0% OF_", ["100% of_it"]), ("x-77", ["Ümlaut"]), ("TAGGED", ["Ümlaut"])):
        assert titles(fresh, q=text) == found
    assert titles(fresh, q="nowhere") == titles(fresh, q="_n") == []


def test_rows_in_pages(fresh):
    """The next page has the events before the last one of the page before."""
    for number in range(5):
        fresh.event(title=str(number))
    first = get(fresh, "_inbox/feed", limit=2).json()
    assert ([event["title"] for event in first["events"]], first["more"]) == (["4", "3"], True)
    rest = get(fresh, "_inbox/feed", limit=3, before=first["events"][-1]["seq"]).json()
    assert ([event["title"] for event in rest["events"]], rest["more"]) == (["2", "1", "0"], False)
    assert (first["newest"], first["generation"], first["faults"]) == (5, "current", [])
    assert titles(fresh, limit="many", before="none") == list("43210")


def test_rows_of_a_range_of_time(fresh):
    """A range in milliseconds takes what was stored from its begin on and before its end; no number is no range."""
    fresh.event(title="now")
    created = get(fresh, "_inbox/feed").json()["events"][0]["createdAt"].replace("Z", "+00:00")
    now = int(datetime.fromisoformat(created).timestamp() * 1000)
    assert titles(fresh, since=now - 600_000, until=now + 600_000) == ["now"]
    assert titles(fresh, since=now + 600_000) == titles(fresh, until=now - 600_000) == []
    assert titles(fresh, since="x", until="-1") == ["now"]


def test_one_event_is_read(fresh):
    """A row says whether its event is unread, until it alone is marked as read."""
    for _ in range(2):
        fresh.event(title="T")
    newer, older = get(fresh, "_inbox/feed").json()["events"]
    assert newer["isUnread"] is older["isUnread"] is True
    post(fresh, "_inbox/read", {"event": older["id"]})
    after = get(fresh, "_inbox/feed").json()
    assert [event["isUnread"] for event in after["events"]] == [True, False]
    assert after["channels"][0]["unread"] == 1


def test_unread_counts(fresh):
    """Each channel counts its unread events until they are marked as read."""
    for name in ("a", "a", "b"):
        fresh.event(channelName=name, icon="👤")

    def unread():
        return {each["name"]: each["unread"] for each in get(fresh, "_inbox/feed").json()["channels"]}

    assert unread() == {"a": 2, "b": 1}
    assert post(fresh, "_inbox/read", {"channel": "a"}).status_code == 204
    assert unread() == {"a": 0, "b": 1}
    fresh.event(channelName="a")
    assert unread() == {"a": 1, "b": 1}
    post(fresh, "_inbox/read")
    assert unread() == {"a": 0, "b": 0}


def test_removed_events_are_not_counted():
    """An event that is no longer kept is neither listed nor unread."""
    with Inbox(keep=3) as inbox:
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {inbox.api_key}"
        for number in range(5):
            session.post(f"{inbox.url}/v1/events", json={"channelName": "a", "title": str(number)}, timeout=10)
        feed = requests.get(f"{inbox.url}/_inbox/feed", timeout=10).json()
        assert [event["title"] for event in feed["events"]] == ["4", "3", "2"]
        assert feed["channels"] == [{"name": "a", "icon": None, "events": 3, "unread": 3}]


def test_the_stream_has_what_is_new(fresh):
    """The stream has new events, changed events, and that all were cleared."""
    fresh.event(title="before")
    with Stream(fresh) as stream:
        fresh.event(title="one", fields=[{"id": "n", "type": "text", "label": "N"}])
        news = stream.news()
        assert [event["title"] for event in news["events"]] == ["one"]
        assert (news["missed"], news["changed"], news["cleared"], stream.last) == (0, [], False, 2)
        assert news["channels"] == [{"name": "tests", "icon": None, "events": 2, "unread": 2}]
        asked = news["events"][0]["id"]
        post(fresh, f"_inbox/events/{asked}/answer", {"action": "submit"})
        news = stream.news()
        assert [(event["id"], event["answer"]["status"]) for event in news["changed"]] == [(asked, "answered")]
        assert news["events"] == []
        post(fresh, "_inbox/clear")
        assert stream.news()["cleared"]
    assert titles(fresh) == []


def test_the_stream_continues_where_it_broke_off(fresh):
    """The stream starts after the last id that the browser has; of very many events it has the newest."""
    for number in range(150):
        fresh.event(title=str(number))
    with Stream(fresh, after=10) as stream:
        news = stream.news()
        assert [event["title"] for event in news["events"]] == [str(number) for number in range(50, 150)]
        assert (news["missed"], stream.last) == (40, 150)


def test_the_stream_ends_with_the_inbox(connect):
    """An open page does not delay the end of the inbox."""
    inbox = Inbox()
    with Stream(connect(inbox)) as stream:
        inbox.close()
        with pytest.raises((AssertionError, requests.RequestException)):
            stream.news()


def test_no_key_is_shown(fresh):
    """The API key is masked wherever it was logged."""
    key = fresh.inbox.api_key
    with Stream(fresh) as stream:
        fresh.event(title=f"The key {key}", metadata={"key": key})
        assert stream.news()["events"][0]["metadata"] == {"key": "[api key]"}
    assert key not in get(fresh, "_inbox/feed").text
    assert titles(fresh) == ["The key [api key]"]


def test_other_pages_change_nothing(client):
    """A page of another origin or under another name is refused, and so is what a form can send."""
    port = client.inbox.url.rpartition(":")[2]
    for headers, status in (
        ({"Origin": client.inbox.url}, 204),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": f"evil.example:{port}"}, 403),
        ({"Content-Type": "text/plain"}, 415),
    ):
        assert post(client, "_inbox/read", {"channel": "nowhere"}, **headers).status_code == status
    assert requests.get(client.inbox.url, headers={"Host": "evil.example"}, timeout=10).status_code == 403


def test_requests_of_the_page_are_not_logged(fresh):
    """The request log has requests to the API only."""
    get(fresh, "_inbox/feed")
    post(fresh, "_inbox/read")
    fresh.event()
    assert [request["path"] for request in fresh.inbox.requests] == ["/v1/events"]


def test_another_address_needs_the_key():
    """On a public address the page asks for the API key as a password."""
    with Inbox(host="0.0.0.0", api_key="emitkit_secret") as inbox:
        url = f"http://127.0.0.1:{inbox.url.rpartition(':')[2]}/_inbox/feed"
        assert requests.get(url, timeout=10).headers["WWW-Authenticate"].startswith("Basic ")
        for password, status in (("emitkit_secret", 200), ("wrong", 401), ("", 401)):
            assert requests.get(url, auth=("any", password), timeout=10).status_code == status
        for header in ("Basic", "Basic !", "Bearer emitkit_secret"):
            assert requests.get(url, headers={"Authorization": header}, timeout=10).status_code == 401


def test_below_a_prefix(connect):
    """With a prefix, the page is served below it."""
    with Inbox(prefix="/api") as inbox:
        connect(inbox).event()
        assert requests.get(f"{inbox.url}/", timeout=10).status_code == 200
        assert len(requests.get(f"{inbox.url}/_inbox/feed", timeout=10).json()["events"]) == 1


def test_lists_its_events_under_loopback_names_only(client):
    """Programs of this machine may read the events, without keys in them; a page under another name may not."""
    client.event(title=f"Listed {client.inbox.api_key}")
    url = f"{client.inbox.url}/_inbox/events"
    listed = requests.get(url, timeout=10)
    assert "Listed [api key]" in [event["title"] for event in listed.json()["events"]]
    assert client.inbox.api_key not in listed.text
    for host, status in (("localhost:1", 200), ("[::1]", 200), ("evil.example", 403)):
        assert requests.get(url, headers={"Host": host}, timeout=10).status_code == status


@pytest.mark.parametrize(
    "host", ["a{b.evil.example:8025", "evil.example", "127.0.0.1.evil.example", "[::1].evil.example"]
)
def test_a_host_that_cannot_be_parsed_is_refused(client, host):
    """The header itself is checked: browsers send hosts that the framework cannot parse."""
    headers = {"Host": host, "Origin": f"http://{host}", "Content-Type": "application/json"}
    assert requests.get(f"{client.inbox.url}/_inbox/events", headers=headers, timeout=10).status_code == 403
    assert requests.post(f"{client.inbox.url}/_inbox/clear", headers=headers, data=b"", timeout=10).status_code == 403


def test_a_request_with_two_hosts_is_refused(client):
    """It is not clear which of two hosts a browser meant."""
    connection = http.client.HTTPConnection(client.inbox.url.removeprefix("http://"), timeout=10)
    connection.putrequest("GET", "/_inbox/events", skip_host=True)
    connection.putheader("Host", "evil.example")
    connection.putheader("Host", "127.0.0.1")
    connection.endheaders()
    assert connection.getresponse().status in (400, 403)
    connection.close()


def test_a_search_text_has_a_limit(client):
    """A text that the database could not search for is refused."""
    assert get(client, "_inbox/feed", q="a" * 1_000).status_code == 200
    assert get(client, "_inbox/feed", q="a" * 1_001).status_code == 400


def test_an_answer_that_is_no_text_is_refused(fresh):
    """An action of another type is refused like one that does not exist."""
    event = ask(fresh)
    for action in (["yes"], {"id": "yes"}, 1):
        assert post(fresh, f"_inbox/events/{event['id']}/answer", {"action": action}).status_code == 400
