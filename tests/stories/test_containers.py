"""The guide for containers: the services of its compose file, as processes of this machine."""

from __future__ import annotations

import json
import re

import yaml

from tests.docs.pages import blocks
from tests.programs import get, started
from tests.stories.project import PATH, PATIENCE, free_port, listening

PAGE = "guides/containers.md"


def block(name):
    """Return the block of a file of the page."""
    (found,) = [each for each in blocks(PAGE) if each.file == name]
    return found


def test_dockerfile():
    """The image is built of what the guides have, and its first process is the server."""
    text = block("Dockerfile").text
    copied = re.search(r"^COPY (.*) \./$", text, re.MULTILINE)
    assert copied is not None
    assert copied.group(1).split() == ["shop.py", "logging.json"]
    assert "pip install --no-cache-dir gunicorn 'emitkit-logging[inbox]'" in text


def test_compose(project, monkeypatch):
    """The command of each service runs with the service's environment, and the shop's event is in the other's feed."""
    project.write("guides/wsgi.md", "shop.py")
    (configuration,) = blocks("guides/gunicorn.md", "json")
    project.add("logging.json", configuration.text)
    services = yaml.safe_load(block("compose.yaml").text)["services"]
    command = re.search(r"^CMD (\[.*\])$", block("Dockerfile").text, re.MULTILINE)
    assert command is not None
    shop, emitkit = json.loads(command.group(1)), services["emitkit"]["command"]
    ports = {"8000": str(free_port()), "8025": str(free_port())}

    def here(text: str) -> str:
        """Return a text of the page with the ports of this test, and loopback for the network of compose."""
        text = re.sub(r"\b(8000|8025)\b", lambda found: ports[found.group()], text)
        return text.replace("//emitkit:", "//127.0.0.1:").replace("0.0.0.0", "127.0.0.1")

    for name in ("EMITKIT_API_KEY", "EMITKIT_BASE_URL"):
        monkeypatch.delenv(name)
    environment = {name: here(value) for name, value in services["shop"]["environment"].items()}
    said: list[str] = []
    inbox = [here(each) for each in emitkit]
    with started(r"(http://[\d.:]+)", inbox, project.folder, said, PATIENCE, PATH=PATH) as address:
        served = [here(each) for each in shop]
        with started(r"Listening at: (\S+)", served, project.folder, [], PATIENCE, PATH=PATH, **environment) as url:
            listening(url)
            assert get(f"{url}/") == 200
        headers = {"Authorization": f"Bearer {environment['EMITKIT_API_KEY']}"}
        assert get(f"{address}/v1/events", **headers) == 200
    assert any("Shop Opened" in line for line in said)
