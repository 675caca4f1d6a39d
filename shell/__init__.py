"""The shell, ``zabpy shell`` or ``zabsh``: look at an ensemble and change it, at a terminal and from scripts. Installed
as `zabpy_shell`.

The files in the order to read them: `line` (text to words), `command` (what a command is, and its arguments), `shell`
(runs a line), `cluster` (the client behind it), `output` (what is shown, in every format), `problems` (what went wrong,
in words and as an exit status), `main` (the program). `commands/` holds the commands, `interactive/` the terminal.

May import: zabpy.model, zabpy.client, zabpy.recipes; anyio, click, prompt_toolkit, rich, pygments, cbor2, yaml; those
that take long to load, the recipes among them, inside the function that needs them, because a prompt is to be there at
once. So a client is a `zabpy.client.Client` here, and ``zabpy.X`` stands for none of the recipes' names.
Imported by: `zabpy.__main__`, by name; it is a program.
"""
