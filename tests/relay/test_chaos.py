"""Relays, applications and Redis that are killed or stopped at any moment: the account is exact.

What an application was told to be in Redis arrives at the server once; what it was not told arrives once or not at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

from tests.relay.fleet import APPLICATION, is_relayed, until

ROUNDS = 100 if os.environ.get("CHAOS") else 6

LOOP = """
start = int(os.environ["START"])
for number in range(start, start + 100_000):
    log.log(40 if number % 7 == 0 else 20, "x", extra={"event": f"name_{number}", "number": number})
    if number % 5 == 4:
        while not handler.flush(60):
            pass
        say(number)
    time.sleep(0.03)
"""


class Application:
    """Logs numbers, and says up to which of them Redis has acknowledged."""

    def __init__(self, url: str, start: int) -> None:
        environment = {**os.environ, "START": str(start), "OPTIONS": json.dumps({"relay": url, "timeout": 1.0})}
        self._start = start
        self._last = start - 1
        self.process = subprocess.Popen(
            [sys.executable, "-c", APPLICATION + LOOP],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._last = int(line)

    @property
    def acknowledged(self) -> set[int]:
        return set(range(self._start, self._last + 1))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(60)
        if self.process.stdout is not None:
            self.process.stdout.close()


def test_chaos(account, client, redis_server, relay):
    """Rounds of SIGKILL of leader, standby, applications and Redis, and SIGSTOP of the leader past its lease."""
    chance = random.Random(ROUNDS)
    arguments = ("--rate-limit", "0", "--timeout", "0.5")
    relays = [relay(*arguments), relay(*arguments)]
    until(lambda: any(each.leads for each in relays))
    ended: list[Application] = []
    applications = [Application(redis_server.url, number * 1_000_000) for number in range(2)]

    def leader():
        until(lambda: any(each.leads for each in relays))
        return next(each for each in relays if each.leads)

    def replace_relay(victim) -> None:
        victim.process.send_signal(signal.SIGCONT)
        victim.kill()
        relays[relays.index(victim)] = relay(*arguments)

    try:
        actions = ["leader", "redis", "application", "standby", "leader", "stop"]
        actions += [chance.choice(["leader", "redis", "application", "standby", "stop"]) for _ in range(ROUNDS - 6)]
        for number, action in enumerate(actions, 2):
            time.sleep(chance.uniform(0.0, 0.5))  # any moment
            if action == "leader":
                replace_relay(leader())
            elif action == "standby":
                replace_relay(next(each for each in relays if each is not leader()))
            elif action == "application":
                victim = chance.randrange(2)
                applications[victim].kill()
                ended.append(applications[victim])
                applications[victim] = Application(redis_server.url, number * 1_000_000)
            elif action == "redis":
                redis_server.kill()
                redis_server.start()
            else:
                stopped = leader()
                others = [each for each in relays if each is not stopped]
                stopped.process.send_signal(signal.SIGSTOP)
                with contextlib.suppress(AssertionError):  # the other may have just been killed and be starting
                    until(lambda: any(each.leads for each in others), 15)  # noqa: B023 - called at once
                stopped.process.send_signal(signal.SIGCONT)
    finally:
        for each in applications:
            each.kill()
        ended += applications
    until(lambda: any(each.leads for each in relays))
    try:
        until(lambda: is_relayed(client), 120)
    except AssertionError:
        waits = [client.hgetall(f"emitkit:relay:{name}") for name in ("waiting", "requests", "state")]
        streams = [client.xrange(f"emitkit:in:{name}") for name in ("alerts", "records")]
        raise AssertionError([waits, streams, [each.lines[-20:] for each in relays]]) from None
    arrived = account.numbers()
    acknowledged = set().union(*(each.acknowledged for each in ended))
    assert len(acknowledged) > 50
    assert not acknowledged - set(arrived)
    assert set(arrived.values()) == {1}
