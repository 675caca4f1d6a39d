"""``top``: how the servers are, again and again, in the terminal."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import click

from ..command import Duration, command
from ..errors import Status
from ..output import to_descriptor
from ..servers import ensemble_of
from ..shell import Shell
from ..signals import default_of, heard_by
from ..views import rows_of, views_of

COLUMNS = (
    "id", "server", "role", "zxid", "lag", "connections", "requests_per_s", "sent_per_s", "writes_per_s", "outstanding",
    "latency_avg_ms", "fsync_ms", "watches",
)  # fmt: skip
HEADS = ("ID", "SERVER", "ROLE", "ZXID", "LAG", "CONN", "REQ/S", "SENT/S", "WRITES/S", "QUEUED", "LAT MS", "FSYNC MS",
         "WATCHES")  # fmt: skip
#: The other screen, no cursor; and back.
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[H\x1b[J\x1b[?25h\x1b[?1049l"
HOME, LINE_END, BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
QUIT = b"qQ\x03\x04"


@command("top", group="Ensemble")
@click.option("--once", is_flag=True, help="One look (of two, for what is per second), printed as a result.")
@click.option("--interval", "interval_ms", type=Duration(), default="1s", help="Between two looks.")
async def top(shell: Shell, once: bool, interval_ms: int) -> int:
    """The servers live: role, lag, connections, requests and writes per second, latency. q or Ctrl-C leaves.

    Where the result is not for a terminal it is as with --once.
    """
    meter = _Meter(shell, max(interval_ms, 100))
    terminal = sys.stdin.isatty() and shell.out.look.is_terminal and shell.out.format == "table"
    if once or not terminal:
        await meter.look()
        await anyio.sleep(meter.interval_ms / 1000)
        rows = await meter.look()
        async with shell.out.rows(*COLUMNS) as table:
            for row in rows:
                await table.add(**row)
        return Status.OK if any(row["zxid"] for row in rows) else Status.CONNECTION
    async with shell.foreground():
        with _screen():
            await _live(meter)
    return Status.OK


class _Meter:
    """Looks, and what has happened per second since the look before."""

    def __init__(self, shell: Shell, interval_ms: int) -> None:
        self.shell, self.interval_ms = shell, interval_ms
        self._before: dict[str, dict[str, Any]] = {}
        self._at = 0.0

    async def look(self) -> list[dict[str, Any]]:
        ensemble = await ensemble_of(self.shell)
        answers = await views_of(self.shell, ensemble)
        at = time.monotonic()
        rows = rows_of(ensemble, answers)
        sums = {str(a.server): [a.value.number(f"{x}_fsynctime") for x in ("sum", "cnt")] for a in answers if a.value}
        now = {row["server"]: {**row, "fsync": sums.get(row["server"], [None, None])} for row in rows}
        seconds = at - self._at
        for row in rows:
            before, same = self._before.get(row["server"], {}), now[row["server"]]
            row["requests_per_s"] = _rate(before.get("received"), same["received"], seconds)
            row["sent_per_s"] = _rate(before.get("sent"), same["sent"], seconds)
            row["writes_per_s"] = _rate(_number(before.get("zxid")), _number(same["zxid"]), seconds)
            row["fsync_ms"] = _mean(before.get("fsync"), same["fsync"])
        self._before, self._at = now, at
        return rows


def _number(zxid: str | None) -> int | None:
    return None if zxid is None else int(zxid, 16)


def _rate(before: int | None, now: int | None, seconds: float) -> float | None:
    """None also where a counter was set back, or the epoch is another one."""
    if before is None or now is None or not 0 <= now - before < 2**32:
        return None
    return round((now - before) / seconds, 1)


def _mean(before: list[float | None] | None, now: list[float | None]) -> float | None:
    """Of what was measured in between; of nothing 0."""
    if before is None or None in before or None in now:
        return None
    sum_ms, count = ((b or 0) - (a or 0) for a, b in zip(before, now, strict=True))
    return round(sum_ms / count, 1) if count > 0 and sum_ms >= 0 else 0.0


# The screen ---------------------------------------------------------------------------------------------------------


async def _live(meter: _Meter) -> None:
    left = anyio.Event()
    with heard_by(lambda _: left.set(), (2, 15, 1)):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_wait_quit, left)
            tasks.start_soon(_draw, meter)
            while not left.is_set():  # noqa: ASYNC110  # a signal's handler wakes no loop
                await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()


async def _wait_quit(left: anyio.Event) -> None:
    while True:
        await anyio.wait_readable(0)
        if not (typed := os.read(0, 64)) or any(key in QUIT for key in typed):
            left.set()
            return


async def _draw(meter: _Meter) -> None:
    while True:
        rows = await meter.look()
        size = os.get_terminal_size(1)
        lines = _lines(meter, rows, size.columns)[: size.lines]
        text = HOME + "\r\n".join(line[: size.columns] + LINE_END for line in lines) + BELOW
        await anyio.to_thread.run_sync(to_descriptor(1), text.encode())
        await anyio.sleep(meter.interval_ms / 1000)


def _lines(meter: _Meter, rows: list[dict[str, Any]], width: int) -> list[str]:
    cells = [[_cell(row[column]) for column in COLUMNS] for row in rows]
    widths = [max(map(len, column)) for column in zip(HEADS, *cells, strict=True)]
    total = {name: sum(row[name] or 0 for row in rows) for name in ("connections", "requests_per_s")}
    writes = max((row["writes_per_s"] or 0 for row in rows), default=0)
    up = sum(row["zxid"] is not None for row in rows)
    lines = [
        f"{time.strftime('%H:%M:%S')}  {up} of {len(rows)} servers serve, {total['connections']} connections, "
        f"{total['requests_per_s']:,.0f} requests/s, {writes:,.0f} writes/s",
        "",
    ]
    for line in ([*HEADS], *cells):
        lines.append(
            "  ".join(
                f"{cell:{w}}" if i in (1, 2, 3) else f"{cell:>{w}}"
                for i, (cell, w) in enumerate(zip(line, widths, strict=True))
            )
        )
    lines += [f"{row['server']}: {row['problem']}" for row in rows if row["problem"]]
    return [*lines, "", "q leaves"]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,.1f}" if isinstance(value, float) else str(value)


@contextmanager
def _screen() -> Iterator[None]:
    """Keys come one by one and are not shown; the screen is another one, and comes back: also while we are stopped."""
    import termios
    import tty

    before = termios.tcgetattr(0)

    def enter() -> None:
        tty.setcbreak(0)
        to_descriptor(1)(ENTER.encode())

    def leave() -> None:
        to_descriptor(1)(LEAVE.encode())
        termios.tcsetattr(0, termios.TCSADRAIN, before)

    def stop(number: int) -> None:
        leave()
        with default_of(number):  # rather than SIGSTOP, because nobody might be there to let us go on
            os.kill(os.getpid(), number)
        enter()

    try:
        enter()
        with heard_by(stop, (signal.SIGTSTP,)):
            yield
    finally:
        leave()
