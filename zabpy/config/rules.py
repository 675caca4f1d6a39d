"""What values have to be, before a commit of them is accepted. No I/O.

A commit is refused for what it makes wrong, not for what was wrong before: who mends one of two broken values may. A
schema that is new is right for all there is, or refused.
"""

from collections.abc import Collection, Mapping

from .head import At
from .history import layers_of
from .layers import DEFAULT, Layer, Reveal, merge
from .schema import Schema
from .values import BadSettingsError, Problem


def problems(
    before: Mapping[At, bytes],
    after: Mapping[At, bytes],
    schema: bytes | None,
    reveal: Reveal | None,
    *,
    schema_changed: bool,
) -> list[Problem]:
    """Why the state after a commit is refused. Raises `BadSchemaError`."""
    changed = {at[0] for at in {*before, *after} if before.get(at) != after.get(at)}
    parsed = None if schema is None else Schema.parse(schema)
    found = _all(after, parsed, reveal, None if schema_changed else changed)
    if not found or schema_changed:
        return found
    known = set(_all(before, parsed, reveal, changed))
    return [each for each in found if each not in known]


def _all(
    entries: Mapping[At, bytes], schema: Schema | None, reveal: Reveal | None, changed: Collection[str] | None
) -> list[Problem]:
    layers = layers_of(entries)
    found = [] if schema is None else schema.problems(layers, reveal, changed=changed)
    named = {(each.layer, each.key) for each in found}
    for name, values in layers.items():
        if changed is None or name in changed or (name == DEFAULT and changed):
            try:
                merge([Layer(name, values)], reveal or _unseen)
            except BadSettingsError as error:
                found += [each for each in error.problems if (each.layer, each.key) not in named]
    return found


def _unseen(layer: str, key: str, text: str) -> str:
    return text
