"""Commands that have the terminal for longer than a moment: edit and watch."""

from pathlib import Path

import anyio

import zabpy

from .screen import CTRL_C, ENTER, Screen
from .terminals import make, zabsh

#: Shows what it edits, and takes lines from the terminal until a full stop, as ed does; they are the new text.
EDITOR = """\
trap 'caught=yes; echo "-- caught"' INT
echo "-- editing"; cat "$1"; echo; echo "-- of $(stty -a | grep -o -w -e '-*icanon')"
: > "$1.new"
while test "$line" != .; do
    caught=
    if read -r line; then test "$line" = . || echo "$line" >> "$1.new"; else test "$caught" || exit 1; fi
done
mv "$1.new" "$1"
"""


def change(hosts: str, path: str, data: bytes) -> None:
    """By another client."""

    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            await zk.set(path, data)

    anyio.run(story, backend="trio")


def value(hosts: str, path: str) -> bytes:
    async def story() -> bytes:
        async with zabpy.connect(hosts) as zk:
            return (await zk.get(path)).data

    return anyio.run(story, backend="trio")


def test_an_editor_has_the_terminal_and_a_conflict_opens_it_again(hosts: str, tmp_path: Path) -> None:
    """Ctrl-C is the editor's, too."""
    make(hosts, "/conf", data=b"color=red\nsize=1")
    editor = tmp_path / "editor"
    editor.write_text(EDITOR)
    with zabsh(hosts, tmp_path, EDITOR=f"sh '{editor}'", VISUAL="", TMPDIR=str(tmp_path)) as it:
        it.type("edit /conf\r")
        it.until("^-- editing\ncolor=red\nsize=1\n-- of icanon$")  # lines, with an echo, and not the prompt's keys
        it.type("color=blue\rsize=1\r")
        it.until("^color=blue\nsize=1$")
        change(hosts, "/conf", b"color=green\nsize=1")
        it.type(".\r")
        it.until("^--- before\n.*by others\n.*\n-color=red\n.color=green\n size=1\n")
        it.until(lambda it: it.prompt == "/conf: somebody has changed it meanwhile. Open the editor again? [y/N]")
        assert value(hosts, "/conf") == b"color=green\nsize=1"
        it.type("y\r")
        it.until("^<<<<<<< yours\ncolor=blue\n=======\ncolor=green\n>>>>>>> version 1, by others\nsize=1\n")
        it.until("-- of icanon$")
        it.type("color=teal\rsize=1\r.\r")
        it.until("^/conf: written, version 2\n")
        it.until(lambda it: it.prompt == f"{hosts} />" and it.prompt_colour == "green")
        assert value(hosts, "/conf") == b"color=teal\nsize=1"

        it.run("get /conf | cat")  # the prompt's keys and the terminal's lines are as before
        it.until("cat\ncolor=teal\nsize=1\n")
        it.type("edit /conf\r")
        it.until("^-- editing\ncolor=teal\nsize=1\n-- of icanon$")
        it.type("half a li" + CTRL_C)
        it.until("-- caught")
        it.type("whole\r.\r")
        it.until("^/conf: written, version 3\n")
        assert "status 130" not in it.text and value(hosts, "/conf") == b"whole"
    assert list(tmp_path.glob("zabsh-*")) == []


def test_what_is_watched_appears_until_ctrl_c(screen: Screen, one_server: str) -> None:
    make(f"{one_server}/terminal", "/watched/a", data=b"1")
    screen.type("watch -r /watched" + ENTER)
    screen.until("^watching /watched: 2 znodes$")
    make(f"{one_server}/terminal", "/watched/b")
    screen.until(r"^\d\d:\d\d:\d\d created /watched/b$")
    change(f"{one_server}/terminal", "/watched/a", b"2")
    screen.until(r"^\d\d:\d\d:\d\d changed /watched/a  1 -> 2$")
    screen.type(CTRL_C)
    screen.until("status 130")
    screen.until(lambda it: it.prompt == f"{one_server}/terminal />")
    change(f"{one_server}/terminal", "/watched/a", b"3")
    screen.type("get /watched/a" + ENTER)
    screen.until("> get /watched/a\n3\n")
    assert "2 -> 3" not in screen.text  # nobody watches any more
