"""Questions to a person at a terminal, for a command that was not typed at our prompt: ``zabsh rm -r /a``."""

import os
import termios

import anyio

from .looks import harmless
from .output import to_descriptor
from .shell import Asker


class TerminalAsker(Asker):
    """Asks on stderr, and reads a line from stdin."""

    async def confirm(self, question: str, must_type: str = "") -> bool:
        if not must_type:
            return (await self._line(f"{question} [y/N] ")).strip().lower() in ("y", "yes")
        return (await self._line(f"{question} Type {must_type} to go on: ")).strip() == must_type

    async def secret(self, prompt: str) -> str:
        shown = termios.tcgetattr(0)
        hidden = shown.copy()
        hidden[3] &= ~termios.ECHO
        termios.tcsetattr(0, termios.TCSAFLUSH, hidden)
        try:
            return await self._line(f"{prompt}: ")
        finally:
            termios.tcsetattr(0, termios.TCSAFLUSH, shown)
            to_descriptor(2)(b"\n")

    async def _line(self, prompt: str) -> str:
        to_descriptor(2)(harmless(prompt).encode("utf-8", "surrogateescape"))
        # Past Python's own buffer, whose lock a thread that is still reading would hold when the process ends.
        data = await anyio.to_thread.run_sync(os.read, 0, 4096, abandon_on_cancel=True)
        return data.decode("utf-8", "surrogateescape").rstrip("\n")


def asker() -> Asker:
    """Whoever is at the terminal, if anybody is."""
    return TerminalAsker() if os.isatty(0) and os.isatty(2) else Asker()
