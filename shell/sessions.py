"""The sessions of an ensemble, put together from what all its servers tell: ``cons``, ``dump``, ``wchc``."""

from dataclasses import dataclass, field

from zabpy.client import SLOT_PREFIX

from .errors import Status
from .servers import Answer, Ensemble, not_allowed, refusals, word_of_all
from .shell import Shell
from .words import Dump, parse_cons, parse_dump, parse_wchc


@dataclass
class SessionView:
    """``address`` and ``server``: None while it is not connected, or where that is not told. ``expires``: when it is
    given up if it stays silent, as the leader writes dates. Counts are None where they are not told."""

    id: int
    address: str | None = None
    server: str | None = None
    timeout_ms: int | None = None
    established_ms: int | None = None
    last_operation: str | None = None
    expires: str | None = None
    ephemerals: int | None = None
    watches: int | None = None


@dataclass
class Told:
    """What is known, what is to be said about what is not, and the status that it makes."""

    sessions: dict[int, SessionView] = field(default_factory=dict)
    ephemerals: dict[int, list[str]] | None = None
    remarks: list[str] = field(default_factory=list)
    status: int = 0
    #: Whether all connections are known, so that who has none is connected to none.
    knows_connections: bool = True


async def sessions_of(shell: Shell, ensemble: Ensemble, words: tuple[str, ...] = ("cons", "dump", "wchc")) -> Told:
    told = Told()
    statuses: list[int] = []
    not_told: dict[tuple[str, ...], list[str]] = {}
    away: dict[str, None] = {}
    for word in words:
        answers = await word_of_all(shell, ensemble.servers, word)
        status, _, forbidden = refusals(answers)
        if word == "dump" and _take_dumps(told, answers):  # one is enough
            statuses.append(Status.OK)
            continue
        statuses.append(status)
        away |= dict.fromkeys(
            str(each.problem) for each in answers if each.problem and str(each.server) not in forbidden
        )
        if forbidden:
            not_told.setdefault(tuple(forbidden), []).append(word)
        for answer in answers:
            if answer.value is not None and word == "cons":
                _take_connections(told, str(answer.server), answer.value)
            elif answer.value is not None and word == "wchc":
                _take_watches(told, answer.value)
        if word == "cons":
            told.knows_connections = not status
    told.remarks = [*away, *(not_allowed(each, servers) for servers, each in not_told.items())]
    told.status = 0 if not any(statuses) else max(statuses) if all(statuses) else 7
    return told


def _session(told: Told, id: int) -> SessionView:
    return told.sessions.setdefault(id, SessionView(id))


def _take_connections(told: Told, server: str, text: str) -> None:
    for line in parse_cons(text):
        if line.session_id:
            session = _session(told, line.session_id)
            session.address, session.server = line.address, server
            session.timeout_ms = line.number("to")
            session.established_ms = line.number("est")
            session.last_operation = line.fields.get("lop")


def _take_watches(told: Told, text: str) -> None:
    for session in told.sessions.values():
        session.watches = session.watches or 0
    for id, paths in parse_wchc(text).items():
        session = _session(told, id)
        session.watches = (session.watches or 0) + len(paths)


def _take_dumps(told: Told, answers: list[Answer[str]]) -> bool:
    """Every server knows all ephemerals, and all sessions but local ones of others; the leader also when they end.
    Whether there is any."""
    dumps = [parse_dump(answer.value) for answer in answers if answer.value is not None]
    if not dumps:
        return False
    dumps.sort(key=lambda dump: not dump.leads)
    for dump in dumps:
        _take_dump(told, dump)
    told.ephemerals = {
        id: [path for path in paths if not path.startswith(SLOT_PREFIX)] for id, paths in dumps[0].ephemerals.items()
    }
    for session in told.sessions.values():
        session.ephemerals = len(told.ephemerals.get(session.id, ()))
    return True


def _take_dump(told: Told, dump: Dump) -> None:
    for id, timeout_ms in dump.timeouts_ms.items():
        _session(told, id).timeout_ms = timeout_ms
    for id, date in dump.expires.items():
        session = _session(told, id)
        session.expires = session.expires or date
    for id in dump.ephemerals:
        _session(told, id)
