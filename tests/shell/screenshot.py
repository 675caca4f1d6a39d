"""Makes docs/shell.svg: a real session on a real ensemble, as a terminal shows it.

.venv/bin/python -m tests.shell.screenshot
"""

import re
import tempfile
from io import StringIO
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from zabpy.bench.systems import Servers

from .screen import Screen

ROOT = Path(__file__).parents[2]
COLUMNS, LINES = 104, 36
#: As pyte calls them, and as rich does.
COLOURS = {"default": None, "brown": "yellow"}
RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN = (
    (224, 108, 117), (152, 195, 121), (229, 192, 123), (97, 175, 239), (198, 120, 221), (86, 182, 194),
)  # fmt: skip
HUES = [RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN]
THEME = TerminalTheme(
    (24, 26, 31),
    (220, 223, 228),
    [(40, 44, 52), *HUES, (220, 223, 228)],
    [(110, 118, 129), *HUES, (255, 255, 255)],
)
SETUP = """\
create -p /app/config '{"db": {"host": "db1", "port": 5432}, "debug": false}'
create -p /app/workers/w-1 'on 10.0.0.7'; create /app/workers/w-2; create -e /app/leader w-1
create -p /app/locks
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as home, Servers("zabpy", 3) as servers:
        hosts = ",".join(f"127.0.0.1:{port}" for port in servers.client_ports.values())
        config = Path(home, "zabpy")
        config.mkdir()
        (config / "shell.toml").write_text(f'[profile.demo]\nservers = "{hosts}"\n')
        (Path(home) / "state/zabpy/history").mkdir(parents=True)
        env = {
            "XDG_CONFIG_HOME": home,
            "XDG_STATE_HOME": f"{home}/state",
            "TERM": "xterm-256color",
            "PROMPT_TOOLKIT_COLOR_DEPTH": "DEPTH_4_BIT",
        }
        with Screen([str(ROOT / ".venv/bin/zabsh"), "demo"], env, columns=COLUMNS, lines=LINES) as screen:
            screen.until("connected, ")
            for line in SETUP.splitlines():
                screen.run(line)
            screen.type("\x0c")
            for line in ("tree /app", "get /app/config", "ls -l /app", "cd /app/workers"):
                screen.run(line)
            screen.type("get /app/nothing /app/")
            screen.until("workers *$")
            screen.until("(leader|follower) │ connected.* ms")
            screen.until(lambda it: it.colour_of("/app/nothing") == "red")
            (ROOT / "docs/shell.svg").write_text(svg(screen))


def svg(screen: Screen) -> str:
    console = Console(width=COLUMNS, record=True, file=StringIO(), color_system="truecolor", force_terminal=True)
    for row in range(LINES):
        text = Text(no_wrap=True)
        for column in range(COLUMNS):
            cell = screen.cell(row, column)
            under_cursor = (row, column) == screen.cursor
            style = Style(
                color=_colour(cell.fg),
                bgcolor=_colour(cell.bg),
                bold=cell.bold,
                underline=cell.underscore,
                italic=cell.italics,
                reverse=cell.reverse != under_cursor,
            )
            text.append(cell.data, style)
        console.print(text, soft_wrap=True)
    # No font from somebody else's server.
    form = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    form = form.replace("Fira Code, monospace", "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace")
    return console.export_svg(title="zabsh", theme=THEME, code_format=form, unique_id="zabsh") + "\n"


def _colour(name: str) -> str | None:
    name = COLOURS.get(name, name) or ""
    if re.fullmatch(r"[0-9a-f]{6}", name):
        return f"#{name}"
    if name.startswith("bright"):
        return "bright_" + {"brown": "yellow"}.get(name[6:], name[6:])
    return name or None


if __name__ == "__main__":
    main()
