"""Where a command takes a value from: an argument, the standard input (``-``), a file, text that stands for bytes."""

import base64
import binascii
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, TypeVar

import anyio
import click

from .problems import UsageError

if TYPE_CHECKING:
    from .shell import Shell

F = TypeVar("F", bound=Callable[..., object])


def value_options(run: F) -> F:
    """The options of a command that takes a value; `value_of` makes a value of what they say."""
    for each in (
        click.option("--base64", "is_base64", is_flag=True, help="DATA is base64."),
        click.option("--hex", "is_hex", is_flag=True, help="DATA is in hexadecimal; spaces between bytes do no harm."),
        click.option("--file", "-f", "file", type=click.Path(), help="Take the value from a file."),
    ):
        run = each(run)
    return run


async def value_of(shell: "Shell", data: str | None, file: str | None, is_hex: bool, is_base64: bool) -> bytes | None:
    """The value, None if there is none.

    Raises:
        UsageError: it comes from two places, or is not what it is said to be.
        OSError: of the file.
    """
    if file is not None and data is not None:
        raise UsageError("a value comes from DATA or from --file, not from both")
    if is_hex and is_base64:
        raise UsageError("a value is in hexadecimal or in base64, not both")
    if file is not None:
        value = await anyio.Path(file).expanduser()
        found = await value.read_bytes()
    elif data == "-":
        found = await standard_input(shell)
    elif data is None:
        if is_hex or is_base64:
            raise UsageError("DATA is missing")
        return None
    else:
        found = data.encode("utf-8", "surrogateescape")
    if is_hex:
        return _from_hex(found)
    return _from_base64(found) if is_base64 else found


async def standard_input(shell: "Shell") -> bytes:
    """All of it. With the errors of `input_stream`."""
    return await anyio.to_thread.run_sync(input_stream(shell).read, abandon_on_cancel=True)


def input_stream(shell: "Shell") -> IO[bytes]:
    """The standard input. Raises `UsageError` where it is something else: the terminal, or the script that is run."""
    if shell.stdin is None:
        raise UsageError("- stands for the standard input, which is where commands come from here; use --file")
    return shell.stdin


def _from_hex(text: bytes) -> bytes:
    try:
        return bytes.fromhex(text.decode("ascii").strip().removeprefix("0x"))
    except ValueError as error:
        raise UsageError(f"not hexadecimal: {error}") from None


def _from_base64(text: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except (ValueError, binascii.Error) as error:
        raise UsageError(f"not base64: {error}") from None
