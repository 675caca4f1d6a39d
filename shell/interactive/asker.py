"""Asks the person at the terminal. What is typed here is in no history."""

from collections.abc import Callable

import anyio
from prompt_toolkit import PromptSession

from ..shell import Asker


class TerminalAsker(Asker):
    """``interrupt`` cancels the command that asks."""

    def __init__(self, interrupt: Callable[[], None]) -> None:
        self._interrupt = interrupt

    async def confirm(self, question: str, must_type: str = "") -> bool:
        """No, unless it is said; Ctrl-D is a no, and Ctrl-C ends the command."""
        if must_type:
            answer = await self._line(f"{question} Type {must_type} to do it: ")
            return answer.strip() == must_type
        return (await self._line(f"{question} [y/N] ")).strip().lower() in ("y", "yes")

    async def secret(self, prompt: str) -> str:
        return await self._line(f"{prompt}: ", hidden=True)

    async def _line(self, prompt: str, *, hidden: bool = False) -> str:
        session: PromptSession[str] = PromptSession(include_default_pygments_style=False, enable_suspend=True)
        try:
            return await session.prompt_async(prompt, is_password=hidden, handle_sigint=False)
        except EOFError:
            return ""
        except KeyboardInterrupt:  # as a key, which may not tear through the tasks of a command
            self._interrupt()
            await anyio.sleep_forever()
            return ""
