"""Stands between a shell that holds something and the command that relies on it. A program of its own:

    python -I -S supervisor.py CONTROL REPORT TTY UNTIL_MS LEAD_MS GRACE_MS SIGNAL COMMAND...

It starts the command in a process group of its own and sees that this group ends when the hold does, whatever becomes
of the shell: also when that is stopped, hangs, or is killed by SIGKILL. A supervisor rather than PR_SET_PDEATHSIG
alone, because that tells only the child and not its children, cannot wait for a grace, and is bound to the thread that
forked.

``CONTROL`` and ``REPORT`` are pipes; a line each:

================  ==================================================================================
from the shell
================  ==================================================================================
until MS          it is held until then, by `now_ms`
signal N          send the group a signal
end               have the group end: SIGNAL, and SIGKILL after the grace or when ``until`` comes
kill              SIGKILL at once
end of file       as ``end``: the shell is no more
to the shell
started PID       the command runs
failed ERRNO      it could not be started
ending            it is being ended, because of the time
exited STATUS     as of `os.waitpid`, when nothing of the group is left; then we end, too
================  ==================================================================================

When ``until`` is no more than LEAD_MS away the group is told to end, and it is killed MARGIN_MS before ``until``, which
others cannot hold before. When the command itself has ended, what it left in its group is ended in the same way.
"""

import errno
import os
import select
import signal
import sys
import time

#: The group is killed so long before the time is up: for the kernel to do it, and for us to be late a little.
MARGIN_MS = 200
#: How often it is looked whether a group has ended, of whose ends nobody tells us.
POLL_MS = 20
#: After SIGKILL what is left of a group, but for the command itself, is waited for no longer: dead, but not buried.
BURIAL_MS = 1_000
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
#: What is not to end us; the command gets them as they were.
OURS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTTOU, signal.SIGTSTP, signal.SIGPIPE)


def now_ms() -> int:
    """The same for all processes of this machine, and goes on while it sleeps, as time does at the servers."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return (time.monotonic_ns() if clock is None else time.clock_gettime_ns(clock)) // 1_000_000


def prctl(option: int, value: int) -> None:
    """Does nothing where there is no such call; then only what the head of this file promises by pipes is kept."""
    if sys.platform != "linux":
        return
    try:
        import ctypes
    except ImportError:
        return  # a Python without it
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


class Supervisor:
    def __init__(self, report: int, tty: int, until_ms: int, lead_ms: int, grace_ms: int, ending: int) -> None:
        self._report_to, self._tty = report, tty
        self._until_ms, self._lead_ms, self._grace_ms, self._signal = until_ms, lead_ms, grace_ms, ending
        self._group = 0
        self._status: int | None = None
        self._kill_at_ms: int | None = None  # None: it is not being ended
        self._killed_ms: int | None = None

    def start(self, command: list[str]) -> bool:
        """Whether it runs."""
        before = {each: signal.signal(each, signal.SIG_IGN) for each in OURS}
        prctl(PR_SET_CHILD_SUBREAPER, 1)  # so that we hear of all of the group
        if now_ms() >= self._until_ms - max(self._lead_ms, MARGIN_MS):
            self._report(f"failed {errno.ETIME}")
            return False
        said, says = os.pipe()
        us = os.getpid()
        self._group = os.fork()
        if self._group == 0:
            try:
                os.setpgid(0, 0)
                if self._tty >= 0:
                    os.tcsetpgrp(self._tty, os.getpid())
                for each, handler in before.items():
                    signal.signal(each, signal.SIG_DFL if callable(handler) else handler)
                signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python itself had it ignored
                prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() == us:
                    os.execvp(command[0], command)
            except OSError as error:
                os.write(says, str(error.errno).encode())
            os._exit(127)
        os.close(says)
        failed = os.read(said, 16)  # ends when the command's program has taken over
        os.close(said)
        if failed:
            os.waitpid(self._group, 0)
            self._report(f"failed {failed.decode()}")
            return False
        self._report(f"started {self._group}")
        return True

    def run(self, control: int) -> None:
        """Until nothing of the group is left."""
        woken, wakes = os.pipe()
        os.set_blocking(wakes, False)
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll, rest = select.poll(), b""
        poll.register(control, select.POLLIN)
        poll.register(woken, select.POLLIN)
        self._reap()  # what ended before we could be woken
        while not self._over():
            for descriptor, _ in poll.poll(self._wait_ms()):
                if descriptor == woken:
                    os.read(woken, 4096)
                    continue
                told = os.read(control, 4096)
                if not told:
                    poll.unregister(control)
                    self._end()
                *lines, rest = (rest + told).split(b"\n")
                for line in lines:
                    self._told(line.decode())
            self._look_at_time()
            self._reap()
        assert self._status is not None
        self._report(f"exited {self._status}")

    def _told(self, line: str) -> None:
        word, _, number = line.partition(" ")
        if word == "until":
            self._until_ms = int(number)
        elif word == "signal":
            self._send(int(number))
        elif word == "end":
            self._end()
        else:
            self._kill()

    def _wait_ms(self) -> int:
        if self._status is not None:
            return POLL_MS  # the rest of the group may be nobody's child of ours
        if self._killed_ms is not None:
            return 1_000
        next_ms = self._until_ms - max(self._lead_ms, MARGIN_MS) if self._kill_at_ms is None else self._kill_at_ms
        return max(0, min(next_ms - now_ms(), 60_000))

    def _look_at_time(self) -> None:
        now = now_ms()
        if self._kill_at_ms is None and now >= self._until_ms - max(self._lead_ms, MARGIN_MS):
            self._report("ending")
            self._end()
        if self._kill_at_ms is not None and now >= self._kill_at_ms:
            self._kill()

    def _end(self) -> None:
        if self._kill_at_ms is None:
            self._kill_at_ms = min(now_ms() + self._grace_ms, self._until_ms - MARGIN_MS)
            if self._grace_ms and now_ms() < self._kill_at_ms:
                self._send(self._signal)
                self._send(signal.SIGCONT)  # one that is stopped would not hear of it

    def _kill(self) -> None:
        if self._killed_ms is None:
            self._killed_ms = self._kill_at_ms = now_ms()
        self._send(signal.SIGKILL)  # again and again, for those that were being forked

    def _send(self, number: int) -> bool:
        """Whether there is anybody."""
        try:
            os.killpg(self._group, number)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # somebody in it may not be told by us; the others were
        return True

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if os.WIFSTOPPED(status):
                # Nobody is there to continue it, and while it stands still it would hold on.
                if pid == self._group and self._tty >= 0 and os.WSTOPSIG(status) != signal.SIGSTOP:
                    self._send(signal.SIGCONT)
            elif pid == self._group:
                self._status = status

    def _over(self) -> bool:
        if self._status is None:
            return False
        if not self._send(0):
            return True
        self._end()
        return self._killed_ms is not None and now_ms() > self._killed_ms + BURIAL_MS

    def _report(self, line: str) -> None:
        try:
            os.write(self._report_to, line.encode() + b"\n")
        except BrokenPipeError:
            pass  # the shell is no more


def main() -> None:
    control, report, tty, until_ms, lead_ms, grace_ms, ending = map(int, sys.argv[1:8])
    for each in (control, report, *([tty] if tty > 2 else [])):
        os.set_inheritable(each, False)
    back = os.tcgetpgrp(tty) if tty >= 0 else 0
    supervisor = Supervisor(report, tty, until_ms, lead_ms, grace_ms, ending)
    try:
        if supervisor.start(sys.argv[8:]):
            supervisor.run(control)
    finally:
        if tty >= 0:
            try:
                os.tcsetpgrp(tty, back)
            except OSError:
                pass  # the terminal is gone


if __name__ == "__main__":
    main()
