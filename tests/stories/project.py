"""An application that is made by what a guide says: its files, its commands, its server."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.docs.pages import blocks, commands
from tests.programs import environment, started

PATIENCE = 60.0
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def free_port() -> int:
    """Return a port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listening(url: str) -> None:
    """Wait until a server accepts connections; some print their address before."""
    parts = urlsplit(url)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection((parts.hostname, parts.port), PATIENCE).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, f"nothing listens at {url}"
            time.sleep(0.05)
        else:
            return


class Project:
    """A folder, and the guides that are followed in it.

    Attributes:
        folder: where commands run.
        output: the lines that servers have printed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output: list[str] = []

    def write(self, page: str, *files: str) -> None:
        """Write files as a page has them; a block that belongs to the end of a file is appended to it."""
        for file in files:
            found = [block for block in blocks(page) if block.file == file]
            assert found, f"{page} has no {file}"
            for block in found:
                self.add(file, block.text, is_appended=block.is_appended)

    def add(self, file: str, text: str, *, is_appended: bool = True) -> None:
        """Write what belongs to the application and to no guide."""
        path = self.folder / file
        before = path.read_text("utf-8") if is_appended and path.exists() else ""
        path.write_text(f"{before}\n{text}" if before else text, "utf-8")

    def do(self, page: str, command: str) -> str:
        """Run a command of a page to its end, and return what it prints."""
        assert command in commands(page), f"{page} does not say: {command}"
        return self.run(*shlex.split(command))

    def run(self, *command: str, **more: str) -> str:
        """Run a command that belongs to no guide."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment(PATH=PATH, **more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    @contextlib.contextmanager
    def serve(self, page: str, command: str, pattern: str, *further: str, **more: str) -> Iterator[str]:
        """Run a server of a page until the block ends.

        Args:
            page: the guide.
            command: as the guide has it.
            pattern: what it prints when it is ready; its first group is the value. Empty for one that prints nothing.
            further: arguments that the guide leaves to the reader, such as the port.
            more: of its environment.
        """
        assert command in commands(page), f"{page} does not say: {command}"
        program, *arguments = shlex.split(command)
        found = next(path for folder in PATH.split(os.pathsep) if (path := Path(folder) / program).exists())
        self.output.clear()
        started_command = [str(found), *arguments, *further]
        with started(pattern, started_command, self.folder, self.output, PATIENCE, PATH=PATH, **more) as value:
            if value.startswith("http"):
                listening(value)
            yield value

    def printed(self, text: str) -> int:
        """Return how many lines of the server's output contain a text."""
        return sum(text in line for line in self.output)
