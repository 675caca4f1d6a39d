"""The doctor and `status` where something is really wrong with servers: what they say, and what to do about it."""

import json
import os
import signal
from pathlib import Path

import anyio
import pytest
from anyio.abc import AnyByteStream

from tests.client.conftest import TESTED_ON
from tests.client.listeners import listening
from tests.interop.ensembles import serves
from zabpy.bench.systems import Servers

from .conftest import Run, Told, runner
from .three_servers import hosts_of, wait, wait_all

DIGESTS = "diag" if TESTED_ON == "zabpy" else "hash"


def found(told: Told) -> dict[str, dict[str, str]]:
    """The findings that are more than notes, by what they say."""
    return {each["what"]: each for each in json.loads(told.out) if each["level"] != "note"}


def test_settings_that_differ_a_server_that_hangs_a_full_disk_and_no_quorum(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = Servers(TESTED_ON, 3, more="4lw.commands.whitelist=*\n")
    config = Path(servers.directory) / "1/zoo.cfg"
    config.write_text(config.read_text().replace("syncLimit=5", "syncLimit=7"))
    with servers:
        wait_all(servers)
        first, second, third = hosts_of(servers).split(",")
        run = runner(hosts_of(servers))

        (differs,) = found(run("doctor", format="json")).values()
        assert differs["what"] == f"syncLimit differs: {first} 7, {second} 5, {third} 5"
        assert differs["todo"] == "set the same syncLimit in each zoo.cfg"

        pid = servers._processes[1].pid
        os.kill(pid, signal.SIGSTOP)
        try:
            told = run("doctor --timeout 500ms; status --timeout 500ms")
        finally:
            os.kill(pid, signal.SIGCONT)
        assert f"error   {first}: unreachable: no answer within 500 ms" in told.out
        assert told.status == 7 and sum("unreachable" in line for line in told.lines) == 2

        if TESTED_ON == "zabpy":  # Apache's tells nobody what is left
            with monkeypatch.context() as patched:
                patched.setattr("shell.diagnosis.DISK_FREE_BYTES_MIN", 2**62)
                full = [each for what, each in found(run("doctor", format="json")).items() if " MB left " in what]
            assert {each["level"] for each in full} == {"error"} and "autopurge" in full[0]["todo"]

        servers.kill(1)
        servers.kill(2)
        wait(lambda: not serves(servers.client_ports[3]))
        wrong = found(told := run("doctor", format="json"))
        none = wrong["no quorum: 1 of 3 servers are up, 2 are needed"]
        assert (none["level"], none["server"], told.status) == ("error", "", 1)
        assert none["todo"].startswith("start 1 more; ")
        assert wrong["up, but not serving"]["server"] == third
        assert "its log for elections" in wrong["up, but not serving"]["todo"]


def test_words_that_are_not_allowed_are_one_note(zabsh: Run) -> None:
    """By default a server answers srvr only."""
    (note,) = [each for each in json.loads(zabsh("doctor", format="json").out) if "allowed" in each["what"]]
    assert note["what"].endswith(f"cons, dump, {DIGESTS} are not allowed, so not all was looked at")
    assert note["todo"].startswith(
        "add them to 4lw.commands.whitelist in zoo.cfg (which is srvr where it is not set), "
    )


def test_a_server_that_answers_no_word_at_all() -> None:
    async def refuse(stream: AnyByteStream) -> None:
        word = (await stream.receive())[:4]
        await stream.send(word + b" is not executed because it is not in the whitelist.\n")

    async def story() -> None:
        async with listening(refuse) as host:
            told = await anyio.to_thread.run_sync(runner(host), "doctor; status")
            assert f"error   {host}: up, but it does not even answer srvr, so nothing is known of it" in told.out
            assert "-> add srvr to 4lw.commands.whitelist in zoo.cfg" in told.out
            assert "unknown" in told.lines[-1] and "srvr is not allowed; add it to " in told.err

    anyio.run(story)
