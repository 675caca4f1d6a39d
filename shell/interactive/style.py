"""The colours of a terminal's own palette, which its owner has chosen."""

from collections.abc import Mapping

from prompt_toolkit.styles import Style

from ..errors import UsageError

STYLES = {
    "prompt.good": "ansigreen bold",
    "prompt.bad": "ansired bold",
    "prompt.path": "bold",
    "command": "ansiblue bold",
    "command.unknown": "ansired underline",
    "flag": "ansicyan",
    "flag.unknown": "ansired underline",
    "path": "ansigreen",
    "path.missing": "ansired",
    "pattern": "ansimagenta",
    "string": "ansiyellow",
    "file": "underline",
    "operator": "bold",
    "pipe": "ansimagenta",
    "comment": "ansibrightblack italic",
    "auto-suggestion": "ansibrightblack",
    "match": "bold underline",
    "bottom-toolbar": "noreverse",
    "toolbar.bad": "ansired",
    "validation-toolbar": "bg:default ansired noreverse",
    "notice.good": "ansigreen",
    "notice.bad": "ansired",
    "hint": "ansibrightblack",
}
#: For who wants none.
PLAIN = Style.from_dict(
    {
        "prompt.bad": "reverse",
        "path.missing": "underline",
        "command.unknown": "underline",
        "flag.unknown": "underline",
        "bottom-toolbar": "noreverse",
    }
)


def style_of(own: Mapping[str, str]) -> Style:
    """With the person's own styles; ``prompt`` is that of a prompt with a session.

    Raises:
        UsageError: one of them is none.
    """
    styles = {**STYLES, **own}
    if "prompt" in own:
        styles["prompt.good"] = styles.pop("prompt")
    try:
        return Style.from_dict(styles)
    except ValueError as error:
        raise UsageError(f"shell.toml: colors: {error}") from None
