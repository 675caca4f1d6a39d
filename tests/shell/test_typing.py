"""What is made of a line while it is typed, and of a tree that is only partly known; without a terminal or servers."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import anyio
import anyio.lowlevel
import click
import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from shell.command import REGISTRY, ZPath, command
from shell.interactive import history as history_module, known as known_module
from shell.interactive.completer import SHOWN_MAX, ShellCompleter
from shell.interactive.fuzzy import fitting
from shell.interactive.history import KeptHistory, is_secret
from shell.interactive.known import FRESH_MS, Known
from shell.interactive.place import Kind, cursor, parts
from shell.interactive.validator import ShellValidator
from shell.line import parse_so_far
from shell.shell import Shell


@pytest.fixture(scope="module", autouse=True)
def _commands() -> Iterator[None]:
    @command("xcopy", group="Move", hidden=True)
    @click.argument("source", type=ZPath())
    @click.argument("file", type=click.Path())
    @click.option("-n", "--count", type=int, help="How many.")
    @click.option("-f", "--force", is_flag=True)
    @click.option("--mode", type=click.Choice(["fast", "safe"]))
    async def xcopy(shell: Shell) -> None:
        """Only here."""

    yield
    del REGISTRY["xcopy"]


def run(story: Callable[[], Awaitable[None]]) -> None:
    anyio.run(story, backend="asyncio")


def kinds(text: str) -> str:
    found = [part for statement in parse_so_far(text) for part in parts(text, statement)]
    return " ".join(
        (part.kind.name if part.known else "unknown") + (f":{part.param.name}" if part.param else "") for part in found
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("xcopy -n 5 /a b", "COMMAND FLAG:count VALUE:count VALUE:source VALUE:file"),
        ("xcopy /a --count=5 b", "COMMAND VALUE:source FLAG:count VALUE:count VALUE:file"),
        ("xcopy -fn 5 /a", "COMMAND FLAG:count VALUE:count VALUE:source"),
        ("xcopy -n5 /a", "COMMAND FLAG:count VALUE:source"),
        ("xcopy -- -n /a", "COMMAND END VALUE:source VALUE:file"),
        ("xcopy '-n' /a", "COMMAND VALUE:source VALUE:file"),
        ("xcopy -q /a", "COMMAND unknown VALUE:source"),
        ("nope -q /a", "unknown VALUE VALUE"),
    ],
)
def test_what_words_are(text: str, expected: str) -> None:
    assert kinds(text) == expected


@pytest.mark.parametrize(
    ("text", "kind", "typed"),
    [
        ("", Kind.COMMAND, ""),
        ("ls; x", Kind.COMMAND, "x"),
        ("xcopy ", Kind.VALUE, ""),
        ("xcopy --", Kind.FLAG, "--"),
        ("xcopy --mode ", Kind.VALUE, ""),
        ("xcopy --mode=f", Kind.VALUE, "f"),
        ("xcopy '/a b", Kind.VALUE, "/a b"),
    ],
)
def test_where_the_cursor_is(text: str, kind: Kind, typed: str) -> None:
    part = cursor(text).part
    assert part is not None and (part.kind, part.typed) == (kind, typed)


@pytest.mark.parametrize("text", ["# ls", "ls | gr", "ls | "])
def test_what_is_not_ours_is_left_alone(text: str) -> None:
    assert cursor(text).part is None


def offered(text: str, children: dict[str, list[str] | None] | None = None, cwd: str = "/") -> list[str]:
    """The lines that a completion would make of this one."""
    found: list[str] = []

    async def story() -> None:
        async def fetch(path: str) -> list[str] | None:
            raise AssertionError("nothing is fetched while it is completed")

        known = Known(fetch, lambda: None)
        for path, names in (children or {}).items():
            known._keep(path, names)
        completer = ShellCompleter(known, lambda typed: "/" + "/".join(
            each for each in (typed if typed[:1] == "/" else f"{cwd}/{typed}").split("/") if each not in ("", ".")
        ))  # fmt: skip
        async for each in completer.get_completions_async(Document(text), CompleteEvent()):
            found.append(text[: len(text) + each.start_position] + each.text)

    run(story)
    return found


def test_completions(tmp_path: Path) -> None:
    assert offered("xco") == ["xcopy"]
    assert offered("xcopy --m") == ["xcopy --mode"]
    assert offered("xcopy --mode ") == ["xcopy --mode fast", "xcopy --mode safe"]
    assert offered("xcopy --mode=sa") == ["xcopy --mode=safe"]
    assert offered("xcopy -n ") == []
    assert {"xcopy --force --count", "xcopy --force --mode", "xcopy --force -n"} <= set(offered("xcopy --force -"))
    assert "xcopy --force -f" not in offered("xcopy --force -")
    tree: dict[str, list[str] | None] = {"/": ["a", "b c", "it's"], "/b c": ["d"], "/gone": None}
    assert offered("xcopy /", tree) == ["xcopy /a", "xcopy '/b c'", 'xcopy "/it\'s"']
    assert offered("xcopy /b", tree) == ["xcopy '/b c'"]
    assert offered("xcopy '/b c'/", tree) == ["xcopy '/b c/d'"]
    assert offered("xcopy ", tree, cwd="/b c") == ["xcopy d"]
    assert offered("xcopy /gone/", tree) == offered("xcopy /new/", tree) == offered("xcopy /a*", tree) == []
    (tmp_path / "some file").touch()
    (tmp_path / "folder").mkdir()
    assert offered(f"xcopy /a {tmp_path}/") == [f"xcopy /a {tmp_path}/folder/", f"xcopy /a '{tmp_path}/some file'"]
    assert offered(f"ls > {tmp_path}/fo") == [f"ls > {tmp_path}/folder/"]


def test_few_of_very_many_are_offered_and_nobody_is_kept_waiting() -> None:
    names = sorted(f"n{number:06}" for number in range(100_000))
    assert SHOWN_MAX <= 500  # which is what a menu can hold
    assert offered("xcopy /", {"/": names}) == [f"xcopy /{name}" for name in names[:SHOWN_MAX]]

    async def story() -> None:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(count)
            assert [name async for name in fitting(names, "99999", 10)] == ["n099999"]
            assert turns >= 100
            tasks.cancel_scope.cancel()

    run(story)


def test_the_best_come_first() -> None:
    async def story() -> None:
        names = sorted(["config", "conf", "my-conf", "c-o-n-f", "Config-old", "other"])
        assert [name async for name in fitting(names, "conf", 10)] == [
            "conf", "config", "Config-old", "my-conf", "c-o-n-f",
        ]  # fmt: skip
        assert [name async for name in fitting(names, "conf", 3)] == ["conf", "config", "Config-old"]

    run(story)


def test_what_is_known_is_fetched_once_typing_pauses() -> None:
    asked: list[str] = []
    tree: dict[str, list[str] | None] = {"/": ["a"], "/a": ["b"], "/x": None}

    async def story() -> None:
        now = 0.0
        news = anyio.Event()

        async def fetch(path: str) -> list[str] | None:
            asked.append(path)
            return tree[path]

        known = Known(fetch, lambda: news.set(), now=lambda: now)

        async def wait_for(count: int) -> None:
            nonlocal news
            while len(asked) < count:
                await news.wait()
                news = anyio.Event()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(known.run)
            for path in ("/a", "/x", "/"):
                assert known.children(path) == (False, None)
                await anyio.lowlevel.checkpoint()
            assert asked == []
            await wait_for(3)
            assert asked == ["/", "/x", "/a"]  # the newest wish first
            assert known.children("/a") == (True, ["b"]) and known.children("/x") == (True, None)
            assert known.is_missing("/b") and known.is_missing("/b/c/d") and known.is_missing("/x/y")
            assert not known.is_missing("/a") and not known.is_missing("/a/b")
            assert known.is_missing("/a/c") and known.is_missing("/a/c/d")
            assert not known.is_missing("/a/b/c")  # that is not known
            assert not known.is_missing("/a/", prefix=True)
            await wait_for(4)
            assert asked[3:] == ["/a/b"]
            now += 2 * FRESH_MS / 1000
            tree["/"] = ["a", "new"]
            assert known.children("/") == (True, ["a"])  # what there was, at once
            await wait_for(5)
            assert known.children("/") == (True, ["a", "new"])
            known.forget()
            assert known.children("/a") == (False, None) and not known.is_missing("/b")
            tasks.cancel_scope.cancel()

    tree["/a/b"] = []
    run(story)


def test_what_is_known_is_bounded_and_the_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_module, "NAMES_MAX", 10)
    monkeypatch.setattr(known_module, "ENTRIES_MAX", 3)
    known = Known(pytest.fail, lambda: None)
    for path in ("/a", "/b", "/c", "/d"):
        known._keep(path, ["x"])
    assert [known.children(path)[0] for path in ("/a", "/b", "/c", "/d")] == [False, True, True, True]
    known._keep("/d", ["x"] * 9)
    assert [known.children(path)[0] for path in ("/b", "/c", "/d")] == [False, True, True]
    known._keep("/e", ["x"] * 99)
    assert [known.children(path)[0] for path in ("/c", "/d", "/e")] == [False, False, True]


def test_what_was_fetched_before_a_write_is_not_kept_behind_it() -> None:
    async def story() -> None:
        go, asked = anyio.Event(), anyio.Event()

        async def fetch(path: str) -> list[str] | None:
            asked.set()
            await go.wait()
            return ["old"]

        known = Known(fetch, lambda: None)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(known.run)
            known.children("/")
            await asked.wait()
            known.forget()
            go.set()
            await anyio.wait_all_tasks_blocked()
            assert known.children("/") == (False, None)
            tasks.cancel_scope.cancel()

    run(story)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("l", None),
        ("ls --rec", None),
        ("lss ", "lss: no such command; did you mean ls?"),
        ("xcopy --cuont 5", "xcopy has no --cuont; did you mean --count?"),
        ("xcopy --help", None),
        ("ls 'x", None),
    ],
)
def test_what_is_wrong_while_it_is_typed(text: str, complaint: str | None) -> None:
    if text == "ls --rec":
        text = "xcopy --cou"
    validator, said = ShellValidator(), None
    try:
        validator.validate(Document(text))
    except Exception as error:
        said = str(getattr(error, "message", error))
    assert said == complaint


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("ls /", False),
        (" ls /", True),
        ("auth digest ann:x", True),
        ("ls; addauth digest ann:x", True),
        ("addAuth digest 'ann", True),
        ("connect x --password y", True),
        ("time auth digest ann:x", True),
        ("repeat 2 addauth digest ann:x", True),
        ("ls auth", False),
        ("get /app/password", False),
    ],
)
def test_what_is_kept_of_what_was_typed(line: str, secret: bool) -> None:
    assert is_secret(line) == secret


def test_a_history_is_the_user_s_alone_and_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "zabpy/history/x"
    history = KeptHistory(str(file))
    history.append_string("ls /é")
    history.append_string("get /a\n/b")
    assert file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700
    assert list(KeptHistory(str(file)).load_history_strings()) == ["get /a\n/b", "ls /é"]
    file.chmod(0o644)
    monkeypatch.setattr(history_module, "BYTES_MAX", 1_000)
    for number in range(30):
        history.append_string(f"set /a {number:02} {'x' * 50}")
    again = list(KeptHistory(str(file)).load_history_strings())
    assert again[0].startswith("set /a 29") and 3 <= len(again) < 10
    assert file.stat().st_size <= 1_000 and file.stat().st_mode & 0o777 == 0o600


def test_a_history_that_cannot_be_kept_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "zabpy").touch()
    history = KeptHistory(str(tmp_path / "zabpy/history/x"))
    history.append_string("ls /")
    assert history.get_strings() == ["ls /"] and list(history.load_history_strings()) == []
