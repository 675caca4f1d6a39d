"""The shell, ``zabsh``: look at an ensemble and change it from a terminal. Installed as `zabpy_shell`.

May import: zabpy.model, zabpy.client, zabpy.recipes; anyio, prompt_toolkit, rich, pygments.
Imported by: nobody; it is a program.
Empty so far; line.py (text to command) and render.py (values to text) are plain and will be the files to read first.
"""
