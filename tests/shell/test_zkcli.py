"""What is typed to zkCli.sh can be typed here, and says and does the same. See zkcli.py for the table."""

import re

import anyio
import pytest

from shell.command import find
from shell.output import Look, Output
from shell.settings import Rules, Settings
from shell.shell import Leave
from shell.starting import started

from .conftest import Run
from .zkcli import CASES, COMMANDS


@pytest.mark.parametrize("name", [*COMMANDS, "ls2", "rmr"])
def test_every_command_is_known(name: str) -> None:
    find(name)
    assert name in ("ls2", "rmr", "connect") or any(case.line.split()[0] == name for case in CASES)


def test_each_line_says_what_it_says_there(hosts: str) -> None:
    wrong: list[str] = []

    async def tell() -> None:
        said = bytearray()
        output = Output(said.extend, said.extend, "table", Look())
        async with started(Settings(hosts), output, keeps_trying=False) as shell:
            for case in CASES:
                said.clear()
                shell.lines.append(case.line)
                try:
                    status = await shell.run(case.line)
                except Leave as leave:
                    status = leave.status
                text = said.decode()
                missing = [each for each in case.says if not re.search(each, text, re.IGNORECASE)]
                if missing or status != case.fails:
                    wrong.append(f"{case.line}: status {status}, not there: {missing}\n{text}")

    anyio.run(tell, backend="asyncio")
    assert not wrong, "\n".join(wrong)


def test_watches_tell_until_they_are_removed(zabsh: Run) -> None:
    told = zabsh(
        "create /a; create /b; addWatch /a; get -w /b; ls -w /b; stat -w /b",
        "create /a/x; set /b y; create /b/z; sleep 100ms",
        "addWatch -m persistent /b; removewatches /a; removewatches /b; create /a/y; set /b 2; sleep 50ms",
        "get -w /b; printwatches off; set /b 3; sleep 50ms; printwatches",
        "get -w /b; removewatches -c /b; removewatches -d /b; printwatches on; set /b 4; sleep 50ms",
    )
    assert sorted(line for line in told.err.splitlines() if line.startswith("watch:")) == [
        "watch: /a/x: created",
        "watch: /b: changed",
        "watch: /b: changed",
        "watch: /b: children changed",
    ]
    assert "removewatches: /b: no such watch" in told.err and "printwatches is off" in told.out
    assert told.status == 0


def test_deleteall_asks_nothing_but_where_the_profile_wants_its_name(zabsh: Run) -> None:
    assert zabsh("create /a; create /a/b; deleteall /a").status == 0
    rules = Rules(confirm_name=True, name="prod")
    told = zabsh("create /a; rmr /a", rules=rules)
    assert told.status == 4 and "say --confirm prod to do it" in told.err
    assert zabsh("create /c; delete /c 7; setAcl -R /c world:anyone:r", rules=rules).status == 4
