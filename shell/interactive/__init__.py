"""The shell at a terminal, on prompt_toolkit: loaded only there.

The files in the order to read them: `terminal` (the loop), `place` (what each word is), `known` (the tree, as far as it
was asked for), `completer`, `lexer` and `validator` (what is made of the two), `standing` (session and toolbar),
`pager`, `asker`, `history`.
"""

from ..settings import Settings


def interact(settings: Settings) -> int:
    """Read lines and run them until the person leaves; what the process is to end with."""
    import asyncio

    from .terminal import Terminal

    async def run() -> int:
        return await Terminal(settings).run()

    return asyncio.run(run())
