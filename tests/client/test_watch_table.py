"""Whatever is watched, given up, changed and cut off in whatever order: each watch tells what it is to tell.

A `Core` with its table of watches talks to the model of a server, byte for byte; hypothesis chooses what happens next:
that somebody asks or gives up, that a znode changes, that the server does one request, that the client hears one
answer, that the connection breaks or the session ends.
"""

from collections.abc import Callable
from typing import Literal

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.client.model_server import Change, ModelServer
from zabpy.client import Event, Op, Resynced, records as r
from zabpy.client.call import Call
from zabpy.client.core import Core
from zabpy.client.watches import KINDS, Kind, OneShot, Subscription
from zabpy.model import NoNodeError, ZabpyError
from zabpy.wire import Record, packed

PATHS = st.sampled_from(["/a", "/a", "/a/b", "/"])
WATCHED: dict[Kind, tuple[Op, Callable[[str, bool], Record]]] = {
    "data": (Op.GET_DATA, r.GetDataRequest),
    "exists": (Op.EXISTS, r.ExistsRequest),
    "children": (Op.GET_CHILDREN2, r.GetChildren2Request),
}
TYPES = {"Created": 1, "Deleted": 2, "Changed": 3, "ChildrenChanged": 4}


class Waiting:
    """A one-shot as its user has it."""

    def __init__(self, kind: Kind, path: str) -> None:
        opcode, request = WATCHED[kind]
        self.kind, self.path = kind, path
        self.watch = OneShot(kind, path)
        self.call = Call(opcode, packed(request(path, True)), None, kind, path, watch=self.watch, again=True)
        self.at: int | None = None  # as much of the history was past when the server read for it
        self.missing = False  # then there was no such znode
        self.cut = False  # a connection broke since

    def concerns(self, change: Change) -> bool:
        types = (2, 4) if self.kind == "children" else (1, 2, 3)
        return change.path == self.path and change.type in types


class Streaming:
    """A stream as its user has it."""

    def __init__(self, path: str, recursive: bool) -> None:
        self.path, self.recursive = path, recursive
        self.events: list[Event] = []
        self.session_changes = 0
        self.begins = 0
        self.subscription = Subscription(path, recursive, self.put, self.end)
        self.call = Call(
            Op.ADD_WATCH, packed(r.AddWatchRequest(path, 0)), None, "watch", path, watch=self.subscription, again=True
        )
        self.at: int | None = None  # as much of the history was past when the last gap ended

    def put(self, event: Event) -> None:
        if isinstance(event, Resynced):
            self.begins += 1
            self.session_changes += event.session_changed
            self.events.clear()
        else:
            self.events.append(event)

    def end(self, error: ZabpyError) -> None:
        raise AssertionError(error)

    def concerns(self, change: Change) -> bool:
        if not self.recursive:
            return change.path == self.path
        below = self.path == "/" or change.path == self.path or change.path.startswith(self.path + "/")
        return below and change.type != 4


class Watches(RuleBasedStateMachine):
    modes: Literal["one", "many"] = "many"

    @initialize()
    def begin(self) -> None:
        self.now = 0
        self.server = ModelServer(self.modes)
        self.core = Core(
            session_timeout_ms=10_000,
            unsent_timeout_ms=10_000,
            read_only=False,
            now_ms=lambda: 0,
            on_state=lambda state: None,
            tried=lambda: (),
        )
        self.waiting: list[Waiting] = []
        self.streaming: list[Streaming] = []
        self.connect()
        self.run()
        self.server.create("/a")

    # What users do ----------------------------------------------------------------------------------------------------

    @rule(kind=st.sampled_from(KINDS), path=PATHS)
    def ask(self, kind: Kind, path: str) -> None:
        waiting = Waiting(kind, path)
        self.waiting.append(waiting)
        self.core.submit(waiting.call)
        self.send()

    @rule(number=st.integers(0, 20))
    def give_up(self, number: int) -> None:
        if self.waiting:
            waiting = self.waiting.pop(number % len(self.waiting))
            if waiting.call.done:
                self.core.watches.forget(waiting.watch)
            else:
                self.core.give_up(waiting.call)
            waiting.watch.given_up = True
            self.send()

    # Few streams, for another one at the same path would set right what may have gone wrong.
    @precondition(lambda self: len(self.streaming) < 3)
    @rule(path=PATHS, recursive=st.booleans())
    def subscribe(self, path: str, recursive: bool) -> None:
        streaming = Streaming(path, recursive)
        self.streaming.append(streaming)
        self.core.submit(streaming.call)
        self.send()

    @rule(number=st.integers(0, 20))
    def unsubscribe(self, number: int) -> None:
        if self.streaming:
            streaming = self.streaming.pop(number % len(self.streaming))
            if not streaming.call.done:
                self.core.give_up(streaming.call)
            self.core.watches.forget(streaming.subscription)
            self.send()

    # What others do ---------------------------------------------------------------------------------------------------

    @rule(changes=st.lists(st.tuples(PATHS, st.sampled_from(["create", "create", "delete", "set"])), min_size=1))
    def change(self, changes: list[tuple[str, str]]) -> None:
        for path, what in changes[:5]:
            if path != "/" or what == "set":
                getattr(self.server, what)(path)

    # What the network does --------------------------------------------------------------------------------------------

    @rule()
    def run_until_idle(self) -> None:
        self.run()

    @rule(count=st.integers(1, 5))
    def serve(self, count: int) -> None:
        for _ in range(count):
            if self.server.asked:
                self.server.answer()

    @rule(count=st.integers(1, 5))
    def hear(self, count: int) -> None:
        for _ in range(count):
            if self.server.said:
                self.hear_one()

    @rule(chance=st.integers(0, 3), expire=st.sampled_from([False, False, False, True]))
    def cut(self, chance: int, expire: bool) -> None:
        if chance:
            return
        self.core.close_link("cut", 0)
        for waiting in self.waiting:
            waiting.cut = True
        self.server.expired = self.server.expired or expire
        self.connect()

    # How it goes on ---------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        self.server.connect()
        self.core.open_link("server", 0)
        self.send()

    def send(self) -> None:
        self.server.take(self.core.take(0))

    def hear_one(self) -> None:
        said = self.server.said.popleft()
        begun = [streaming.begins for streaming in self.streaming]
        asking = [waiting for waiting in self.waiting if not waiting.call.done]
        session = self.core.session
        self.core.receive(said.payload, 0)
        for streaming, before in zip(self.streaming, begun, strict=True):
            if streaming.begins > before:
                assert streaming.begins == before + 1
                streaming.at = said.at
        for waiting in asking:
            if waiting.call.done and waiting.call.error is None:
                waiting.at, waiting.cut = said.at, False
            elif (
                waiting.call.done
                and waiting.kind == "exists"
                and waiting.call.error.__class__.__name__ == "NoNodeError"
            ):
                waiting.at, waiting.cut, waiting.missing = said.at, False, True
        self.settle()
        if self.core.link_broken:
            assert session is not None and self.server.expired, self.core.link_broken
            self.core.close_link(self.core.link_broken, 0)
            self.connect()
        self.send()

    def settle(self) -> None:
        """What fired is judged; reads under which many connections broke are given up."""
        for waiting in list(self.waiting):
            if waiting.watch.event is not None:
                self.judge(waiting)
                self.waiting.remove(waiting)
            elif waiting.watch.lost:
                assert waiting.at is not None
                self.waiting.remove(waiting)
            elif waiting.call.done and waiting.at is None and isinstance(waiting.call.error, NoNodeError):
                self.waiting.remove(waiting)

    def judge(self, waiting: Waiting) -> None:
        assert waiting.at is not None
        concerned = [change for change in self.server.history[waiting.at :] if waiting.concerns(change)]
        event = waiting.watch.event
        assert concerned and event is not None and event.path == waiting.path
        if not waiting.cut:
            assert TYPES[type(event).__name__] == concerned[0].type
            if self.modes == "many":
                assert not isinstance(event, Resynced) and event.zxid == concerned[0].zxid

    def teardown(self) -> None:
        if not hasattr(self, "core"):
            return
        self.run()
        for waiting in self.waiting:
            assert waiting.at is not None and waiting.call.done
            concerned = [change for change in self.server.history[waiting.at :] if waiting.concerns(change)]
            assert not concerned or (waiting.cut and waiting.missing), (waiting.kind, waiting.path, concerned)
        for streaming in self.streaming:
            assert streaming.at is not None
            told = [(TYPES[type(event).__name__], event.path) for event in streaming.events]
            concerned = [change for change in self.server.history[streaming.at :] if streaming.concerns(change)]
            assert told == [(change.type, change.path) for change in concerned]
            if self.modes == "many":
                zxids = [event.zxid for event in streaming.events if not isinstance(event, Resynced)]
                assert zxids == [change.zxid for change in concerned]
        held = set(self.server.data) | set(self.server.child)
        assert held <= {waiting.path for waiting in self.waiting} | {each.path for each in self.streaming}
        while self.waiting:
            self.give_up(0)
        while self.streaming:
            self.unsubscribe(0)
        self.run()
        assert not self.server.data and not self.server.child and len(self.core.watches) == 0

    def run(self) -> None:
        while self.server.asked or self.server.said:
            while self.server.asked:
                self.server.answer()
            while self.server.said:
                self.hear_one()


class OneMode(Watches):
    modes = "one"


@pytest.mark.parametrize("machine", [Watches, OneMode])
def test_watches_tell_what_they_are_to_tell(machine: type[Watches]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=80, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_a_read_that_is_given_up_sets_a_watch_even_if_another_one_fires_before_it_is_answered() -> None:
    """What was in the way is taken back at the server; a machine found this one."""
    state = Watches()
    state.begin()
    state.ask("data", "/a")
    state.run()
    state.server.delete("/a")  # it fires, and that is on its way
    state.server.create("/a")
    state.ask("data", "/a")
    state.give_up(1)
    state.teardown()
