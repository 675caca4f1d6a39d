"""What plain code holds: it is told of the loss, and the end of the `with` says it, by the rules of `async with`."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

import zabpy
import zabpy.blocking
from tests.blocking.conftest import eventually
from zabpy.blocking import Client, NotHeldError, TimedOutError
from zabpy.recipes import AcquireTimeoutError, LeadershipLost, LockLost, NotReentrantError
from zabpy.testing import Ensemble


@pytest.fixture(scope="module")
def ensemble() -> Iterator[Ensemble]:
    with Ensemble(1) as servers:
        yield servers


@pytest.fixture
def zk(ensemble: Ensemble) -> Iterator[Client]:
    with zabpy.blocking.connect(ensemble.hosts, session_timeout_ms=10_000) as client:
        yield client


def test_a_lock_is_held_and_given_back(zk: Client) -> None:
    lock = zk.lock("/given-back")
    with lock as held:
        assert held.token == zk.exists(held.path).czxid  # type: ignore[union-attr]
        assert not held.lost and not held.lost.is_set() and not held.lost.wait(timeout_ms=10)
        held.check()
        assert held.session == zk.session
        assert [each.token for each in lock.queue()] == [held.token]
    assert lock.queue() == []
    with pytest.raises(LockLost, match="released"):
        held.check()
    assert not held.lost


def test_threads_take_turns_with_one_lock(zk: Client) -> None:
    lock, inside, turns = zk.lock("/turns"), threading.Lock(), []

    def work() -> None:
        for _ in range(5):
            with lock as held:
                assert inside.acquire(blocking=False)
                turns.append(held.token)
                inside.release()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(turns) == 20 and turns == sorted(turns)


def test_a_thread_that_holds_it_is_told_that_it_is_not_reentrant(zk: Client) -> None:
    lock = zk.lock("/once")
    with lock, pytest.raises(NotReentrantError):
        lock.acquire()
    held = zk.lock("/once").acquire()
    with pytest.raises(NotReentrantError):
        lock.__enter__()
    refused: list[BaseException] = []

    def other() -> None:  # many, for a task's number may be one that was used before
        for _ in range(20):
            try:
                zk.lock("/once").acquire(timeout_ms=0)
            except AcquireTimeoutError as error:
                refused.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join(20)
    assert len(refused) == 20
    held.release()
    with lock.acquire(timeout_ms=5_000):
        pass


def test_waiting_for_a_lock_may_have_an_end_of_either_kind(zk: Client) -> None:
    with zk.lock("/busy"):

        def other() -> None:
            waits: list[Callable[[], object]] = [
                lambda: zk.lock("/busy").acquire(timeout_ms=50),
                lambda: zk.lock("/busy").with_timeout(50).acquire(),
                lambda: zk.with_timeout(50).lock("/busy").__enter__(),
            ]
            for wait in waits:
                try:
                    wait()
                except (AcquireTimeoutError, TimedOutError) as error:
                    raised.append(type(error))

        raised: list[type] = []
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(20)
        assert raised == [AcquireTimeoutError, TimedOutError, TimedOutError]
    with zk.lock("/busy"):  # nothing of theirs stands in the way
        assert len(zk.lock("/busy").queue()) == 1


def test_a_body_that_sleeps_is_told_of_the_loss_and_the_end_says_it(ensemble: Ensemble, zk: Client) -> None:
    told: list[int] = []
    with pytest.raises(LockLost, match="/slept"):
        with zk.lock("/slept", on_lost=lambda: told.append(threading.get_ident())) as held:
            ensemble.expire(zk.session.id)
            assert held.lost.wait(timeout_ms=5_000)
            time.sleep(0.2)  # the body goes on: code that does not wait for us cannot be stopped
            with pytest.raises(LockLost):
                held.check()
            with pytest.raises(LockLost):
                held.run(print)
    assert len(told) == 1 and told[0] != threading.get_ident() and told[0] != zk._portal._ident
    assert held.lost


def test_what_the_body_raises_is_not_hidden_by_the_loss(ensemble: Ensemble, zk: Client) -> None:
    mine = ValueError("mine")
    with pytest.raises(ValueError) as raised:
        with zk.lock("/raised") as held:
            ensemble.expire(zk.session.id)
            held.lost.wait()
            raise mine
    assert raised.value is mine and any("lost" in note for note in mine.__notes__)
    with pytest.raises(LockLost) as lost:
        with zk.lock("/raised") as held:
            session = zk.session
            ensemble.expire(session.id)
            held.lost.wait()
            zk.get("/", session=session)  # one of our errors, because of the loss
    assert isinstance(lost.value.__cause__, zabpy.SessionLostError)


def test_a_server_that_dies_loses_the_lock_by_the_local_clock() -> None:
    with Ensemble(1) as mortal, zabpy.blocking.connect(mortal.hosts, session_timeout_ms=600) as zk:
        with pytest.raises(LockLost):
            with zk.lock("/clock") as held:
                mortal.kill(1)
                began = time.monotonic()
                assert held.lost.wait(timeout_ms=5_000)
                assert time.monotonic() - began < 1.5
        assert zk.state is zabpy.State.LOST


def test_a_function_is_waited_for_until_the_lock_is_lost(ensemble: Ensemble, zk: Client) -> None:
    with pytest.raises(LockLost):
        with zk.lock("/run") as held:
            assert held.run(divmod, 7, 2) == (3, 1)
            with pytest.raises(ZeroDivisionError):
                held.run(divmod, 7, 0)
            stop = threading.Event()
            threading.Timer(0.1, ensemble.expire, [zk.session.id]).start()
            with pytest.raises(LockLost):
                held.run(stop.wait, 20)
            stop.set()


def test_what_sleeps_in_the_main_thread_can_be_interrupted(ensemble: Ensemble, zk: Client) -> None:
    began = time.monotonic()
    with pytest.raises(LockLost):
        with zk.lock("/interrupted", on_lost="interrupt_main"):
            threading.Timer(0.1, ensemble.expire, [zk.session.id]).start()
            time.sleep(20)
    assert time.monotonic() - began < 5
    with pytest.raises(KeyboardInterrupt):  # a true one is left alone
        with zk.lock("/interrupted", on_lost="interrupt_main"):
            signal.raise_signal(signal.SIGINT)


def test_an_interrupt_never_comes_after_the_body(ensemble: Ensemble) -> None:
    """However close the loss is to the end, no KeyboardInterrupt is left for the code that follows."""
    for number in range(20):
        with zabpy.blocking.connect(ensemble.hosts) as zk:
            expiring = threading.Thread(target=ensemble.expire, args=[zk.session.id])
            with contextlib.suppress(LockLost):
                with zk.lock("/late", on_lost="interrupt_main"):
                    expiring.start()
                    time.sleep(number / 2000)
            sum(range(20_000))
            expiring.join(10)


def test_a_body_that_ends_with_its_client_closed_is_told(ensemble: Ensemble) -> None:
    zk = zabpy.blocking.connect(ensemble.hosts).open()
    with pytest.raises(LockLost):
        with zk.lock("/closed") as held:
            zk.close()
            assert held.lost
    with zabpy.blocking.connect(ensemble.hosts) as zk:
        assert zk.lock("/closed").queue() == []


def test_one_that_was_acquired_without_a_with_can_be_asked_and_held_later(ensemble: Ensemble, zk: Client) -> None:
    held = zk.lock("/bare").acquire()
    assert not held.lost
    with held as same:
        assert same == held and not same.lost
    held = zk.lock("/bare").acquire()
    lost = held.lost
    ensemble.expire(zk.session.id)
    assert lost.wait(timeout_ms=5_000) and held.wait_lost()


def test_what_was_not_entered_has_nothing_to_lose(zk: Client) -> None:
    with pytest.raises(NotHeldError):
        _ = zk.registered("/never-entered").lost


def test_terms_are_a_loop(ensemble: Ensemble, zk: Client) -> None:
    led: list[int] = []
    with pytest.raises(LeadershipLost):
        with zk.election("/lead", data=b"me") as election:
            for term in election.terms():
                with term:
                    led.append(term.token)
                    leader = election.leader()
                    assert leader is not None and leader.token == term.token
                    ensemble.expire(zk.session.id)
                    assert term.lost.wait(timeout_ms=5_000)
    assert len(led) == 1
    with zk.election("/lead") as election:
        terms = election.terms(stand_again=True)
        for term in terms:
            with term:
                led.append(term.token)
                if len(led) < 4:
                    ensemble.expire(zk.session.id)
                    assert term.lost.wait(timeout_ms=5_000)
                    continue
            election.withdraw()
        with pytest.raises(StopIteration):
            terms.next(timeout_ms=5_000)
    assert len(led) == 4 and led == sorted(led)


def test_a_function_that_leads_is_told_and_called_again_in_the_next_term(ensemble: Ensemble, zk: Client) -> None:
    tokens: list[int] = []

    def serve(term: zabpy.blocking.Term) -> str:
        tokens.append(term.token)
        assert threading.current_thread() is not threading.main_thread()
        if len(tokens) == 1:
            ensemble.expire(zk.session.id)
            assert term.lost.wait(timeout_ms=5_000)
            return "lost"
        zk.ensure("/served")  # the client may be used in there
        return "done"

    with zk.election("/serve") as election:
        assert election.run(serve) == "done"
    assert len(tokens) == 2 and tokens[0] < tokens[1]

    def fails(_: zabpy.blocking.Term) -> None:
        raise ValueError("mine")

    with zk.election("/serve") as election, pytest.raises(ValueError, match="mine"):
        election.run(fails)


def test_work_that_is_given_up_is_told(zk: Client) -> None:
    """Items that go to another member: no lock is lost, and yet the work on them has to end."""
    working: dict[str, zabpy.blocking.Claim] = {}

    def work(claim: zabpy.blocking.Claim) -> None:
        working[claim.item] = claim
        claim.check()
        claim.lost.wait()
        del working[claim.item]

    def run() -> None:
        with contextlib.suppress(zabpy.ClientError):
            with zk.partitioner("/parts", ["a", "b", "c"], settle_ms=10) as partitioner:
                partitioners.append(partitioner)
                partitioner.run(work)

    partitioners: list[zabpy.blocking.Partitioner] = []
    thread = threading.Thread(target=run)
    thread.start()
    eventually(lambda: set(working) == {"a", "b", "c"})
    partitioners[0].set_items(["b"])
    eventually(lambda: set(working) == {"b"})
    zk.close()
    thread.join(10)
    assert not thread.is_alive() and not working


def test_a_transaction_is_guarded_by_what_is_held(zk: Client) -> None:
    zk.create("/guarded")
    with zk.lock("/guard") as held:
        with zk.transaction(guard=held) as t:
            t.set("/guarded", b"1")
    assert zk.get("/guarded").data == b"1"
    with pytest.raises(zabpy.LockLost):
        zk.transaction(guard=held)
