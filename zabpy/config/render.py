"""Settings → files, for programs that know nothing of the store: nginx, HAProxy, whatever reads a file and can reload.

    wait = "500ms:10s"                          # quiet for so long before it is rendered; but so long at most
    splay = "5s"                                # and by chance up to so long after that: not all hosts at once

    [[template]]
    source = "nginx.conf.j2"                    # Jinja2; from where this file is
    destination = "/etc/nginx/nginx.conf"
    mode = "0644"                               # that of the file that is there, else 0644 (with a secret in it: 0600)
    owner = "root"
    group = "root"
    check = "nginx -t -q -c {file}"             # of the new file, before anybody else sees it
    reload = "nginx -s reload"
    timeout = "30s"                             # for each of the two, and for rendering
    allow_empty = false

**What is promised.** The destination is always one whole file: the one before, or a new one that was rendered without
any key missing, is not empty, and has passed its check. It is written beside the destination, with its mode and owner,
synced, checked, and takes its place by a rename. Whatever goes wrong on the way leaves the old file, and is said.
Where nothing changed nothing is written and nobody is told to reload. What several templates have changed is reloaded
once, if they do it by the same command. A reload that failed is tried again.

**In a template** each name is a setting: ``{{ db.host }}``; ``config`` is all of them (``config["odd-name"]``),
``revision`` the number of the commit, ``namespace`` its path. Values from plain keys are text: ``{{ db.port | int }}``.
``{% include %}`` takes files of the template's folder. What stands before a block in its line, and the new line behind
it, are no part of the file, as with Ansible (``trim_blocks``, ``lstrip_blocks``). It is Jinja2's sandbox, and a
template cannot change anything, ask anybody, or read other files.

A key that is missing is an error wherever it is used, but in ``is defined`` and ``default``; all that are missing are
named together, each with its line.
"""

import grp
import os
import pwd
import re
import shlex
import signal
import stat
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import anyio

from .errors import ConfigError
from .layers import Merged
from .values import as_text

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

TIMEOUT_MS: Final = 30_000
#: What went wrong is tried again so often, should nothing change before.
RETRY_MS: Final = 30_000
#: A rendered file's size at most.
TEXT_CHARS_MAX: Final = 64 * 1024 * 1024
#: Of what a command says, so much is repeated.
SAID_BYTES: Final = 1_000
MODE, MODE_OF_SECRETS = 0o644, 0o600


class RenderError(ConfigError):
    """A file could not be made; the one before is in its place, unchanged."""


class MissingKeysError(RenderError):
    """The template needs what no layer has. ``keys``: all of them."""

    def __init__(self, name: str, missing: Sequence[tuple[str, int]]) -> None:
        self.name, self.missing = name, tuple(missing)
        self.keys = tuple(dict.fromkeys(key for key, _ in missing))
        where = ", ".join(f"{key} (line {line})" if line else key for key, line in missing)
        super().__init__(f"{name}: no setting: {where}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.name, self.missing))


class CheckFailedError(RenderError):
    """The check command has refused the new file."""


class ReloadFailedError(ConfigError):
    """The new file is in its place, and its reader could not be told of it."""


@dataclass(frozen=True, slots=True)
class Template:
    source: Path
    destination: Path
    mode: int | None = None
    owner: str | None = None
    group: str | None = None
    check: str | None = None
    reload: str | None = None
    timeout_ms: int = TIMEOUT_MS
    allow_empty: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Templates, and when they are rendered again. ``wait_ms``: see `Quiet`."""

    templates: tuple[Template, ...]
    wait_ms: tuple[int, int] = (0, 0)
    splay_ms: int = 0


class Given(NamedTuple):
    """What is rendered."""

    namespace: str
    revision: int
    merged: Merged


class Done(NamedTuple):
    """What became of one template. ``problem``: why the file is not what the settings say, or nobody reloaded it."""

    template: Template
    changed: bool
    problem: ConfigError | None


class Quiet:
    """When to act on changes: ``min_ms`` after the last one, but no later than ``max_ms`` after the first.

    Times are handed in.
    """

    def __init__(self, min_ms: int, max_ms: int) -> None:
        self._min_ms, self._max_ms = min_ms, max(min_ms, max_ms)
        self._first_ms: int | None = None
        self.due_ms: int | None = None

    def changed(self, now_ms: int) -> None:
        if self._first_ms is None:
            self._first_ms = now_ms
        self.due_ms = min(now_ms + self._min_ms, self._first_ms + self._max_ms)

    def acted(self) -> None:
        self._first_ms = self.due_ms = None


class Renderer:
    """Keeps files as the settings have it. ``tell`` is told of each that changed, and of all that is wrong, once."""

    def __init__(self, plan: Plan, tell: Callable[[str], Awaitable[object]], rng: Random | None = None) -> None:
        self.plan, self._tell, self._rng = plan, tell, rng or Random()
        self._unloaded: set[str] = set()  # reload commands that are due still
        self._told: dict[Template, str] = {}

    async def keep(self, states: AsyncIterator[Given]) -> None:
        """Render the first at once, and from then on what comes, as the plan has it; until ``states`` end."""
        quiet = Quiet(*self.plan.wait_ms)
        latest: Given | None = None
        news, over = anyio.Event(), False

        async def read() -> None:
            nonlocal latest, news, over
            first = True
            async for state in states:
                latest = state
                now_ms = _now_ms()
                quiet.changed(now_ms)
                if first and quiet.due_ms is not None:
                    quiet.due_ms = now_ms
                first = False
                news.set()
            over = True
            news.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            retry_ms: int | None = None
            splayed = True  # the first one is not put off
            while not (over and quiet.due_ms is None):
                due_ms = min((each for each in (quiet.due_ms, retry_ms) if each is not None), default=None)
                if due_ms is None or due_ms > _now_ms():
                    news = anyio.Event()
                    with anyio.move_on_after(None if due_ms is None else max(0, due_ms - _now_ms()) / 1000):
                        await news.wait()
                    continue
                if not splayed and quiet.due_ms is not None and self.plan.splay_ms:
                    await anyio.sleep(self._rng.random() * self.plan.splay_ms / 1000)
                splayed = False
                quiet.acted()
                assert latest is not None
                done = await self.once(latest)
                retry_ms = _now_ms() + RETRY_MS if any(each.problem for each in done) else None

    async def once(self, given: Given) -> list[Done]:
        """Render all of them. What is wrong with one keeps no other from its place; it is told, and in the answer."""
        done: list[Done] = []
        for template in self.plan.templates:
            changed, problem = False, None
            try:
                text = await anyio.to_thread.run_sync(_rendered, template, given, abandon_on_cancel=True)
                changed = await anyio.to_thread.run_sync(install, template, text, _has_secret(text, given.merged))
            except RenderError as error:
                problem = error
            if changed:
                await self._tell(f"{template.destination}: is of revision {given.revision}")
                if template.reload is not None:
                    self._unloaded.add(template.reload)
            done.append(Done(template, changed, problem))
        failed = await self._reload()
        for at, each in enumerate(done):
            wrong = each.problem or failed.get(each.template.reload or "")
            done[at] = each._replace(problem=wrong)
            text = "" if wrong is None else str(wrong)
            if text and self._told.get(each.template) != text:
                await self._tell(text)
            self._told[each.template] = text
        return done

    async def _reload(self) -> dict[str, ConfigError]:
        """Each command that is due, once; by command what went wrong."""
        failed: dict[str, ConfigError] = {}
        for template in self.plan.templates:
            line = template.reload
            if line is None or line not in self._unloaded or line in failed:
                continue
            try:
                await anyio.to_thread.run_sync(reload, template)
            except ReloadFailedError as error:
                failed[line] = error
            else:
                self._unloaded.discard(line)
        return failed


# A template → a text --------------------------------------------------------------------------------------------------


def render(source: Path, given: Given, timeout_ms: int = TIMEOUT_MS) -> str:
    """The text that a template makes of the settings. Blocks on the files.

    Raises:
        MissingKeysError: what it uses and nobody has said, all of it.
        RenderError: it is no template, or fails; with its line.
    """
    import jinja2

    missing: list[tuple[str, int]] = []
    tree = _Node.of(given.merged.tree(), ())
    names = {**tree, "config": tree, "revision": given.revision, "namespace": given.namespace}
    environment = _environment(source.parent, missing)
    try:
        text = _bounded(source, environment, names, timeout_ms)
    except RenderError:
        raise
    except jinja2.TemplateSyntaxError as error:
        where = f"{error.filename or source}:{error.lineno}"
        raise RenderError(f"{where}: {error.message}") from None
    except jinja2.TemplateNotFound as error:
        raise RenderError(f"{source}: there is no {error.name} to include") from None
    except UnicodeDecodeError:
        raise RenderError(f"{source}: it is no UTF-8") from None
    except OSError as error:
        raise RenderError(f"{source}: {error.strerror}") from None
    except Exception as error:
        if not missing:  # else it fails because of these
            line = _line_of(error, source)
            raise RenderError(f"{source}{f':{line}' if line else ''}: {type(error).__name__}: {error}") from None
        text = ""
    if missing:
        raise MissingKeysError(str(source), list(dict.fromkeys(missing)))
    return text


def _bounded(source: Path, environment: "SandboxedEnvironment", names: Mapping[str, Any], timeout_ms: int) -> str:
    """A thread cannot be ended from outside: so the time is looked at wherever much of it may go, which is where
    something comes out, and where a loop begins that is not over settings."""
    deadline = time.monotonic() + timeout_ms / 1000

    def in_time() -> None:
        if time.monotonic() > deadline:
            raise RenderError(f"{source}: not rendered within {timeout_ms} ms")

    ranged: Any = environment.globals["range"]

    def range_in_time(*bounds: int) -> range:
        in_time()
        made: range = ranged(*bounds)
        return made

    environment.globals["range"] = range_in_time
    parts: list[str] = []
    chars = 0
    for part in environment.get_template(source.name).generate(names):
        in_time()
        chars += len(part)
        if chars > TEXT_CHARS_MAX:
            raise RenderError(f"{source}: it makes more than {TEXT_CHARS_MAX:,} characters")
        parts.append(part)
    return "".join(parts)


def _rendered(template: Template, given: Given) -> str:
    text = render(template.source, given, template.timeout_ms)
    if not text.strip() and not template.allow_empty:
        raise RenderError(f"{template.source}: it makes an empty file; allow_empty = true if that is meant")
    return text


def _has_secret(text: str, merged: Merged) -> bool:
    return any(
        each.secret and (found := as_text(each.value)) != "" and found in text for each in merged.leaves.values()
    )


class _Node(dict[str, Any]):
    """A mapping of settings that knows where it stands."""

    path: tuple[str, ...] = ()

    @classmethod
    def of(cls, value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, dict):
            made = cls((name, cls.of(each, (*path, name))) for name, each in value.items())
            made.path = path
            return made
        if isinstance(value, list):
            return [cls.of(each, (*path, str(index))) for index, each in enumerate(value)]
        return value


#: Of a mapping; all its other names are settings, and where one is called so, it is that.
_METHODS: Final = frozenset({"items", "keys", "values", "get"})


def _environment(folder: Path, missing: list[tuple[str, int]]) -> "SandboxedEnvironment":
    import jinja2
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Missing(jinja2.Undefined):
        """What is not there: quiet while one asks whether it is, noted as soon as it is used."""

        __slots__ = ()

        def _key(self) -> str:
            name = str(self._undefined_name)
            above = self._undefined_obj
            if isinstance(above, _Node):
                return ".".join((*above.path, name))
            if isinstance(above, Missing):
                return f"{above._key()}.{name}"
            return self._undefined_hint or name

        def _note(self, *_: Any, **__: Any) -> "Missing":
            missing.append((self._key(), _line_in_template()))
            return self

        def __getattr__(self, name: str) -> Any:
            if name[:2] == "__":
                raise AttributeError(name)
            return Missing(obj=self, name=name)

        def __getitem__(self, name: Any) -> Any:
            return Missing(obj=self, name=str(name))

    def noting(answer: Callable[[], Any] | None) -> Callable[..., Any]:
        def method(self: Any, *_: Any, **__: Any) -> Any:
            noted = self._note()
            return noted if answer is None else answer()

        return method

    for name, answer in _ANSWERS.items():
        setattr(Missing, name, noting(answer))

    class Environment(ImmutableSandboxedEnvironment):
        def getattr(self, obj: Any, attribute: str) -> Any:
            if isinstance(obj, _Node) and (attribute in obj or attribute not in _METHODS):
                return obj[attribute] if attribute in obj else Missing(obj=obj, name=attribute)
            return obj[attribute] if isinstance(obj, Missing) else super().getattr(obj, attribute)

        def getitem(self, obj: Any, argument: Any) -> Any:
            if isinstance(obj, _Node) and isinstance(argument, str):
                return obj[argument] if argument in obj else Missing(obj=obj, name=argument)
            return obj[argument] if isinstance(obj, Missing) else super().getitem(obj, argument)

        def unsafe_undefined(self, obj: Any, attribute: str) -> Any:
            raise SecurityError(f"a template may not use {attribute!r} of a {type(obj).__name__}")

    environment = Environment(
        undefined=Missing,
        loader=jinja2.FileSystemLoader(folder),
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
        cache_size=0,
    )
    environment.filters["quote"] = lambda value: shlex.quote(as_text(value))
    return environment


#: What the use of something missing answers, until all that is missing is known: nothing of that is kept.
_ANSWERS: Final[dict[str, Callable[[], Any] | None]] = {
    "__str__": str,
    "__len__": int,
    "__iter__": lambda: iter(()),
    "__bool__": bool,
    "__hash__": int,
    "__eq__": bool,
    "__ne__": lambda: True,
    "__contains__": bool,
    "__int__": int,
    "__float__": float,
    "__complex__": complex,
    "__lt__": bool,
    "__le__": bool,
    "__gt__": bool,
    "__ge__": bool,
    **dict.fromkeys(
        f"__{side}{name}__" for side in ("", "r") for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")
    ),
    **dict.fromkeys(("__pos__", "__neg__", "__call__")),
}


def _line_in_template() -> int:
    """Of the template that is being rendered; 0 if that cannot be told."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        template = frame.f_globals.get("__jinja_template__")
        if template is not None:
            return int(template.get_corresponding_lineno(frame.f_lineno))
        frame = frame.f_back
    return 0


def _line_of(error: BaseException, source: Path) -> int:
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(source):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


# A text → a file ------------------------------------------------------------------------------------------------------


def install(template: Template, text: str, secret: bool = False) -> bool:
    """Put the text in its place, as a whole or not at all. Whether the file is another now. Blocks on disk and check.

    Raises:
        CheckFailedError: the check did not like it; what it said is in the message.
        RenderError: anything else; the old file is as it was.
    """
    destination = Path(os.path.realpath(template.destination))  # a link stays one
    try:
        return _install(template, destination, text.encode("utf-8", "surrogateescape"), secret)
    except OSError as error:
        where = error.filename or destination
        raise RenderError(f"{template.destination}: {error.strerror or error} ({where}); it is as it was") from None
    except UnicodeEncodeError:
        raise RenderError(f"{template.source}: what it makes is no Unicode text") from None


def _install(template: Template, destination: Path, data: bytes, secret: bool) -> bool:
    before: os.stat_result | None = None
    try:
        before = os.stat(destination)
    except FileNotFoundError:
        pass
    if before is not None and not stat.S_ISREG(before.st_mode):
        raise RenderError(f"{template.destination}: it is there, and no file")
    mode = template.mode
    if mode is None:
        mode = stat.S_IMODE(before.st_mode) if before is not None else MODE_OF_SECRETS if secret else MODE
    uid = _id_of(template, "owner", before.st_uid if before is not None else os.geteuid())
    gid = _id_of(template, "group", before.st_gid if before is not None else None)
    if before is not None and before.st_size == len(data) and destination.read_bytes() == data:
        if (stat.S_IMODE(before.st_mode), before.st_uid) == (mode, uid) and gid in (None, before.st_gid):
            return False
    remove_leftovers(destination)
    descriptor, name = tempfile.mkstemp(f".{os.getpid()}", _leftover_prefix(destination), destination.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            now = os.fstat(descriptor)
            if uid != now.st_uid or gid not in (None, now.st_gid):
                os.fchown(descriptor, uid, -1 if gid is None else gid)
            os.fchmod(descriptor, mode)  # after the owner: that takes away set-user-id bits
            os.fsync(descriptor)
        if template.check is not None:
            _check(template, name)
        os.rename(name, destination)
    except BaseException:
        os.unlink(name)
        raise
    folder = os.open(destination.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True


def remove_leftovers(destination: Path) -> None:
    """Those of processes that are no more: killed between a file's beginning and its end."""
    for each in destination.parent.glob(f"{_escaped(_leftover_prefix(destination))}*"):
        pid = each.name.rpartition(".")[2]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            each.unlink(missing_ok=True)


def _leftover_prefix(destination: Path) -> str:
    return f".{destination.name}.zabpy-"


def _escaped(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def _id_of(template: Template, what: str, otherwise: Any) -> Any:
    name: str | None = getattr(template, what)
    if name is None:
        return otherwise
    if name.isdecimal():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid if what == "owner" else grp.getgrnam(name).gr_gid
    except KeyError:
        raise RenderError(f"{template.destination}: {what} {name!r}: nobody here is called so") from None


def _check(template: Template, name: str) -> None:
    assert template.check is not None
    status, said = _run(template, template.check.replace("{file}", shlex.quote(name)), name)
    if status:
        reason = f"the check has refused it ({status}), and the file before stays: {template.check}"
        raise CheckFailedError(f"{template.destination}: {reason}{said}")


def reload(template: Template) -> None:
    """Have the file's reader told of it. Raises `ReloadFailedError`."""
    assert template.reload is not None
    line = template.reload.replace("{file}", shlex.quote(str(template.destination)))
    status, said = _run(template, line, str(template.destination))
    if status:
        raise ReloadFailedError(
            f"{template.destination}: it is new, but the reload has failed ({status}): {template.reload}{said}"
        )


def _run(template: Template, line: str, file: str) -> tuple[str, str]:
    """What a command of a shell's ended with, empty if it is well; and what it said, to be put behind a message."""
    environ = {**os.environ, "ZABPY_FILE": file, "ZABPY_DESTINATION": str(template.destination)}
    # Not a pipe: whatever it leaves running may hold that open for ever.
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            ["/bin/sh", "-c", line],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=environ,
            start_new_session=True,
        )
        status = ""
        try:
            code = process.wait(template.timeout_ms / 1000)
            if code:
                status = f"status {code}" if code > 0 else f"killed by signal {-code}"
        except subprocess.TimeoutExpired:
            status = f"not done within {template.timeout_ms} ms, so killed"
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        said.seek(0, os.SEEK_END)
        said.seek(max(0, said.tell() - SAID_BYTES))
        text = said.read().decode("utf-8", "replace").strip()
    return status, f"\n{text}" if text else ""


# The plan -------------------------------------------------------------------------------------------------------------


def load_plan(path: Path) -> Plan:
    """A file of templates, see the head of this one. Raises `RenderError`, which names file and key."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RenderError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise RenderError(f"{path}: {error}") from None
    try:
        return _plan(found, path.parent)
    except ValueError as error:
        raise RenderError(f"{path}: {error}") from None


def _plan(found: dict[str, Any], folder: Path) -> Plan:
    _only(found, {"template", "wait", "splay"}, "")
    templates = found.get("template")
    if not isinstance(templates, list) or not templates:
        raise ValueError("there is no [[template]] in it")
    made = tuple(_template(each, number, folder) for number, each in enumerate(templates, 1))
    seen: set[str] = set()
    for each in made:
        real = os.path.realpath(each.destination)
        if real in seen:
            raise ValueError(f"two templates are for {each.destination}")
        seen.add(real)
    return Plan(made, wait_of(found.get("wait", "0")), _duration_ms(found.get("splay", "0"), "splay"))


def _template(given: Any, number: int, folder: Path) -> Template:
    where = f"template {number}: "
    if not isinstance(given, dict):
        raise ValueError(f"{where}expected [[template]]")
    known = {"source", "destination", "mode", "owner", "group", "check", "reload", "timeout", "allow_empty"}
    _only(given, known, where)
    for name in ("source", "destination"):
        if not given.get(name):
            raise ValueError(f"{where}{name} is missing")
    for name, value in given.items():
        if name == "allow_empty" and not isinstance(value, bool):
            raise ValueError(f"{where}allow_empty = {value!r}: expected true or false")
        if name not in ("allow_empty", "mode", "timeout") and not isinstance(value, str):
            raise ValueError(f"{where}{name} = {value!r}: expected a text")
    return Template(
        source=folder / given["source"],
        destination=folder / given["destination"],
        mode=None if "mode" not in given else mode_of(given["mode"], where),
        owner=given.get("owner"),
        group=given.get("group"),
        check=given.get("check"),
        reload=given.get("reload"),
        timeout_ms=_duration_ms(given.get("timeout", "30s"), f"{where}timeout"),
        allow_empty=given.get("allow_empty", False),
    )


def _only(given: dict[str, Any], known: set[str], where: str) -> None:
    for name in given:
        if name not in known:
            raise ValueError(f"{where}{name}: not known here; {', '.join(sorted(known))} are")


def mode_of(text: Any, where: str = "") -> int:
    """``"0644"``. Raises `ValueError`."""
    if not isinstance(text, str) or not re.fullmatch(r"0?[0-7]{3}", text):
        raise ValueError(f'{where}mode = {text!r}: expected a text such as "0644"')
    return int(text, 8)


def wait_of(text: Any) -> tuple[int, int]:
    """``"500ms:10s"``, or one time, of which the longest wait is four times. Raises `ValueError`."""
    least, colon, most = str(text).partition(":")
    least_ms = _duration_ms(least, "wait")
    most_ms = _duration_ms(most, "wait") if colon else 4 * least_ms
    if most_ms < least_ms:
        raise ValueError(f"wait = {text!r}: the longest is shorter than the shortest")
    return least_ms, most_ms


_UNITS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "": 1_000}


def _duration_ms(text: Any, name: str) -> int:
    found = re.fullmatch(r"(\d{1,9})(ms|s|m|h|)", str(text))
    if found is None or isinstance(text, bool):
        raise ValueError(f"{name} = {text!r}: expected a time such as 500ms, 30s or 5m")
    return int(found[1]) * _UNITS[found[2]]


def _now_ms() -> int:
    return round(anyio.current_time() * 1000)
