"""What was typed, kept from one shell to the next: a file for each cluster, of the user alone, and without secrets.

``$XDG_STATE_HOME/zabpy/history/CLUSTER``, in prompt_toolkit's own layout, so that its tools read it. A line is not kept
if it begins with a space, as in other shells, or has a command in it that takes a secret, or what looks
like a password.
"""

import os
import re
from collections.abc import Iterable
from datetime import datetime

from prompt_toolkit.history import History

from ..line import parse_so_far
from .place import command_of

#: Whatever the commands say of themselves, and before they are loaded.
SECRET = frozenset({"auth", "addauth", "add_auth", "login"})
#: Flags whose value is one, in whatever command.
SECRET_FLAGS = re.compile(r"--?(password|passwd|secret|auth|token|credential)s?\b", re.IGNORECASE)
#: USER:PASSWORD behind a scheme, in whatever command, as one that is misspelt; but not the hash that ACLs have.
SECRET_PAIR = re.compile(
    r"\b(digest|super|digest-md5|scram-sha-256)['\"]?[:\s]\s*['\"]?[^\s:,]*:(?![A-Za-z0-9+/]{27}=)[^\s:,]",
    re.IGNORECASE,
)
#: A longer file is cut to its second half at the start.
BYTES_MAX = 1 << 20


def file_of(cluster: str) -> str:
    """Where the lines typed to a cluster are kept."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    name = re.sub(r"[^A-Za-z0-9._:-]", "_", cluster)[:150].lstrip(".") or "_"
    return os.path.join(state, "zabpy", "history", name)


def is_secret(text: str) -> bool:
    if text[:1] == " " or SECRET_FLAGS.search(text) or SECRET_PAIR.search(text):
        return True
    for statement in parse_so_far(text):
        if not statement.words:
            continue
        first = command_of(statement.words[0])
        # `time`, `repeat` and their like have another command behind them.
        takes_line = first is None or not first.context_settings.get("allow_interspersed_args", True)
        for name in statement.words if takes_line else statement.words[:1]:
            command = command_of(name)
            if name.lower() in SECRET or (command is not None and command.secret):
                return True
    return False


class KeptHistory(History):
    """Without a file, if it cannot be had: a shell does not end for that."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self._file = file

    def is_anything_kept(self) -> bool:
        """Of whatever cluster: whether this person has used a shell before."""
        return os.path.isdir(os.path.dirname(self._file))

    def go_to(self, file: str) -> None:
        """Those of another cluster from the next prompt on."""
        if file != self._file:
            self._file, self._loaded, self._loaded_strings = file, False, []

    def append_string(self, string: str) -> None:
        if string.strip() and not is_secret(string):
            if self._loaded_strings[:1] == [string]:
                return
            super().append_string(string)

    def load_history_strings(self) -> Iterable[str]:
        """Newest first."""
        try:
            with open(self._file, "rb") as file:
                data = file.read()
        except OSError:
            return []
        if len(data) > BYTES_MAX:
            data = self._cut(data)
        found: list[str] = []
        lines: list[str] = []
        for line in data.decode("utf-8", "replace").split("\n"):
            if line.startswith("+"):
                lines.append(line[1:])
            elif lines:
                found.append("\n".join(lines))
                lines = []
        return reversed(found)

    def store_string(self, string: str) -> None:
        text = f"\n# {datetime.now()}\n" + "".join(f"+{line}\n" for line in string.split("\n"))
        self._write(os.O_APPEND, text.encode("utf-8", "replace"))

    def _cut(self, data: bytes) -> bytes:
        at = data.find(b"\n#", len(data) - BYTES_MAX // 2)
        kept = data[at if at >= 0 else data.rfind(b"\n#") :]
        self._write(os.O_TRUNC, kept)
        return kept

    def _write(self, how: int, data: bytes) -> None:
        try:
            os.makedirs(os.path.dirname(self._file), mode=0o700, exist_ok=True)
            file = os.open(self._file, os.O_WRONLY | os.O_CREAT | how, 0o600)
            try:
                os.fchmod(file, 0o600)
                os.write(file, data)  # one write, so that two shells do not mix their lines
            finally:
                os.close(file)
        except OSError:
            pass  # a full or foreign disk: the line is known to this shell at least
