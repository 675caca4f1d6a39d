"""What ``async with`` has entered on an object that several tasks may use at once: each of them leaves its own."""

from types import TracebackType
from typing import Generic, TypeVar

from .holding import Holding
from .who import this_task

H = TypeVar("H", bound=Holding)


class Entered(Generic[H]):
    """Remembers what each task has entered, and in which order.

    What was entered in one task and is left in another (an `AsyncExitStack` that is handed on, an async generator that
    the event loop closes) is released all the same, and a RuntimeError says so: see `Holding`. While several tasks are
    in, it cannot be known which of them was meant; what was meant is released once all others have been left.
    """

    def __init__(self) -> None:
        self._in: dict[object, list[H]] = {}
        self._astray = 0  # how many of them were left elsewhere, and are still to be released

    async def enter(self, held: H) -> H:
        await held.__aenter__()
        self._in.setdefault(this_task(), []).append(held)
        return held

    async def leave(
        self, what: object, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """The end of ``async with``. ``what``: how messages name the object."""
        task = this_task()
        if task in self._in:
            held = self._in[task].pop()  # the innermost one
            if not self._in[task]:
                del self._in[task]
            try:
                return await held.__aexit__(kind, error, trace)
            finally:
                await self._release_astray()
        rest = self._all()
        if not rest:
            raise RuntimeError(f"{what}: it is not entered, and cannot be left")
        if len(rest) == 1:
            self._in.clear()
            return await rest[0].__aexit__(kind, error, trace)
        self._astray += 1
        await self._release_astray()
        raise RuntimeError(
            f"{what}: left in a task that has not entered it, while it is entered {len(rest)} times: "
            "which is meant is not known, and is released once the others have been left"
        )

    def _all(self) -> list[H]:
        return [held for each in self._in.values() for held in each]

    async def _release_astray(self) -> None:
        rest = self._all() if self._astray else []
        if rest and len(rest) == self._astray:
            self._in.clear()
            self._astray = 0
            for held in rest:
                await held._leave_soon()
