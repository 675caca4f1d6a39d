"""A command that runs while something is held, and no longer.

What is guaranteed, of all commands that run under one lock on any machines, each under a shell of this kind:

* It is started only when the lock is held.
* **Connection away.** The servers may give the lock to another one when the session's time is up, and not before; by
  our clock that is known without them. The command is sent SIGTERM (``--signal``) when no more than the grace is left
  of that time, and SIGKILL 200 ms before it is up: so there are never two. The grace is then a fifth of the session's
  timeout at most, which is always left while all goes well. With ``--kill-at-once`` there is SIGKILL only.
* **Taken away.** Where the servers end a session before its time, or somebody deletes the lock's znode, another one may
  begin at once. The command is sent SIGTERM when we hear of it, and SIGKILL after the grace; so there can be two for as
  long as that, or with ``--kill-at-once`` for as long as the news takes.
* All of this is done to its whole process group, and the lock is given back when nothing of the group is left; what has
  left the group, a daemon, is not known any more.
* It is seen to by a process of its own, see supervisor.py: also where this one hangs, is stopped or killed.

What a command has sent may arrive after its end. Who must not take it in then compares ``ZABPY_TOKEN``, which is larger
for each holder: see `zabpy.recipes.Fence`.
"""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import anyio

from zabpy.client import Session

from .problems import ShellError
from .signals import heard_by
from .supervisor import now_ms

if TYPE_CHECKING:
    from zabpy.recipes import Holding

SUPERVISOR = Path(__file__).with_name("supervisor.py")
#: Of the session's timeout: how often in it the supervisor is told until when it is held.
NEWS = 40
#: What part of it is the grace at most, where time decides. In a bad hour the client itself leaves a server when a
#: third is left; so it has some time to find a better one before the command is told.
LEAD = 5
#: What sh says of a command that is not there, and of one that cannot be run.
NOT_FOUND, NOT_RUN = 127, 126
#: Sent to us, they are for the command.
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending(NamedTuple):
    """How a command is ended whose lock is lost. ``grace_ms``: between ``signal`` and SIGKILL; 0: that at once."""

    signal: int = signal.SIGTERM
    grace_ms: int = 5_000


async def run_while(
    held: "Holding | None",
    command: Sequence[str],
    environ: Mapping[str, str],
    ending: Ending,
    stdout: IO[bytes] | None = None,
    stdin: IO[bytes] | None = None,
    *,
    forwards: bool = True,
) -> int:
    """Run a command while ``held`` is (or, for None, just so), and return its status as sh has it: 128 + its signal.
    ``stdin``, ``stdout``: files for it, if not ours. ``forwards``: signals to us are for it, and not to end us.

    When it returns or raises, nothing of the command's group runs any more. To give ``held`` back is the caller's.

    Raises:
        LostError: ``held`` was lost, or about to be.
        ShellError: the command cannot be run.
    """
    child = Child(command, environ, ending, None if held is None else held.session, stdout, stdin)
    undo = None if held is None else held.on_lost(child.end)
    try:
        with heard_by(child.forward, FORWARDED) if forwards else nullcontext():
            async with anyio.create_task_group() as tasks:
                if held is not None:
                    tasks.start_soon(child.keep_told, held.session)
                try:
                    await child.wait()
                except BaseException:
                    # Somebody wants us to end: the command first.
                    child.end()
                    with anyio.CancelScope(shield=True):
                        await child.wait()
                    raise
                finally:
                    tasks.cancel_scope.cancel()
    finally:
        if undo is not None:
            undo()
        child.close()
    if held is not None and not child.failed:
        held.check()
        if child.ended_early:
            held.call_off("its time was nearly up, with no answer from a server")
            held.check()
    return child.exit_status


class Child:
    """The supervisor of a command, as seen from here."""

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        ending: Ending,
        session: Session | None,
        stdout: IO[bytes] | None = None,
        stdin: IO[bytes] | None = None,
    ) -> None:
        self._command, self._session = command, session
        self._rest = b""
        self._status: int | None = None
        #: errno, where it could not be started.
        self.failed = 0
        self.ended_early = False
        control, self._control = os.pipe()
        self._report, report = os.pipe()
        os.set_blocking(self._report, False)
        os.set_blocking(self._control, False)
        lead_ms = 0 if session is None else min(ending.grace_ms, session.timeout_ms // LEAD)
        tty = _terminal()
        passed = [control, report]
        if stdin is not None and tty >= 0:  # which is not its stdin then
            tty = os.dup(tty)
            passed.append(tty)
        numbers = (control, report, tty, self._until_ms(), lead_ms, ending.grace_ms, ending.signal)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SUPERVISOR), *map(str, map(int, numbers)), *command],
                env=dict(environ),
                stdin=stdin,
                stdout=stdout,
                pass_fds=passed,
                process_group=0,
            )
        except BaseException:
            os.close(self._control)
            os.close(self._report)
            raise
        finally:
            for each in passed:
                os.close(each)

    async def wait(self) -> None:
        """Until it has ended, with all of its group."""
        while self._status is None and not self.failed:
            await anyio.wait_readable(self._report)
            told = os.read(self._report, 4096)
            if not told:  # somebody has killed the supervisor, so the kernel has killed the command
                self._status = signal.SIGKILL
                return
            *lines, self._rest = (self._rest + told).split(b"\n")
            for line in lines:
                word, _, number = line.decode().partition(" ")
                if word == "failed" and int(number) == errno.ETIME:
                    self.ended_early, self._status = True, 0  # it was never started
                elif word == "failed":
                    self.failed = int(number)
                elif word == "ending":
                    self.ended_early = True
                elif word == "exited":
                    self._status = int(number)

    async def keep_told(self, session: Session) -> None:
        pause_ms = max(10, session.timeout_ms // NEWS)
        while True:
            self._tell(f"until {self._until_ms()}")
            await anyio.sleep(pause_ms / 1000)

    def end(self) -> None:
        """Have it end: what `Ending` says. A plain call, and at once."""
        self._tell("end")

    def forward(self, number: int) -> None:
        self._tell(f"signal {number}")

    def close(self) -> None:
        os.close(self._control)  # should anything of it still be there, it ends now
        os.close(self._report)
        self._process.wait()

    @property
    def exit_status(self) -> int:
        if self.failed:
            status = NOT_FOUND if self.failed == errno.ENOENT else NOT_RUN
            raise ShellError(f"{self._command[0]}: {os.strerror(self.failed)}", status)
        assert self._status is not None
        code = os.waitstatus_to_exitcode(self._status)
        return code if code >= 0 else 128 - code

    def _until_ms(self) -> int:
        if self._session is None:
            return sys.maxsize
        return now_ms() + self._session.time_left_ms

    def _tell(self, line: str) -> None:
        try:
            os.write(self._control, line.encode() + b"\n")
        except BrokenPipeError:
            pass  # it has ended


def _terminal() -> int:
    """The terminal to be handed to the command, so that it may read from it and Ctrl-C goes to it; -1: none."""
    try:
        return 0 if os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp() else -1
    except OSError:
        return -1
