"""How numbers and problems are told, by all commands alike."""

from collections.abc import Sequence

from .shell import Shell

#: So many problems are told one by one.
TOLD_MAX = 20


def counted(number: int, what: str) -> str:
    """``1 znode``, ``1,204 znodes``."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


async def tell_problems(shell: Shell, problems: Sequence[str], count: int | None = None) -> None:
    """``count``: how many there are, if ``problems`` are only the first of them."""
    for each in problems[:TOLD_MAX]:
        await shell.out.tell(each)
    if (count := len(problems) if count is None else count) > TOLD_MAX:
        await shell.out.tell(f"… and {count - TOLD_MAX:,} more of the kind")
