"""JAAS files as Java reads them; an error is one line with its place, and shows no password."""

import contextlib

import pytest
from hypothesis import given, strategies as st

from zabpy.server.jaas import JaasError, Module, Section, parse


def options(text: str) -> dict[str, str]:
    (section,) = parse(f"Server {{ a.Module required {text}; }};", "jaas.conf").values()
    return {name: value for name, (value, _) in section.modules[0].options.items()}


def test_a_file_as_it_is_used() -> None:
    text = """
        // who may come
        Server {
            org.apache.zookeeper.server.auth.DigestLoginModule required
            user_super="super_secret"   /* the one
                                           who may all */
            user_jaasuser="jaas_password";
        };
        Client { x.Y OPTIONAL username="bob" password="pw"; };
    """
    sections = parse(text, "jaas.conf")

    assert list(sections) == ["Server", "Client"]
    server = sections["Server"]
    assert (server.name, server.line) == ("Server", 3)
    assert server.modules == (
        Module(
            "org.apache.zookeeper.server.auth.DigestLoginModule",
            "required",
            {"user_super": ("super_secret", 5), "user_jaasuser": ("jaas_password", 7)},
        ),
    )
    assert sections["Client"].modules[0].flag == "optional"


def test_several_modules_in_a_section() -> None:
    sections = parse('Server{a required x="1";b sufficient;"c d" requisite y=z;};', "f")
    assert [(module.name, module.flag) for module in sections["Server"].modules] == [
        ("a", "required"),
        ("b", "sufficient"),
        ("c d", "requisite"),
    ]


@pytest.mark.parametrize("text", ["", " \n\t", "// nothing\n", "/* nothing */", "\ufeff"])
def test_an_empty_file_has_no_sections(text: str) -> None:
    assert parse(text, "f") == {}


def test_a_section_may_be_empty() -> None:
    assert parse("Server { };", "f") == {"Server": Section("Server", 1, ())}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (r'"a\"b"', 'a"b'),
        (r'"a\\b"', "a\\b"),
        (r'"a\tb\nc"', "a\tb\nc"),
        (r'"\101\7"', "A\a"),
        (r'"\q"', "q"),
        (r'"\477"', "'7"),  # three octal digits only up to \377
        ('"// no comment /* */"', "// no comment /* */"),
        ('"{};="', "{};="),
        ('""', ""),
        ('"pässwörd €"', "pässwörd €"),
        ("bare-word_1.$*", "bare-word_1.$*"),
        ('"a$b"', "a$b"),
    ],
)
def test_values(written: str, value: str) -> None:
    assert options(f"user_x={written}") == {"user_x": value}
    assert options(f'"user_x" = {written} other="1"') == {"user_x": value, "other": "1"}


def test_of_two_options_with_one_name_the_last_counts() -> None:
    assert options('user_x="1" user_x="2"') == {"user_x": "2"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Server", "f:1: expected {, found the end"),
        ("\n\nServer {", "f:3: expected a login module or }, found the end"),
        ("Server { a", "f:1: expected a flag, found the end"),
        ("Server { a\nneeded; };", "f:2: expected a flag (required, requisite, sufficient or optional)"),
        ("Server { a required }", "f:1: expected an option or ;, found }"),
        ("Server { a required user_x; };", "f:1: expected =, found ;"),
        ('Server { a required\nuser_x "hunter2"; };', "f:2: expected =, found a quoted string"),
        ("Server { a required user_x hunter2; };", "f:1: expected =, found a word"),
        ("Server { a required user_x=; };", "f:1: expected a value, found ;"),
        ("Server { a required; }", "f:1: expected ;, found the end"),
        ("Server { a required; } Client", "f:1: expected ;, found a word"),
        ("Server { };\nServer { };", "f:2: expected one section of this name; line 1 has it too"),
        ('Server { a required user_x="hunter2\n"; };', "f:1: expected a closing quote in this line"),
        ('Server { a required user_x="hunter2', "f:1: expected a closing quote in this line"),
        ("/* hunter2", "f:1: expected an end of this comment"),
        ("# hunter2", "f:1: expected a word, a quoted string or one of { } = ;, found #"),
        ("Server { a required user_x=~hunter2; };", "one of { } = ;, found something else"),
        ('Server { a required\nuser_x="${hunter2}"; };', "f:2: expected no ${...} in a value: the properties of Java"),
        ("{ };", "f:1: expected the name of a section, found {"),
    ],
)
def test_an_error_is_one_line_with_its_place_and_no_password(text: str, message: str) -> None:
    with pytest.raises(JaasError) as error:
        parse(text, "f")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert "hunter2" not in str(error.value) + repr(error.value)


def test_no_repr_shows_a_value() -> None:
    assert "hunter2" not in repr(parse('Server { a required user_x="hunter2"; };', "f"))


@given(st.text(alphabet="{};=\"\\/* \nab$'é", max_size=60))
def test_any_text_is_sections_or_an_error(text: str) -> None:
    with contextlib.suppress(JaasError):
        parse(text, "f")
