"""Values that somebody wrote to do harm to whoever looks at them: orders for the terminal, bombs, no Unicode."""

import base64
import gzip
import json
import time

import cbor2
import pytest
import yaml

from shell.output import Look
from shell.settings import Rules
from shell.shell import Shell
from shell.values import as_json, pretty, recognised

from .conftest import Run

TERMINAL = Look(is_terminal=True, colour=True, width=80)
#: ESC ] 0 ; ... BEL sets a window's title; U+009B is CSI in one character.
ORDERS = "\x1b]0;owned\x07\x9b31m\x7f"
#: What turns the direction of writing; and colours that hide what comes after.
NAME = "a\u202egnp.exe\u2066b\u2069"  # of a znode: servers take no control characters there
TRICKS = "a\u202egnp.exe\u2066b\u2069\x1b[8mc\x1b[30;40md"


def harmless(text: str) -> bool:
    """Colours are all that a terminal is told."""
    import re

    return (
        re.search("[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\x1b(?!\\[[\\d;]*m)", text) is None
        and re.search(r"\x1b\[([\d;]*;)?(8|4\d|30)[;m]", text.replace("\x1b[39;49;00m", "")) is None
        and (text.rfind("\x1b[") < 0 or re.search(r"\x1b\[(0|39;49;00)?m[^\x1b]*\Z", text) is not None)
    )


@pytest.mark.parametrize(
    "line",
    [
        "get /v .s",
        "get /v",
        "get /v .o",
        "get /v -o json".replace("-o", "--output"),
        "get /v --output ndjson",
        "ls --output json /",
        "getAcl /acl",
        "acl --output json /acl",
        "diff /v /w",
        "diff -r /acl /v",
        "grep -r s /",
        "cat /v .s",
        "set /v .x.y=1",
        "ls -l /",
        "stat /v",
        "watch --until value=no --timeout 50ms /raw",
        "locks",
        "tail /raw",
    ],
)
def test_no_value_gives_orders_to_a_terminal(zabsh: Run, line: str) -> None:
    value = json.dumps({"s": ORDERS, "o": {"a": ORDERS}})
    made = zabsh(
        f"create /v '{value}'",
        "create /w '{}'",
        f"create /raw --hex {ORDERS.encode().hex()}",
        "create /acl '' 'world:anyone:cdrwa,digest:a\x1b]0;owned\x07\x9b:xyz:r'",
    )
    assert made.status == 0, made.err
    told = zabsh(line, look=TERMINAL)
    assert harmless(told.out) and harmless(told.err), (told.out, told.err)


@pytest.mark.parametrize(
    "line",
    [
        "ls /",
        "ls -l /",
        "ls -R /",
        "tree /",
        "get /v*",
        "get /v .s",
        "stat /n*",
        "find /",
        "find -l /",
        "grep -r a /",
        "grep -rl a /",
        "du /",
        "count /*",
        "diff -r /v /w",
        "exists /n*",
        "rm -rn /n*",
        "rm /n*",
        "create /n*/*/x",
        "get '/{name}/x'",
        "rm '/{name}x'",
        "set -v 7 '/{name}' '{text}'",
        "cd '/{name}x'",
        'txn -n \'set "/{name}" "{name}"\'',
        "acl '/{name}x'",
        "watch -r / --until value=no --timeout 50ms",
        "tail /v",
        "ephemerals",
        "locks /",
        "elections /",
        "export /n* 2>&1",
        "cp '/{name}' '/{name}'",
        "mv '/{name}x' /y",
        "get --output yaml /v",
        "get --output json /v",
        "ls --output yaml /",
        "ls --output json /",
        "ls --output ndjson -l /",
        "echo '{text}'",
        "connect '{text}:1/{name}'",
        "quota '/{name}'",
        "'{text}'",
        "ls --'{text}'",
        "get '/{text}'",
        "history",
        "getEphemerals",
        "import '{text}'",
        "edit '/{name}x'",
        "lock '/{name}' --try -- '{text}'",
    ],
)
def test_no_name_plays_tricks_on_a_terminal(zabsh: Run, line: str) -> None:
    data = f"a {TRICKS}\n{ORDERS}".encode()
    made = zabsh(
        f"create '/{NAME}' --hex {data.hex()}",
        f"""create /v '{json.dumps({"s": TRICKS, TRICKS: 1}, ensure_ascii=False)}'""",
        f"create /w --hex {data.hex()}",
        f"create '/n{NAME}' '{TRICKS}'",
        f"create -e '/e{NAME}' '{TRICKS}'",
    )
    assert made.status == 0, made.err

    def setup(shell: Shell) -> None:
        shell.lines = [TRICKS]
        shell.cluster.timeout_ms = 300

    typed = line.replace("{name}", NAME).replace("{text}", TRICKS)
    told = zabsh(typed, look=TERMINAL, setup=setup, rules=Rules(yes=True))
    assert harmless(told.out) and harmless(told.err), (told.out, told.err)


@pytest.mark.parametrize("format", ["json", "ndjson", "yaml"])
def test_what_a_program_reads_is_whole(zabsh: Run, format: str) -> None:
    told = zabsh(f"create -p '/p/{NAME}' '{TRICKS}' > /dev/null", f"get '/p/{NAME}'", format=format, look=TERMINAL)
    read = yaml.safe_load(told.out)
    assert (read["path"], read["data"]) == (f"/p/{NAME}", TRICKS) and harmless(told.out)


def test_elsewhere_a_part_comes_as_it_is(zabsh: Run) -> None:
    value = json.dumps({"s": "\x1b[1m\x9b"})
    assert zabsh(f"create /v '{value}'", "get /v .s").out.endswith("\x1b[1m\x9b\n")


@pytest.mark.parametrize(
    "line", ["get /v", "get /v .a", "get /v .b --output json", "grep a /v", "get /v --output yaml"]
)
@pytest.mark.parametrize("look", [Look(), TERMINAL])
def test_halves_of_characters_are_shown(zabsh: Run, line: str, look: Look) -> None:
    r"""JSON may have "\ud800" in it, which no encoding has."""
    told = zabsh("""create /v '{"a": "x\\ud800", "b": ["\\udc80"]}' """, line, look=look)
    assert (told.status, told.err) == (0, ""), told


def shared(levels: int) -> bytes:
    """CBOR that stands for 2 ** levels elements."""
    thing: object = ["x"]
    for _ in range(levels):
        thing = [thing, thing]
    return cbor2.dumps(thing, value_sharing=True)


def yaml_of(levels: int) -> bytes:
    lines = ["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, levels + 1))]
    return "\n".join(lines).encode()


def cycle() -> bytes:
    thing: list[object] = []
    thing.append(thing)
    return cbor2.dumps(thing, value_sharing=True)


@pytest.mark.parametrize(
    "bomb",
    [
        shared(40),
        cycle(),
        yaml_of(40),
        b"[" * 900 + b"]" * 900,
        b'{"a":' * 700 + b"1" + b"}" * 700,
        cbor2.dumps([[1]])[:1] * 600 + b"\x01",
        gzip.compress(bytes(15 << 20)),
    ],
    ids=["cbor", "cycle", "yaml", "deep", "deep objects", "deep cbor", "gzip"],
)
def test_bombs_do_not_go_off(zabsh: Run, bomb: bytes) -> None:
    begun = time.monotonic()
    value = recognised(bomb)
    assert len(pretty(value)) < 8 << 20
    told = zabsh(f"create /v --base64 {base64.b64encode(bomb).decode()}", "get /v .a40", "get /v", look=TERMINAL)
    assert told.status == 0 and len(told.out) < 8 << 20
    assert time.monotonic() - begun < 5


def test_what_is_shared_within_reason_is_still_structured() -> None:
    assert recognised(yaml_of(2)).kind == "yaml"
    assert as_json("x") == "x" and as_json(["\x9b"]) == '["\\u009b"]'
