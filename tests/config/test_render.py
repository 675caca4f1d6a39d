"""Files made of settings are whole, checked, and right; whatever goes wrong leaves the one before and says why."""

import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from random import Random

import anyio
import pytest

from zabpy.config.layers import Layer, merge
from zabpy.config.render import (
    CheckFailedError,
    Given,
    MissingKeysError,
    Plan,
    Quiet,
    Renderer,
    RenderError,
    Template,
    install,
    load_plan,
    render,
)


def given(entries: Mapping[str, str], revision: int = 1) -> Given:
    return Given("/config/app", revision, merge([Layer("default", {k: v.encode() for k, v in entries.items()})]))


SETTINGS = {"db.host": "db1", "db.port": "5432", "up.json": '[{"name": "a", "w": 1}, {"name": "b"}]', "items": "3"}


def made(tmp_path: Path, text: str, entries: Mapping[str, str] = SETTINGS) -> str:
    source = tmp_path / "t.j2"
    source.write_text(text)
    return render(source, given(entries, 7))


def test_a_template_sees_the_settings(tmp_path: Path) -> None:
    text = "{{ db.host }}:{{ db.port | int + 1 }} {{ items }} {{ revision }}\n"
    assert made(tmp_path, text) == "db1:5433 3 7\n"
    assert made(tmp_path, "  {% for each in up %}\n{{ each.name }}\n  {% endfor %}\nend\n") == "a\nb\nend\n"
    assert made(tmp_path, "{{ config['odd-name'] }} {{ namespace }}", {"odd-name": "x"}) == "x /config/app"
    assert made(tmp_path, "{{ db | tojson }}") == '{"host": "db1", "port": "5432"}'
    assert (
        made(tmp_path, "{% for name, value in db.items() %}{{ name }}={{ value }} {% endfor %}")
        == "host=db1 port=5432 "
    )
    assert made(tmp_path, "{{ db.items }}", {"db.items": "5"}) == "5"
    assert made(tmp_path, "{{ x | quote }}", {"x": "it's"}) == "'it'\"'\"'s'"


def test_a_template_includes_its_neighbours_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "part.j2").write_text("<{{ db.host }}>\n")
    assert made(tmp_path, "{% include 'part.j2' %}") == "<db1>\n"
    for name in ("gone.j2", "../part.j2", "/etc/passwd"):
        with pytest.raises(RenderError, match="to include"):
            made(tmp_path, f"{{% include '{name}' %}}")


def test_all_keys_that_are_missing_are_named_with_their_lines(tmp_path: Path) -> None:
    text = (
        "{{ db.hots }}\n{% if flag %}x{% endif %}\n{% for each in tls.certs %}{{ each }}{% endfor %}\n"
        "{{ limits.max + 1 }} {{ up[0].wieght | int }}\n{{ db.hots }}"
    )
    with pytest.raises(MissingKeysError) as caught:
        made(tmp_path, text)

    assert caught.value.missing == (
        ("db.hots", 1), ("flag", 2), ("tls.certs", 3), ("limits.max", 4), ("up.0.wieght", 4), ("db.hots", 5),
    )  # fmt: skip
    assert caught.value.keys == ("db.hots", "flag", "tls.certs", "limits.max", "up.0.wieght")
    assert "no setting: db.hots (line 1), flag (line 2)" in str(caught.value)


def test_what_is_missing_may_be_asked_for_and_have_a_default(tmp_path: Path) -> None:
    text = "{{ db.user | default('me') }}{{ a.b.c | default('x') }}"
    text += "{% if tls is defined %}y{% endif %}{{ db.get('q', 'z') }}"
    assert made(tmp_path, text) == "mexz"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a\n{% if %}", r"t\.j2:2: Expected an expression"),
        ("a\n{{ db.port + 1 }}", r"t\.j2:2: TypeError"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{{ db.update({'host': 'x'}) }}", "no setting: db.update"),
        ("{{ up.append(1) }}", "SecurityError"),
        ("{% for x in range(10000000) %}{% endfor %}", "OverflowError"),
        ("{{ cycler.__init__.__globals__ }}", "SecurityError"),
    ],
)
def test_a_template_that_fails_says_where(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(RenderError, match=reason):
        made(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "not rendered within 50 ms"),
        ("{% for a in range(99999) %}{{ a }}{% for b in range(999) %}{{ b }}{% endfor %}{% endfor %}", "not rendered"),
    ],
)
def test_a_template_that_takes_for_ever_is_ended(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "t.j2").write_text(text)
    with pytest.raises(RenderError, match=reason):
        render(tmp_path / "t.j2", given({}), 50)


def test_a_template_that_makes_too_much_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zabpy.config.render.TEXT_CHARS_MAX", 1000)
    with pytest.raises(RenderError, match="more than 1,000 characters"):
        made(tmp_path, "{% for a in range(99999) %}{{ a }}{% endfor %}")


def test_a_file_is_put_in_its_place_and_left_alone_if_it_is_right(tmp_path: Path) -> None:
    file = tmp_path / "out"
    template = Template(tmp_path / "t", file)

    assert install(template, "one\n")
    assert file.read_text() == "one\n" and file.stat().st_mode & 0o777 == 0o644
    inode = file.stat().st_ino
    assert not install(template, "one\n")
    assert file.stat().st_ino == inode
    file.chmod(0o640)
    assert install(template, "two\n")
    assert file.stat().st_mode & 0o777 == 0o640
    assert install(Template(tmp_path / "t", file, mode=0o600), "two\n")
    assert file.stat().st_mode & 0o777 == 0o600
    assert install(Template(tmp_path / "t", tmp_path / "other"), "hunter2\n", secret=True)
    assert (tmp_path / "other").stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in tmp_path.iterdir()) == ["other", "out"]


def test_a_link_stays_one_and_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "real")

    assert install(Template(tmp_path / "t", tmp_path / "link"), "y")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "y"
    (tmp_path / "folder").mkdir()
    with pytest.raises(RenderError, match="no file"):
        install(Template(tmp_path / "t", tmp_path / "folder"), "y")
    with pytest.raises(RenderError, match="No such file"):
        install(Template(tmp_path / "t", tmp_path / "gone" / "x"), "y")
    with pytest.raises(RenderError, match="nobody here is called so"):
        install(Template(tmp_path / "t", tmp_path / "x", owner="no-such-user"), "y")


def test_what_a_check_refuses_never_reaches_its_place(tmp_path: Path) -> None:
    file = tmp_path / "out"
    check = 'grep -q good {file} || { echo "line 1: no good"; exit 3; }'
    template = Template(tmp_path / "t", file, check=check)

    assert install(template, "good\n")
    with pytest.raises(CheckFailedError, match=r"refused it \(status 3\)[^\n]*\nline 1: no good") as caught:
        install(template, "bad\n")
    assert "stays" in str(caught.value)
    assert file.read_text() == "good\n"
    slow = Template(tmp_path / "t", file, check="sleep 60", timeout_ms=50)
    with pytest.raises(CheckFailedError, match="not done within 50 ms"):
        install(slow, "good again\n")
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_what_a_killed_one_has_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".out.zabpy-abc.4194304999").write_text("half")
    (tmp_path / f".out.zabpy-abc.{os.getpid()}").write_text("somebody's")

    install(Template(tmp_path / "t", tmp_path / "out"), "x")

    assert sorted(each.name for each in tmp_path.iterdir()) == [f".out.zabpy-abc.{os.getpid()}", "out"]


def test_quiet_waits_for_the_last_change_but_not_for_ever() -> None:
    quiet = Quiet(100, 250)
    assert quiet.due_ms is None
    for now, due in ((0, 100), (50, 150), (140, 240), (230, 250), (249, 250)):
        quiet.changed(now)
        assert quiet.due_ms == due
    quiet.acted()
    assert quiet.due_ms is None


class Story:
    def __init__(self, tmp_path: Path, **plan: object) -> None:
        self.folder, self.told = tmp_path, list[str]()
        for name in ("a", "b"):
            (tmp_path / f"{name}.j2").write_text(f"{{{{ {name} }}}}\n")
        reload = f"echo reloaded >> {tmp_path}/log; test ! -e {tmp_path}/broken"
        templates = tuple(Template(tmp_path / f"{name}.j2", tmp_path / name, reload=reload) for name in ("a", "b"))
        self.renderer = Renderer(Plan(templates, **plan), self.tell, Random(1))  # type: ignore[arg-type]

    async def tell(self, text: str) -> None:
        self.told.append(text.splitlines()[0])

    @property
    def reloads(self) -> int:
        log = self.folder / "log"
        return len(log.read_text().splitlines()) if log.exists() else 0


async def test_what_two_templates_share_is_reloaded_once_and_only_if_something_changed(tmp_path: Path) -> None:
    story = Story(tmp_path)

    assert all(each.changed for each in await story.renderer.once(given({"a": "1", "b": "1"})))
    assert story.reloads == 1
    await story.renderer.once(given({"a": "1", "b": "1", "c": "2"}, 2))
    assert story.reloads == 1
    await story.renderer.once(given({"a": "1", "b": "3"}, 3))
    assert story.reloads == 2
    assert story.told[-1] == f"{tmp_path}/b: is of revision 3"


async def test_one_that_fails_keeps_no_other_from_its_place_and_is_told_of_once(tmp_path: Path) -> None:
    story = Story(tmp_path)
    await story.renderer.once(given({"a": "1", "b": "1"}))

    for revision in (2, 3):
        done = await story.renderer.once(given({"b": "2"}, revision))
        assert [type(each.problem) for each in done] == [MissingKeysError, type(None)]
    assert (tmp_path / "a").read_text() == "1\n" and (tmp_path / "b").read_text() == "2\n"
    assert story.told.count(f"{tmp_path}/a.j2: no setting: a (line 1)") == 1


async def test_a_reload_that_failed_is_done_again(tmp_path: Path) -> None:
    story = Story(tmp_path)
    (tmp_path / "broken").touch()

    done = await story.renderer.once(given({"a": "1", "b": "1"}))
    assert all("the reload has failed" in str(each.problem) for each in done) and story.reloads == 1
    (tmp_path / "broken").unlink()
    done = await story.renderer.once(given({"a": "1", "b": "1"}))
    assert [each.problem for each in done] == [None, None] and story.reloads == 2


async def test_a_template_that_makes_nothing_makes_no_file(tmp_path: Path) -> None:
    story = Story(tmp_path)
    await story.renderer.once(given({"a": "1", "b": "1"}))

    done = await story.renderer.once(given({"a": "", "b": "1"}))

    assert "makes an empty file" in str(done[0].problem)
    assert (tmp_path / "a").read_text() == "1\n"


async def test_of_many_changes_in_a_row_the_last_is_rendered(tmp_path: Path) -> None:
    story = Story(tmp_path, wait_ms=(30, 1000))

    async def states() -> AsyncIterator[Given]:
        for number in range(20):
            yield given({"a": str(number), "b": "x"}, number)
            await anyio.sleep(0.02 if number == 0 else 0.001)

    with anyio.fail_after(10):
        await story.renderer.keep(states())

    assert (tmp_path / "a").read_text() == "19\n"
    assert story.reloads == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"no \[\[template\]\]"),
        ("template = 3", r"no \[\[template\]\]"),
        ("x = 1\n[[template]]", "x: not known here"),
        ("[[template]]\nsource = 'a'", "template 1: destination is missing"),
        ("[[template]]\nsource = 'a'\ndestination = 'b'\nmode = '0999'", "mode = '0999'"),
        ("[[template]]\nsource = 'a'\ndestination = 'b'\nmode = 644", "mode = 644"),
        ("[[template]]\nsource = 'a'\ndestination = 'b'\nchekc = 'c'", "template 1: chekc: not known"),
        ("[[template]]\nsource = 'a'\ndestination = 'b'\ncheck = ['c']", "expected a text"),
        ("[[template]]\nsource = 'a'\ndestination = 'b'\ntimeout = 'soon'", "timeout = 'soon'"),
        ("wait = '5s:1s'\n[[template]]\nsource = 'a'\ndestination = 'b'", "the longest is shorter"),
        (
            "[[template]]\nsource='a'\ndestination='b'\n[[template]]\nsource='c'\ndestination='./b'",
            "two templates are for",
        ),
        ("[[template", "at end of document"),
    ],
)
def test_a_plan_that_is_wrong_says_what_is(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(RenderError, match=reason) as caught:
        load_plan(tmp_path / "plan.toml")
    assert "plan.toml" in str(caught.value)


def test_a_plan_is_read(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(
        "wait = '500ms:10s'\nsplay = '5s'\n[[template]]\nsource = 'a.j2'\ndestination = '/etc/a'\nmode = '0640'\n"
        "owner = 'root'\ngroup = '0'\ncheck = 'true'\nreload = 'true'\ntimeout = '1m'\nallow_empty = true\n"
    )
    assert load_plan(tmp_path / "plan.toml") == Plan(
        (Template(tmp_path / "a.j2", Path("/etc/a"), 0o640, "root", "0", "true", "true", 60_000, True),),
        (500, 10_000),
        5_000,
    )
