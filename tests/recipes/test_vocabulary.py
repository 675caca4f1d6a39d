"""All recipes speak one language: the same thing has the same name, type and error in each of them."""

import inspect
import pickle
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

import zabpy
import zabpy.recipes
from tests.recipes.hurting import crowd, kill
from tests.recipes.memory import world
from zabpy.recipes import (
    AcquireTimeoutError,
    BarrierLost,
    DownPolicy,
    Fence,
    LeadershipLost,
    LeasesMaxError,
    LockLost,
    LostError,
    MultiLock,
    NoInstanceError,
    NotACounterError,
    NotReentrantError,
    ServiceInstance,
    StaleTokenError,
)

CLASSES = [each for each in vars(zabpy.recipes).values() if inspect.isclass(each)]
#: A parameter of this name → its annotation, wherever it stands.
TYPES = {
    "path": {"str"},
    "name": {"str"},
    "data": {"bytes", "bytes | None"},  # None: the member's name
    "acl": {"Acls | None", "zabpy.model.acl.Acls | None"},
    "timeout_ms": {"int | None"},
    "count": {"int"},
}
#: What recipes make for users, and users never themselves.
RECIPES_OWN = ("Holding.", "ServiceInstance.", "HeldL", "Item.", "Assignment.")
#: What was said in several ways, or against the rule that bounds and units go last → how it is said.
OTHER_WORDS = {
    "identifier": "data",
    "value": "data",
    "base": "path",
    "joined_zxid": "token",
    "czxid": "token",
    "obtain": "acquire",
    "give_back": "release",
    "change": "update",
}


def signatures() -> list[tuple[str, inspect.Signature]]:
    found: list[tuple[str, inspect.Signature]] = []
    for cls in CLASSES:
        if issubclass(cls, BaseException):
            continue
        for name, member in inspect.getmembers(cls, inspect.isfunction):
            if (name == "__init__" or not name.startswith("_")) and member.__module__.startswith("zabpy.recipes"):
                found.append((f"{cls.__name__}.{name}", inspect.signature(member)))
    assert len(found) > 100
    return found


def test_a_parameter_means_the_same_everywhere() -> None:
    for where, signature in signatures():
        for name, parameter in signature.parameters.items():
            # A change is a function, and what an AtomicValue is changed by
            assert name not in OTHER_WORDS or where == "AtomicValue.update", f"{where}: say {OTHER_WORDS[name]}"
            assert not name.startswith(("max_", "min_")), f"{where}: bounds go last: {name}"
            annotation = parameter.annotation
            text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
            text = text.replace("tuple[zabpy.model.acl.Acl, ...]", "Acls")
            if name in TYPES and not where.startswith(RECIPES_OWN):
                assert text in TYPES[name], f"{where}: {name}: {text}"


def test_no_public_name_is_said_in_other_words() -> None:
    for cls in CLASSES:
        names = {name for name in dir(cls) if not name.startswith("_")} | set(getattr(cls, "__annotations__", {}))
        assert not names & OTHER_WORDS.keys(), cls


BAD: dict[str, tuple[Callable[[zabpy.Client], object], str, str | None]] = {
    "lock path": (lambda zk: zk.lock("x"), "lock", "x"),
    "path type": (lambda zk: zk.barrier(7), "barrier", None),  # type: ignore[arg-type]
    "lock delay": (lambda zk: zk.lock("/x", lock_delay_ms=-1), "lock", "/x"),
    "lock data": (lambda zk: zk.lock("/x", data="text"), "lock", "/x"),  # type: ignore[arg-type]
    "lock layout": (lambda zk: zk.lock("/x", layout="?"), "lock", "/x"),  # type: ignore[arg-type]
    "revocation": (lambda zk: zk.lock("/x", on_revocation="?"), "lock", "/x"),  # type: ignore[arg-type]
    "rw path": (lambda zk: zk.read_write_lock("/x/"), "lock", "/x/"),
    "no locks": (lambda zk: zk.multi_lock([]), "multi_lock", None),
    "same locks": (lambda zk: zk.multi_lock(["/x", "/x"]), "multi_lock", None),
    "semaphore": (lambda zk: zk.semaphore("/x", 0), "semaphore", "/x"),
    "semaphore path": (lambda zk: zk.semaphore("/x/", 1), "semaphore", "/x/"),
    "election": (lambda zk: zk.election("/x", data="text"), "lock", "/x"),  # type: ignore[arg-type]
    "timed lease": (lambda zk: zk.timed_lease("/x", 0), "timed_lease", "/x"),
    "observe": (lambda zk: zk.observe("x"), "observe", "x"),
    "registered": (lambda zk: zk.registered("x"), "registered", "x"),
    "registered data": (lambda zk: zk.registered("/x", "text"), "registered", "/x"),  # type: ignore[arg-type]
    "take over": (lambda zk: zk.registered("/x", take_over="?"), "registered", "/x"),  # type: ignore[arg-type]
    "group": (lambda zk: zk.group("x"), "group", "x"),
    "group layout": (lambda zk: zk.group("/x", layout="?"), "group", "/x"),  # type: ignore[arg-type]
    "member": (lambda zk: zk.member("/x", "a/b"), "member", "/x"),
    "double barrier": (lambda zk: zk.double_barrier("/x", 0), "double_barrier", "/x"),
    "counter layout": (lambda zk: zk.counter("/x", layout="?"), "counter", "/x"),  # type: ignore[arg-type]
    "counter start": (lambda zk: zk.counter("/x", start=2**31, layout="int"), "counter", "/x"),
    "value": (lambda zk: zk.atomic_value("/x", default="text"), "atomic_value", "/x"),  # type: ignore[arg-type]
    "work queue": (lambda zk: zk.work_queue("x"), "work_queue", "x"),
    "attempts": (lambda zk: zk.delay_queue("/x", attempts_max=0), "delay_queue", "/x"),
    "cache": (lambda zk: zk.tree_cache("x"), "tree_cache", "x"),
    "items": (lambda zk: zk.partitioner("/x", [""]), "partitioner", None),
    "settle": (lambda zk: zk.partitioner("/x", ["a"], settle_ms=-1), "partitioner", "/x"),
    "service": (lambda zk: zk.service("/x", "api", strategy="?"), "service", "/x"),
    "service path": (lambda zk: zk.service("x", "api"), "service", "x"),
    "instance": (lambda zk: ServiceInstance("api", "a/b"), "ServiceInstance", None),
    "policy": (lambda zk: DownPolicy(failures=0), "DownPolicy", None),
    "fence": (lambda zk: Fence("x", table="1;"), "Fence", None),
}


@pytest.mark.parametrize("what", BAD)
def test_an_argument_that_cannot_be_is_said_in_one_way(what: str) -> None:
    make, operation, path = BAD[what]
    with pytest.raises(zabpy.BadArgumentsError) as raised:
        make(zabpy.connect("127.0.0.1:1"))
    assert isinstance(raised.value, ValueError)
    assert (raised.value.operation, raised.value.path) == (operation, path)
    assert str(raised.value).startswith(operation if path is None else f"{operation} {path}: ")


@pytest.mark.parametrize("timeout_ms", [-1, 0.5, "1", True])
async def test_a_timeout_that_cannot_be_is_refused_by_all_that_acquire(
    timeout_ms: int, autojump_clock: MockClock
) -> None:
    async with world(servers=1) as w, w.client("a") as zk:
        for each in (
            zk.lock("/x"),
            zk.read_write_lock("/x").write,
            zk.semaphore("/s", 1),
            zk.timed_lease("/t", 1),
            zk.multi_lock(["/x", "/y"]),
        ):
            with pytest.raises(zabpy.BadArgumentsError, match="timeout_ms") as raised:
                await each.acquire(timeout_ms)
            assert raised.value.operation == "acquire"
            assert raised.value.path == (None if isinstance(each, MultiLock) else each.path)


async def test_a_loss_says_of_what_it_is(autojump_clock: MockClock) -> None:
    """And all can be pickled, as those of the client can: they may come from another process."""
    async with crowd(servers=1) as all, all.client("a") as zk, all.client("b") as other:
        losses: list[tuple[LostError, type[LostError], str | None]] = []

        async def lose(holding: zabpy.recipes.Holding, path: str | None, kind: type[LostError] = LockLost) -> None:
            with pytest.raises(kind) as raised:
                async with holding:
                    await kill(all.servers, zk.session)
                    await trio.sleep_forever()
            losses.append((raised.value, kind, path))
            assert raised.value.session_id == holding.session.id != 0

        await lose(await zk.lock("/lock").acquire(), "/lock")
        await lose(await zk.read_write_lock("/rw").read.acquire(), "/rw")
        await lose(await zk.semaphore("/sem", 1).acquire(), "/sem")
        await lose(await zk.multi_lock(["/m1", "/m2"]).acquire(), None)
        async with zk.election("/lead") as election:
            async for term in election.terms():
                await lose(term, "/lead", LeadershipLost)
                break
        lease = await zk.timed_lease("/lease", 1_000).acquire()
        with pytest.raises(LockLost) as over:
            async with lease:
                await trio.sleep_forever()
        losses.append((over.value, LockLost, "/lease"))
        with pytest.raises(BarrierLost) as raised:
            async with zk.double_barrier("/double", 1) as member:
                await other.delete(member.path)
                await trio.sleep_forever()
        losses.append((raised.value, BarrierLost, "/double"))

        assert len(losses) == 7
        for error, kind, path in losses:
            assert type(error) is kind
            assert (error.operation, error.path) == ("hold", path)
            again = pickle.loads(pickle.dumps(error))
            assert type(again) is kind and str(again) == str(error)
            assert (again.reason, again.path, again.session_id) == (error.reason, error.path, error.session_id)


async def test_whatever_else_goes_wrong_says_of_what_it_is(autojump_clock: MockClock) -> None:
    async with world(servers=1) as w, w.client("a") as zk, w.client("b") as other:
        async with zk.lock("/lock") as held, zk.semaphore("/sem", 1):
            for contended in (other.lock("/lock"), other.semaphore("/sem", 1)):
                for timeout_ms in (0, 50):
                    with pytest.raises(AcquireTimeoutError) as late:
                        await contended.acquire(timeout_ms)
                    assert (late.value.operation, late.value.path) == ("acquire", contended.path)
            with pytest.raises(AcquireTimeoutError) as late:
                await other.multi_lock(["/lock", "/k"]).acquire(0)
            assert (late.value.operation, late.value.path) == ("acquire", "/lock")
            with pytest.raises(NotReentrantError) as twice:
                await zk.lock("/lock").acquire()
            assert (twice.value.operation, twice.value.path) == ("acquire", "/lock")
            assert twice.value.session_id == held.session.id
            with pytest.raises(LeasesMaxError) as other_number:
                await zk.semaphore("/sem", 2).acquire()
            assert (other_number.value.operation, other_number.value.path) == ("acquire", "/sem")
        await zk.create("/n", b"?")
        with pytest.raises(NotACounterError) as no_number:
            await zk.counter("/n").get()
        assert (no_number.value.operation, no_number.value.path) == ("counter", "/n")
        async with zk.service("/services", "api") as view:
            with pytest.raises(NoInstanceError) as nobody:
                view.choose()
        assert (nobody.value.operation, nobody.value.path) == ("choose", "/services/api")
        errors = [each.value for each in (late, twice, other_number, no_number, nobody)]
        for error in (*errors, StaleTokenError("r", 7)):
            again = pickle.loads(pickle.dumps(error))
            assert (type(again), str(again), again.path) == (type(error), str(error), error.path)
            assert issubclass(type(error), zabpy.recipes.RecipeError)
            assert error.operation


async def test_what_is_held_says_in_its_repr_what_it_is_and_how_it_stands(autojump_clock: MockClock) -> None:
    async with world(servers=1) as w, w.client("a") as zk:
        held = await zk.lock("/lock").acquire()
        where = f"/lock token {held.token:#x} session {zk.session.id & 2**64 - 1:#x}"
        assert repr(held) == f"<HeldLock {where} held>"
        await held.release()
        assert repr(held) == f"<HeldLock {where} released>"
        lost = await zk.lock("/lock").acquire()
        await zk.delete(lost.path)
        assert "was deleted" in await lost.wait_lost()
        assert repr(lost).startswith(f"<HeldLock /lock token {lost.token:#x} session ")
        assert repr(lost).endswith(f" lost: its znode {lost.path} was deleted>")

        async with zk.multi_lock(["/m", "/n"]) as several:
            assert repr(several).startswith("<HeldLocks the locks /m, /n session 0x")
        async with zk.semaphore("/sem", 1) as one:
            assert repr(one).startswith(f"<HeldLease /sem token {one.token:#x} session 0x")
        async with zk.timed_lease("/lease", 1_000) as lease:
            assert repr(lease).startswith(f"<HeldTimedLease /lease token {lease.token:#x} ")
        async with zk.registered("/here") as here:
            assert repr(here) == f"<Registration /here token {here.token:#x} present>"
        await zk.work_queue("/queue").put(b"")
        async with zk.work_queue("/queue") as queue, queue.take() as item:
            assert repr(item).startswith(f"<Item {item.entry_path} token {item.token:#x} ")
