"""What each server of an ensemble says of itself, asked at the same moment."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio

from zabpy.client import Host

from .errors import Status
from .servers import Answer, Ensemble, Server, ask_all
from .shell import Shell
from .words import Asker, ForbiddenWordError, NotServingError, Srvr, WordError, parse_conf, parse_mntr, parse_srvr

#: Words that say more, where the whitelist allows them.
FURTHER = ("mntr", "conf")


@dataclass
class View:
    """``srvr`` is None of a server that does not serve; what the whitelist forbids is empty, and in ``forbidden``."""

    srvr: Srvr | None = None
    mntr: dict[str, str] = field(default_factory=dict)
    conf: dict[str, str] = field(default_factory=dict)
    forbidden: dict[str, WordError] = field(default_factory=dict)

    def number(self, name: str) -> float | None:
        """A row of mntr."""
        try:
            return float(self.mntr[name])
        except (KeyError, ValueError):
            return None


async def views_of(
    shell: Shell, ensemble: Ensemble, further: tuple[str, ...] = FURTHER, deadline_ms: int | None = None
) -> list[Answer[View]]:
    """Of all servers whose client ports are known; their numbers are filled in where they tell them."""
    answers = await ask_all(shell, ensemble.servers, partial(_look, further), deadline_ms)
    ids = {str(answer.server): int(answer.value.conf.get("serverId", 0)) for answer in answers if answer.value}
    ensemble.name(ids)
    return answers


async def _look(further: tuple[str, ...], asker: Asker, host: Host) -> View:
    view = View()
    texts: dict[str, str] = {}
    failed: list[WordError] = []

    async def ask(word: str) -> None:
        try:
            texts[word] = await asker.ask(host, word)
        except WordError as error:
            if word != "srvr":
                view.forbidden[word] = error
            elif not isinstance(error, NotServingError):
                failed.append(error)

    async with anyio.create_task_group() as tasks:
        for word in ("srvr", *further):
            tasks.start_soon(ask, word)
    if failed:
        raise failed[0]
    if "srvr" in texts:
        try:
            view.srvr = parse_srvr(texts["srvr"])
        except ValueError as error:
            raise WordError(str(host), "srvr", str(error), Status.FAILED) from None
    view.mntr, view.conf = parse_mntr(texts.get("mntr", "")), parse_conf(texts.get("conf", ""))
    return view


def rows_of(ensemble: Ensemble, answers: list[Answer[View]]) -> list[dict[str, Any]]:
    """A row for each server, and for each member that cannot be asked. Fields: docs/shell.md."""
    newest = max((view.srvr.zxid for view in _values(answers) if view.srvr), default=0)
    rows = [_row(answer, newest) for answer in answers]
    for member in ensemble.unknown():
        answer: Answer[View] = Answer(Server(Host(member.host, 0), member.server_id, member))
        row = _row(answer, newest)
        port = "port with TLS" if ensemble.is_secure else "client port"
        problem = f"its {port} is not in /zookeeper/config; name it in --server"
        rows.append({**row, "server": f"{member.host}:?", "role": "unknown", "problem": problem})
    return sorted(rows, key=lambda row: -1 if row["id"] is None else row["id"])


def _values(answers: list[Answer[View]]) -> list[View]:
    return [answer.value for answer in answers if answer.value is not None]


def _row(answer: Answer[View], newest: int) -> dict[str, Any]:
    view, problem = answer.value, answer.problem
    srvr = view.srvr if view is not None else None
    away = "unknown" if isinstance(problem, ForbiddenWordError) else "unreachable"
    role = srvr.mode if srvr is not None else "not serving" if view is not None else away
    known = view if view is not None else View()
    same_epoch = srvr is not None and srvr.zxid >> 32 == newest >> 32
    return {
        "id": answer.server.id,
        "server": str(answer.server),
        "role": role,
        "epoch": None if srvr is None else srvr.zxid >> 32,
        "zxid": None if srvr is None else f"{srvr.zxid:#x}",
        "lag": newest - srvr.zxid if srvr is not None and same_epoch else None,
        "connections": None if srvr is None else srvr.connections,
        "outstanding": None if srvr is None else srvr.outstanding,
        "latency_avg_ms": None if srvr is None else srvr.latency_avg,
        "latency_max_ms": None if srvr is None else srvr.latency_max,
        "answered_ms": None if view is None else round(answer.took_ms, 1),
        "version": None if srvr is None else srvr.version,
        "znodes": None if srvr is None else srvr.znodes,
        "received": None if srvr is None else srvr.received,
        "sent": None if srvr is None else srvr.sent,
        "watches": _whole(known.number("watch_count")),
        "sessions": _whole(known.number("global_sessions")),
        "uptime_ms": _whole(known.number("uptime")),
        "problem": None if problem is None else problem.why,
    }


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)
