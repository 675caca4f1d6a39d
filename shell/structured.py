"""A change within a JSON or YAML value, as it is typed: ``.db.port=5``, ``.hosts[0]="a"``, ``.old=`` with nothing
behind it for an empty text. What stands on the right is JSON, or else a text."""

import json
import re
from collections.abc import Sequence
from typing import Any

from .problems import UsageError

_CHANGE = re.compile(r"(?P<where>(?:\.[A-Za-z_][\w-]*|\[\d+\])+)=(?P<value>.*)", re.DOTALL)
_STEP = re.compile(r"\.([A-Za-z_][\w-]*)|\[(\d+)\]")


def is_change(text: str) -> bool:
    return text.startswith(".") and _CHANGE.fullmatch(text) is not None


def changed(data: bytes, changes: Sequence[str], path: str) -> bytes:
    """The value with the changes made, in the format and the looks it had.

    Raises:
        UsageError: it is neither a JSON nor a YAML object, has comments that would be lost, or a step leads nowhere.
    """
    value, format = _read(data, path)
    for each in changes:
        match = _CHANGE.fullmatch(each)
        if match is None:
            raise UsageError(f"{each}: expected .NAME.NAME=VALUE")
        try:
            new = json.loads(match["value"], parse_constant=_no_json)
        except ValueError:
            new = match["value"]
        _put(value, match["where"], new, path)
    return _written(value, format, data)


def _no_json(text: str) -> Any:
    """Python's JSON has NaN and Infinity, which nobody else's has."""
    raise ValueError(text)


def _put(value: Any, where: str, new: Any, path: str) -> None:
    steps: list[str | int] = [name or int(index) for name, index in _STEP.findall(where)]
    so_far = ""
    for at, step in enumerate(steps):
        fits = isinstance(value, dict) if isinstance(step, str) else isinstance(value, list)
        if not fits:
            raise UsageError(f"{path}: {so_far or 'the value'} is {_kind(value)}, so there is no {_text(step)} in it")
        if isinstance(step, int) and step >= len(value):
            raise UsageError(f"{path}: {so_far or 'the value'} has {len(value)} elements, so there is no {_text(step)}")
        if at == len(steps) - 1:
            value[step] = new
            return
        if isinstance(step, str) and step not in value:
            value[step] = {}
        value = value[step]
        so_far += _text(step)


def _text(step: str | int) -> str:
    return f".{step}" if isinstance(step, str) else f"[{step}]"


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}.get(
        type(value), "a number"
    )


def _read(data: bytes, path: str) -> tuple[Any, str]:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path}: its value is no text, so there is no name in it to set") from None
    try:
        value = json.loads(text)
    except ValueError:
        pass
    else:
        if isinstance(value, dict | list):
            return value, "json"
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    if not isinstance(value, dict | list):
        raise UsageError(f"{path}: its value is neither a JSON nor a YAML object; --text sets it to what was typed")
    if re.search(r"(^|\s)#", text):
        raise UsageError(f"{path}: its value has comments, which would be lost; use edit")
    return value, "yaml"


def _written(value: Any, format: str, before: bytes) -> bytes:
    text = before.decode()
    end = "\n" if text.endswith("\n") else ""
    if format == "yaml":
        import yaml

        written: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
        return (written.rstrip("\n") + end).encode()
    indent = re.search(r"\n([ \t]+)\S", text)
    if indent is not None:
        return (json.dumps(value, ensure_ascii=False, indent=indent[1]) + end).encode()
    separators = (", ", ": ") if re.search(r'[":\d,] ', text) else (",", ":")
    return (json.dumps(value, ensure_ascii=False, separators=separators) + end).encode()
