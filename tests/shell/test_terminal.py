"""The shell in a real terminal: what a person sees who types, waits, and loses the connection."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

import zabpy
from zabpy.bench.systems import Servers

from .screen import CTRL_C, CTRL_D, CTRL_R, DOWN, ENTER, RIGHT, TAB, Screen
from .terminals import PROGRAM, make, places, zabsh


def test_the_prompt_and_the_toolbar(hosts: str, tmp_path: Path) -> None:
    make(hosts, "/app/config")
    with zabsh(hosts, tmp_path) as screen:
        screen.until(f"^{hosts} />$")
        assert "Three things to try" in screen.text
        screen.until(r"(standalone|leader) │ connected, \d+ s left │ [\d.]+ ms │ zxid 0x[0-9a-f]+ │ session 0x")
        assert screen.prompt_colour == "green"
        screen.type("cd /app\r")
        screen.until(f"^{hosts} /app>$")
        screen.run("ls; nope; pwd | wc -c")
        screen.until("^config\nnope: no such command.*\n5\n")
        screen.until(zxid)
        before = zxid(screen)
        make(hosts, "/app/new")  # which is somebody else's doing
        screen.until(lambda it: zxid(it) > before)
        screen.type(CTRL_D)
        assert screen.until_end() == 0
    with zabsh(hosts, tmp_path) as screen:  # now it is known how it goes
        assert "Three things" not in screen.text


def zxid(screen: Screen) -> int:
    """Of the toolbar; 0 while it is being drawn."""
    found = re.findall(r"zxid (0x[0-9a-f]+) ", screen.text)
    return int(found[-1], 16) if found else 0


def test_a_narrow_terminal_still_has_the_path_and_the_session(hosts: str, tmp_path: Path) -> None:
    make(hosts, f"/{'long' * 20}/日本語/名前")
    with Screen([PROGRAM, "--server", hosts], places(tmp_path), columns=40) as screen:
        screen.until(r"^ 127.0.0.1:\d+ │ connected, \d+ s left$")
        screen.type(f"cd /{'long' * 20}/日本語\r")
        screen.until(lambda it: it.prompt.endswith("…/日 本 語 >") or it.prompt.endswith("…/日本語>"))
        screen.type("status\r")
        screen.until("^ID  SERVER +ROLE +LAG$")  # of which no line is longer than the terminal
        screen.until("^no room for answered_ms, ")
        screen.child.setwinsize(24, 120)
        screen.type("ls -l\r")
        screen.until("^MODE  CHILDREN  SIZE  VERSION")


def test_ctrl_z_stops_the_shell_and_top_and_fg_goes_on(hosts: str, tmp_path: Path) -> None:
    with Screen(["bash", "--norc", "-i"], {**places(tmp_path), "PS1": "bash> "}) as screen:
        screen.type(f"{PROGRAM} --server {hosts}\r")
        screen.until("connected, ")
        for line, there in (("", "/>"), ("top\r", "q leaves")):
            screen.type(line)
            screen.until(f"{there}$" if line else lambda it: it.prompt.endswith("/>"))
            screen.type("\x1a")
            screen.until(lambda it: "Stopped" in it.text and it.prompt == "bash>")
            screen.type("stty -a | grep -ow -e -icanon -e -echo; clear; fg\r")
            screen.until(f"{there}$" if line else lambda it: it.prompt.endswith("/>"))
        screen.type("q")  # without Enter
        screen.until(lambda it: "REQ/S" not in it.text and it.prompt.endswith("/>"))


def test_a_closed_terminal_ends_the_shell_and_its_session(hosts: str, tmp_path: Path) -> None:
    with zabsh(hosts, tmp_path, "--session-timeout", "60s") as screen:
        screen.run("create -e /mine")
        screen.child.ptyproc.fileobj.close()  # which is what a terminal's end is

        async def story() -> None:
            async with zabpy.connect(hosts) as zk:
                with anyio.fail_after(10):
                    while await zk.exists("/mine") is not None:  # noqa: ASYNC110
                        await anyio.sleep(0.05)

        anyio.run(story, backend="trio")
        assert screen.child.ptyproc.wait() == 128 + signal.SIGHUP


def test_commands_flags_and_paths_are_completed(screen: Screen, one_server: str) -> None:
    make(f"{one_server}/terminal", "/fruit/apple", "/fruit/apricot", "/fruit/two words", "/fruit/kiwi")
    screen.type("hel")
    screen.until("help +All commands")
    screen.type(TAB + " --")
    screen.until("--help +How it is used")
    screen.type(CTRL_C + "ls /fruit/")
    screen.until("apple *\n.*apricot *\n.*kiwi *\n.*two words")
    screen.type("ki")
    screen.until(lambda it: "kiwi" in it.text and "apricot" not in it.text)
    screen.type(TAB)
    screen.until("/> ls /fruit/kiwi$")
    screen.type(" /fruit/wo")  # not how it begins, but within
    screen.until("two words")
    screen.type("\b\bp")
    screen.until("apple *\n.*apricot *$")
    screen.type(DOWN + DOWN)
    screen.until("/> ls /fruit/kiwi /fruit/apricot$")
    screen.type(ENTER)  # takes what is chosen of several, and does not run it
    screen.type(" /fruit/tw")
    screen.until("two words")
    screen.type(TAB)
    screen.until("/> ls /fruit/kiwi /fruit/apricot '/fruit/two words'$")
    screen.type(ENTER)
    screen.run("ls nowhe")
    screen.until("no such znode")


def test_words_have_colours_while_they_are_typed(screen: Screen, one_server: str) -> None:
    make(f"{one_server}/terminal", "/there")
    screen.type("ls /there /gone ; lss 'x' | wc")
    screen.until(lambda it: "lss: no such command; did you mean ls?" in it.text)
    screen.until(lambda it: it.colour_of("/gone") == "red")
    screen.until(lambda it: it.colour_of("/there") == "green")
    assert screen.colour_of("ls") == "blue"
    assert screen.colour_of("lss") == "red"
    assert screen.colour_of("'x'") == "brown"
    assert screen.colour_of("wc") == "magenta"
    screen.type(CTRL_C + "get '/x")
    screen.until("> get '/x$")
    screen.type(ENTER)
    screen.until("the ' at column 5 does not end")
    screen.type("'")
    screen.until("> get '/x'$")  # it was not run, and the cursor stands at its end
    screen.type(CTRL_C + "ls --nope x")
    screen.until("ls has no --nope")
    assert screen.colour_of("--nope") == "red"


def test_what_a_command_has_changed_is_known_at_once(screen: Screen, one_server: str) -> None:
    make(f"{one_server}/terminal", "/short-lived")
    screen.type("ls /short-l")
    screen.until("^ +short-lived")  # so it is known
    screen.type(CTRL_C + "rm /short-lived; ls /" + ENTER)
    screen.until(lambda it: it.prompt == f"{one_server}/terminal />" and "> rm /short-lived" in it.text)
    screen.type("ls /short-lived")
    # What is known grows old within 5 s.
    screen.until(lambda it: it.colour_of("/short-lived") == "red", 4.0)


def test_history_is_searched_and_suggested_and_has_no_secrets(hosts: str, tmp_path: Path) -> None:
    with zabsh(hosts, tmp_path) as screen:
        screen.run("pwd; pwd")
        screen.until("^/\n/\n")
        for line in (
            "auth digest ann:geheim",
            " ls /hidden",
            "addauth digest ann:geheim",
            "pwd; addauth digest a:geheim",
        ):
            screen.run(line)
        screen.run("ls /")
        screen.type(CTRL_D)
        screen.until_end()
    (file,) = (tmp_path / "state/zabpy/history").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert [line for line in file.read_text().splitlines() if line[:1] == "+"] == ["+pwd; pwd", "+ls /"]

    with zabsh(hosts, tmp_path) as screen:
        screen.type("pw")
        screen.until("> pwd; pwd")  # grey, behind the cursor
        screen.type(RIGHT + ENTER)
        screen.until("> pwd; pwd\n/\n/\n")
        screen.type(CTRL_R + "ls")
        screen.until("reverse-i-search.*ls /")
        screen.type(ENTER)
        screen.until("> ls /$")


def test_a_command_is_stopped_and_the_shell_goes_on(screen: Screen, one_server: str) -> None:
    # exec, because dash at times loses a Ctrl-C that comes while it starts a program.
    screen.type("pwd | sh -c 'echo it runs; exec sleep 60'; pwd\r")
    screen.until("^it runs$")
    screen.type(CTRL_C)
    screen.until("status 130")
    screen.type("half a li")
    screen.until("> half a li")
    screen.type(CTRL_C)
    screen.until(lambda it: it.prompt == f"{one_server}/terminal />")
    screen.type("pwd\r")
    screen.until("> pwd\n/\n")


def test_long_output_is_paged_and_leaving_the_pager_ends_the_command(screen: Screen, one_server: str) -> None:
    make(f"{one_server}/terminal", *[f"/many/n{number:03}" for number in range(100)])
    screen.type("ls --output raw /many\r")
    screen.until("n022\n:$")
    screen.type(" ")
    screen.until("n045\n:$")
    screen.type("q")
    screen.until(lambda it: it.prompt == f"{one_server}/terminal />")
    screen.type("pwd\r")  # shorter than the screen
    screen.until("> pwd\n/\n")


def test_typing_goes_on_when_the_server_does_not_answer(tmp_path: Path) -> None:
    with Servers("zabpy", 1) as servers:
        hosts = f"127.0.0.1:{servers.client_ports[1]}"
        make(hosts, "/deep/down")
        with zabsh(hosts, tmp_path) as screen:
            pid = servers._processes[1].pid
            os.kill(pid, signal.SIGSTOP)
            try:
                screen.type("ls /de")
                for letter in "ep/do":
                    screen.type(letter)
                    screen.until(lambda it, so_far=screen.prompt: it.prompt != so_far, 1.0)  # type: ignore[misc]
                screen.until("> ls /deep/do$")
                assert "down" not in screen.text
                screen.until("connected, [0-6] s left")  # of ten
            finally:
                os.kill(pid, signal.SIGCONT)
            screen.until("^ +down")
            screen.until(r" \d{4,}\.\d ms ")  # what the last question took


@pytest.fixture
def server() -> Iterator[Servers]:
    with Servers("zabpy", 1, more="tickTime=150\n") as servers:
        yield servers


def test_a_lost_connection_and_a_lost_session_are_told(server: Servers, tmp_path: Path) -> None:
    hosts = f"127.0.0.1:{server.client_ports[1]}"
    with zabsh(hosts, tmp_path, "--session-timeout", "60s") as screen:
        session = screen.text.rpartition("session ")[2].split()[0]
        screen.type("ls /he")
        server.kill(1)
        screen.until(f"the connection to {hosts} is lost; session {session} has")
        screen.until(lambda it: it.prompt_colour == "red")
        assert screen.prompt.endswith("> ls /he")  # what was typed is still there
        server.start(1)
        screen.until(f"connected to {hosts} again after .* same session")
        screen.until(lambda it: it.prompt_colour == "green")
        assert screen.prompt.endswith("> ls /he")
        server.kill(1)
        screen.until(f"session {session} is lost, and with it its ephemeral znodes and its locks")
        server.start(1)
        screen.until(f"connected to {hosts} with a new session, 0x")
        screen.until(lambda it: it.prompt_colour == "green")


def test_questions_are_asked_and_what_is_typed_then_is_nobody_s_business(screen: Screen, one_server: str) -> None:
    make(f"{one_server}/terminal", "/question/a/b", "/question/c/d")
    screen.type("rm -r /question/a\r")
    screen.until(r"delete 2 znodes under /question/a\? \[y/N\]$")
    screen.type(ENTER)
    screen.until("nothing was done")
    screen.type("rm -r /question/a\r")
    screen.until(lambda it: it.prompt.endswith("[y/N]"))
    screen.type(CTRL_C)
    screen.until("status 130")
    screen.type("rm -r /question/a\r")
    screen.until(lambda it: it.prompt.endswith("[y/N]"))
    screen.type("y\r")
    screen.until(lambda it: it.prompt.endswith("/>"))
    screen.type("ls /question\r")
    screen.until("> ls /question\nc\n")
    screen.type("auth digest ann\r")
    screen.until("password of ann: $|password of ann:$")
    screen.type("geheim\r")
    screen.until(lambda it: it.prompt.endswith("/>"))
    assert "geheim" not in screen.text


def test_a_cluster_s_name_has_to_be_typed_where_the_profile_says_so(hosts: str, tmp_path: Path) -> None:
    make(hosts, "/a/b")
    (tmp_path / "config/zabpy").mkdir(parents=True)
    (tmp_path / "config/zabpy/shell.toml").write_text(
        f'[profile.prod]\nservers = "{hosts}"\nconfirm_name = true\ncolors = {{ prompt = "ansimagenta" }}\n'
    )
    with Screen([PROGRAM, "prod"], places(tmp_path)) as screen:
        screen.until("connected, ")
        screen.until(lambda it: it.prompt == "prod />" and it.prompt_colour == "magenta")
        screen.type("rm -r /a\r")
        screen.until("Type prod to do it")
        screen.type("y\r")
        screen.until("nothing was done")
        screen.type("rm -r /a\r")
        screen.until(lambda it: "Type prod to do it" in it.prompt)
        screen.type("prod\r")
        screen.until(lambda it: it.prompt == "prod />")
        screen.type("ls /\r")
        screen.until("> ls /\n *prod />|> ls /\nprod />")


def test_another_program_has_the_terminal_while_our_session_lives(server: Servers, tmp_path: Path) -> None:
    hosts = f"127.0.0.1:{server.client_ports[1]}"
    with zabsh(hosts, tmp_path) as screen:
        # Longer than the session would last without us.
        screen.type("lock /l -- sh -c 'echo say it; read word; echo got $word; sleep 4; echo still'\r")
        screen.until("^say it$")
        screen.type("it\r")
        screen.until("^got it\nstill\n")
        screen.until(lambda it: it.prompt_colour == "green")
        assert "lost" not in screen.text
        screen.type("lock /l -- sh -c 'echo it runs; exec sleep 60'\r")
        screen.until("^it runs$")
        screen.type(CTRL_C)
        screen.until("status 130")
        screen.until(r"^\^C\n127")  # and the prompt has a line of its own


def test_an_ensemble_with_a_shell_on_it_ends_with_the_shell(tmp_path: Path) -> None:
    dev = str(Path(PROGRAM).with_name("zabpy"))
    arguments = ["dev", "--servers", "1", "--port", "0", "--dir", str(tmp_path / "data"), "--shell"]
    with Screen([dev, *arguments], places(tmp_path)) as screen:
        screen.until("1 server is serving")
        screen.until("connected, ")
        screen.type("lock /l -- sh -c 'echo it runs; exec sleep 60'\r")
        screen.until("^it runs$")
        screen.type(CTRL_C)  # is the shell's business, and no server's
        screen.until("status 130")
        (port,) = set(re.findall(r"127\.0\.0\.1:(\d+) />", screen.text))
        screen.type(CTRL_D)
        assert screen.until_end() == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port))).close()
    assert "event=started" in (tmp_path / "data/servers.log").read_text()


def test_a_command_waits_for_the_first_session(server: Servers, tmp_path: Path) -> None:
    hosts = f"127.0.0.1:{server.client_ports[1]}"
    server.kill(1)
    with Screen([PROGRAM, "--server", hosts, "--auth", "digest:ann"], places(tmp_path)) as screen:
        screen.until("Password of .*: ?$")  # before anything else
        screen.type("geheim\r")
        screen.until(lambda it: it.prompt == f"{hosts} />" and it.prompt_colour == "red")
        screen.until("no session yet: .* connection refused")
        screen.type("whoami --output raw\r")
        server.start(1)
        screen.until("^(digest|ip)$")
        screen.until(lambda it: it.prompt == f"{hosts} />" and it.prompt_colour == "green")
        assert "geheim" not in screen.text
        screen.type("create -e /mine\r")
        screen.until("> create -e /mine\n.*mine")
        screen.child.kill(signal.SIGTERM)
        assert screen.until_end() == 128 + signal.SIGTERM

    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            assert await zk.exists("/mine") is None  # its session was ended, not left to run out

    anyio.run(story, backend="trio")


def test_the_prompt_is_of_the_cluster_that_one_has_gone_to(hosts: str, tmp_path: Path) -> None:
    make(hosts, "/a")
    with zabsh(hosts, tmp_path) as screen:
        screen.run("close")
        screen.until("closed; connect begins another session")
        assert screen.prompt_colour == "red"
        screen.run(f"connect {hosts}/a")
        screen.until(lambda it: it.prompt == f"{hosts}/a />" and it.prompt_colour == "green")
        screen.run("pwd")  # is suggested, and kept, where it was typed
        screen.type("clo")
        screen.until("/> clo$|close +End")
        assert not screen.prompt.endswith("close")
        screen.type(CTRL_C)
        screen.run("connect")
        screen.until(lambda it: it.prompt == f"{hosts} />" and it.prompt_colour == "green")
        screen.type("clo")
        screen.until("> close$")
    kept = {file.name: file.read_text() for file in (tmp_path / "state/zabpy/history").iterdir()}
    first, second = sorted(kept)
    assert "+close" in kept[first] and "+pwd" not in kept[first] and "+close" not in kept[second]
    assert "+pwd" in kept[second] and "+connect\n" in kept[second]


def test_a_terminal_that_can_little_will_do(hosts: str, tmp_path: Path) -> None:
    with Screen([PROGRAM, "--server", hosts], {**places(tmp_path), "TERM": "dumb"}) as screen:
        screen.until("/>")
        screen.type("pwd; exit 3\r")
        screen.until("^/$")
        assert screen.until_end() == 3


def test_what_takes_long_to_load_is_not_loaded_before_the_prompt() -> None:
    late = "zabpy.client zabpy.model zabpy_shell.commands.general anyio._backends rich pygments yaml cbor2 trio".split()
    code = (
        "import sys, zabpy_shell.main, zabpy_shell.interactive.terminal;"
        f"print(*[each for each in {late} if each in sys.modules])"
    )
    told = subprocess.run([PROGRAM.replace("zabsh", "python"), "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == []


@pytest.mark.parametrize("leaves", [CTRL_D, "exit" + ENTER])
def test_who_leaves_with_a_transaction_is_told_that_it_was_not_committed(
    hosts: str, tmp_path: Path, leaves: str
) -> None:
    with zabsh(hosts, tmp_path) as screen:
        screen.run("begin")
        screen.run("create /never")
        screen.type(leaves)
        assert screen.until_end() == 0
        assert "the transaction was not committed: 1 operation forgotten, nothing of it was done" in screen.text


def test_names_play_no_tricks_on_the_prompt_and_its_menu(hosts: str, tmp_path: Path) -> None:
    """What turns the direction of writing is shown as what it is wherever something is drawn."""
    make(hosts, "/dir/a\u202egnp", "/dir/a\u202ezip")
    with zabsh(hosts, tmp_path) as screen:
        screen.type("cd /dir/" + TAB)
        screen.until(lambda it: "a\\u202egnp" in it.text and "a\\u202ezip" in it.text)
        screen.type(CTRL_C)
        screen.until(lambda it: it.prompt.endswith("/>"))
        screen.run("cd /dir/*gnp")
        assert "\\u202egnp>" in screen.prompt and "\u202e" not in screen.text
