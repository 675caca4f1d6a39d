"""edit: by an editor that is a script of the test's."""

import os
import stat
from pathlib import Path

import anyio
import pytest

import zabpy
from shell.settings import Rules
from shell.shell import Shell
from zabpy.client import Client

from .conftest import Run
from .test_change_writing import Answers, value_at


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of shell commands that edit "$1"; it says what it was given in `seen`."""
    script = tmp_path / "editor"
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"sh '{script}'")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return script


def left(tmp_path: Path) -> list[Path]:
    return sorted(tmp_path.glob("zabsh-*"))


def test_a_value_is_edited(zabsh: Run, hosts: str, editor: Path, tmp_path: Path) -> None:
    editor.write_text(f'ls -l "$1" > {tmp_path}/seen; printf "two\\n" > "$1"')
    told = zabsh("create /a.b one", "edit /a.b", "edit /a.b")
    assert (told.status, told.err) == (0, "/a.b: written, version 1\nunchanged; nothing was written\n")
    assert value_at(hosts, "/a.b") == b"two"  # there was no line end before
    seen = (tmp_path / "seen").read_text()
    assert seen.startswith("-rw-------") and "/zabsh-a-b-" in seen and seen.strip().endswith(".txt")
    assert left(tmp_path) == []
    assert zabsh("edit /new").status == 1
    assert zabsh("edit -c /new").err == "/new: written, version 0\n"


def test_what_was_json_stays_json(zabsh: Run, hosts: str, editor: Path, tmp_path: Path) -> None:
    editor.write_text(f'echo "$1" > {tmp_path}/seen; printf "{{1}}" > "$1"')
    told = zabsh("create /a '{\"x\": 1}'", "edit /a")
    assert told.status == 2 and "it was JSON, and is none any more: Expecting property name" in told.err
    (file,) = left(tmp_path)
    assert str(file) in told.err and file.read_text() == "{1}" and file.suffix == ".json"
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    file.unlink()
    assert value_at(hosts, "/a") == b'{"x": 1}'
    assert zabsh("edit --invalid /a").status == 0 and value_at(hosts, "/a") == b"{1}"
    zabsh("create /y 'a: 1'")
    editor.write_text('printf "a: [" > "$1"')
    assert "it was YAML, and is none any more" in zabsh("edit /y").err and left(tmp_path)[0].suffix == ".yaml"


def test_a_conflict_is_shown_and_both_are_opened(
    zabsh: Run, hosts: str, editor: Path, tmp_path: Path, one_server: str
) -> None:
    other = f"{Path.cwd()}/.venv/bin/zabsh --server {hosts}"
    editor.write_text(
        f'if test -e {tmp_path}/seen; then cp "$1" {tmp_path}/both; printf "merged\\nlast" > "$1"\n'
        f'else touch {tmp_path}/seen; {other} set /a "$(printf "theirs\\nlast")"; printf "mine\\nlast" > "$1"; fi'
    )
    asker = Answers()
    told = zabsh('create /a "first\nlast"', "edit /a", asker=asker)
    assert told.status == 0 and told.err == "/a: written, version 2\n"
    assert asker.asked == ["/a: somebody has changed it meanwhile. Open the editor again?"]
    assert told.lines[1:] == ["--- before", "+++ version 1, by others", "@@ -1,2 +1,2 @@", "-first", "+theirs", " last"]
    assert (tmp_path / "both").read_text().splitlines() == [
        "<<<<<<< yours",
        "mine",
        "=======",
        "theirs",
        ">>>>>>> version 1, by others",
        "last",
    ]
    assert value_at(hosts, "/a") == b"merged\nlast" and left(tmp_path) == []
    (tmp_path / "seen").unlink()
    told = zabsh("edit /a", asker=Answers(yes=False))
    assert (
        told.status == 3
        and left(tmp_path)[0].read_bytes() == b"mine\nlast"
        and value_at(hosts, "/a") == b"theirs\nlast"
    )


def test_after_a_conflict_every_byte_of_both_is_there(
    zabsh: Run, hosts: str, editor: Path, tmp_path: Path, one_server: str
) -> None:
    """Line ends of Windows, and what only Unicode takes for one; and the text stays when the second editor fails."""
    other = f"{Path.cwd()}/.venv/bin/zabsh --server {hosts}"
    editor.write_text(
        f"if test -e {tmp_path}/seen; then exit 1; fi; touch {tmp_path}/seen\n"
        f'{other} set /a "$(printf "theirs\\r\\nlast\\r\\n")"; printf "mine\\r\\n\\342\\200\\250\\f\\r\\n" > "$1"'
    )
    told = zabsh("create /a 'first\r\nlast\r\n'", "edit /a", asker=Answers())
    assert told.status != 0
    (file,) = left(tmp_path)
    assert f"what was typed is in {file}" in told.err
    text = file.read_bytes()
    assert b"mine\r\n" in text and b"\xe2\x80\xa8\f\r\n" in text and b"theirs\r\n" in text


@pytest.mark.parametrize("broken", ["set", "get"])
def test_what_was_typed_stays_when_the_command_is_cancelled_while_it_writes(
    zabsh: Run, editor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """As by Ctrl-C while the servers do not answer; also while it looks what others wrote."""
    editor.write_text('printf "long work" > "$1"')
    zabsh("create /a x")
    calls = 0

    def setup(shell: Shell) -> None:
        async def hangs(self: object, *args: object, **settings: object) -> object:
            nonlocal calls
            calls += 1
            if broken == "get":
                if calls == 1:
                    return await get(self, *args)  # type: ignore[arg-type]
            raise anyio.get_cancelled_exc_class()

        async def refuses(*args: object, **settings: object) -> object:
            raise zabpy.BadVersionError("somebody else was faster")

        get = zabpy.Client.get
        monkeypatch.setattr(Client, broken, hangs)
        if broken == "get":
            monkeypatch.setattr(Client, "set", refuses)

    with pytest.raises(BaseException):  # noqa: B017  # the cancellation of nothing goes all the way
        zabsh("edit /a", setup=setup)
    assert left(tmp_path)[0].read_bytes() == b"long work"


def test_editors_that_fail(zabsh: Run, editor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor.write_text("exit 3")
    told = zabsh("create /a x", "edit /a", "create /bin --hex 00ff", "edit /bin")
    assert told.err.splitlines()[:2] == [
        "edit: sh ended with status 3; nothing was written",
        "edit: /bin: its value is binary, which editors do not take; cp to file:NAME and back does",
    ]
    monkeypatch.setenv("VISUAL", "/no/such/editor")
    assert "/no/such/editor: No such file or directory; $VISUAL or $EDITOR says" in zabsh("edit /a").err
    assert zabsh("edit /a", rules=Rules(read_only=True)).status == 4 and left(tmp_path) == []
