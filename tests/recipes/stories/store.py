"""What a recipe is there to protect: a store outside that compares fencing tokens, and who believes to be alone."""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from zabpy.recipes.errors import LostError
from zabpy.recipes.holding import Holding

from .story import Story, Violation


class RefusedError(Exception):
    """The store has seen a larger token."""


class Store:
    """Things by name, each with the largest token that was shown to it, and who showed it."""

    def __init__(self) -> None:
        self.tokens: dict[Hashable, tuple[int, object]] = {}
        self.written = 0

    def write(self, key: Hashable, token: int, holding: object) -> None:
        """Raises `RefusedError`; and `Violation` where two show the same token: they could not be told apart."""
        largest, who = self.tokens.get(key, (0, None))
        if token < largest:
            raise RefusedError
        if token == largest and who is not holding:
            raise Violation(f"two holders of {key} have the token {token}")
        self.tokens[key] = token, holding
        self.written += 1


class Room:
    """Who is inside of what. ``limit``: so many may be; ``shared``: of which only one may be unless all are shared."""

    def __init__(self, story: Story, limit: int = 1) -> None:
        self.story, self.limit = story, limit
        self.inside: defaultdict[Hashable, list[tuple[str, Holding, int, int, bool]]] = defaultdict(list)
        #: The largest tokens of those who came in, of those who share it and of those who do not.
        self._newest: dict[tuple[Hashable, bool], int] = {}
        self.store = Store()

    @contextmanager
    def enter(self, key: Hashable, who: str, held: Holding, token: int, *, shared: bool = False) -> Iterator[None]:
        session_id = held.session.id
        me = (who, held, token, session_id, shared)
        self.story.note(f"{who} enters {key} with {token:#x} in {session_id:#x}")
        self._judge(key, me)
        self.inside[key].append(me)
        try:
            yield
        finally:
            self.inside[key].remove(me)
            self.story.note(f"{who} leaves {key}")

    def believers(self, key: Hashable) -> list[tuple[str, Holding, int, int, bool]]:
        """Who is inside, and has no way to know that it should not be."""
        return [each for each in self.inside[key] if _believes(each[1]) and self.story.knows(each[3])]

    def _judge(self, key: Hashable, me: tuple[str, Holding, int, int, bool]) -> None:
        who, _, token, session_id, shared = me
        others = self.believers(key)
        others = [each for each in others if not (shared and each[4])]
        if self.story.knows(session_id) and len(others) >= self.limit:
            raise Violation(f"{who} ({token:#x}) is in {key} with {[(each[0], hex(each[2])) for each in others]}")
        if any(token == each[2] for each in self.inside[key]):
            raise Violation(f"{who} has the token of another one: {token:#x}")
        if self.limit == 1:
            against = [self._newest.get((key, each), -math.inf) for each in ((False,) if shared else (False, True))]
            # One whose session was ended by force may come in late, not knowing: the store refuses it.
            if self.story.knows(session_id) and token <= max(against):
                raise Violation(f"{who} has the token {token:#x}, and one had {max(against):#x} before")
            self._newest[key, shared] = max(token, self._newest.get((key, shared), 0))

    def write(self, key: Hashable, held: Holding, token: int) -> None:
        """As one would who holds it: the store outside refuses what is late, and only that of the unlucky is."""
        try:
            self.store.write(key, token, held)
        except RefusedError:
            session_id = held.session.id
            if _believes(held) and self.story.knows(session_id):
                raise Violation(f"the token {token:#x} for {key} is refused while its holder has not lost it") from None


def _believes(held: Holding) -> bool:
    try:
        held.check()
    except LostError:
        return False
    return True
