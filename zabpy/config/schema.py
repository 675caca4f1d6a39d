"""The JSON Schema of a namespace: what its settings have to be, whoever reads them in whatever language. No I/O.

It is a document in JSON Schema's draft 2020-12, or the one that its ``$schema`` names, of the merged settings, as a
program sees them. What stands in a plain key is text; where the schema wants a number, a boolean, null, a list or an
object there, the text is read as JSON first ("5432" is an integer then, and yes and no are no booleans).

**Which layers together.** Readers merge the layers of their environment, region, host; the store does not know whose.
The schema may say it, in a keyword that validators of others pass over:

    "x-layers": [["env.test"], ["env.prod", "region.*"], ["env.prod", "region.*", "host.*"]]

Each is a set of layers above ``default``; a name with a star stands for each layer that there is. Every such set has
to be right as a whole. Where it is not said, each layer is looked at together with ``default``; that something is
missing is wrong then only if it is missing in all layers together, for who knows what is to complete what.

A ``$ref`` to somewhere else is not followed: nothing here asks the network.
"""

import fnmatch
import itertools
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from .errors import ConfigError
from .layers import DEFAULT, Layer, Merged, Reveal, merge
from .values import (
    ENCRYPTED,
    BadDocumentError,
    BadSettingsError,
    Path,
    Problem,
    dotted,
    is_document,
    parse,
    path_of,
)

LAYER_SETS: Final = "x-layers"
#: A schema may name so many sets of layers, once their stars are written out.
SETS_MAX: Final = 10_000
#: Of one set; who has more of them wrong mends these first.
PROBLEMS_MAX: Final = 50
#: Text is read as JSON where the schema wants that; what comes out of it is looked at again, so many times.
ROUNDS_MAX: Final = 8

#: Of these keywords something is wrong because something is not there.
_OF_ABSENCE: Final = frozenset({"required", "minProperties", "dependentRequired", "dependencies"})
#: These are right if one of several is.
_CHOICES: Final = frozenset({"anyOf", "oneOf"})

Layers = Mapping[str, Mapping[str, bytes]]


class BadSchemaError(ConfigError, ValueError):
    """It is no schema: where, and why."""


class Schema:
    """``document`` is the schema itself."""

    def __init__(self, document: Any) -> None:
        """Raises `BadSchemaError`."""
        import jsonschema

        if not isinstance(document, dict):
            raise BadSchemaError(f"the schema is a {type(document).__name__}, where an object is needed")
        self.document = document
        self._sets = _layer_sets(document)
        if not isinstance(named := document.get("$schema", ""), str):
            raise BadSchemaError(f"$schema: {named!r} is no text")
        fallback: Any = None
        kind: Any = (
            jsonschema.validators.validator_for(document, fallback) if named else jsonschema.Draft202012Validator
        )
        if kind is None:
            raise BadSchemaError(f"$schema: {named} is not known here; 2020-12 is, and older drafts")
        try:
            kind.check_schema(document)
        except jsonschema.SchemaError as error:
            raise BadSchemaError(f"the schema at {_place(error.absolute_path)}: {error.message}") from None
        for place, pattern in _patterns(document, ()):
            try:
                re.compile(pattern)
            except re.error as error:
                raise BadSchemaError(f"the schema at {_place(place)}: {pattern!r} is no pattern: {error}") from None
        import referencing

        self._validator = kind(document, registry=referencing.Registry(), format_checker=kind.FORMAT_CHECKER)
        self.problems_of({})  # a reference that leads nowhere is found now, if it is in what every settings meet

    @classmethod
    def parse(cls, data: bytes) -> "Schema":
        """Raises `BadSchemaError`, with line and column where it is no JSON."""
        try:
            return cls(parse("schema.json", data))
        except BadDocumentError as error:
            raise BadSchemaError(f"the schema: {error}") from None

    def check(self, layers: Layers, reveal: Reveal | None = None, *, changed: Collection[str] | None = None) -> None:
        """Refuse what does not fit. Raises `BadSettingsError`, see `problems`."""
        if problems := self.problems(layers, reveal, changed=changed):
            raise BadSettingsError(problems)

    def problems(
        self, layers: Layers, reveal: Reveal | None = None, *, changed: Collection[str] | None = None
    ) -> list[Problem]:
        """What is wrong with these values, each once: key, layer, and why, with the line where it is in a document.

        Args:
            layers: all there are, with all they have.
            reveal: decrypts; without it what is encrypted is not looked into, and taken to be right.
            changed: these layers are other than in a state that was right; only what they are in is looked at.
        """
        found: dict[Problem, None] = {}
        for names, whole in self._looked_at(layers):
            if not (changed is None or whole or DEFAULT in changed or any(name in changed for name in names)):
                continue
            try:
                merged = merge([Layer(name, layers.get(name, {})) for name in names], reveal or _unseen)
            except BadSettingsError as error:
                found |= dict.fromkeys(_with_line(problem, layers) for problem in error.problems)
                continue
            for path, reason, absent in self._wrong(merged):
                if absent is whole or self._sets is not None:
                    problem = merged.problem(path, reason, missing=absent)
                    found[_with_line(problem, layers, path)] = None
        return list(found)[:PROBLEMS_MAX]

    def problems_of(self, settings: Mapping[str, Any]) -> list[str]:
        """What is wrong with settings that are nested already, where no layer is known."""
        return [f"{dotted(map(str, path))}: {_reason(each)}" for path, each in self._errors(dict(settings), set())]

    def _looked_at(self, layers: Layers) -> Iterator[tuple[tuple[str, ...], bool]]:
        """Sets of layers, and whether that nothing is missing is asked of each of them."""
        if self._sets is None:
            others = sorted(name for name in layers if name != DEFAULT)
            yield from (((DEFAULT, name), False) for name in others)
            if not others:
                yield (DEFAULT,), False
            # Of this one that something is missing, and nothing else: it is what nobody reads.
            yield (DEFAULT, *others), True
            return
        count = 0
        for patterns in self._sets:
            each = [sorted(fnmatch.filter(layers, name)) if _is_pattern(name) else [name] for name in patterns]
            for upper in itertools.product(*each):
                count += 1
                if count > SETS_MAX:
                    raise BadSchemaError(f"{LAYER_SETS} stand for more than {SETS_MAX:,} sets of layers")
                yield (DEFAULT, *upper), False

    def _wrong(self, merged: Merged) -> Iterator[tuple[Path, str, bool]]:
        plain = {path for path, each in merged.leaves.items() if not is_document(each.key)}
        sealed = {path for path, each in merged.leaves.items() if _is_sealed(each.value)}
        for path, error in self._errors(merged.tree(), plain):
            if not any(path[: len(each)] == each for each in sealed):
                setting = merged.at(path)
                reason = _reason(error) if setting is None or not setting.secret else _reason_unseen(error)
                yield path, reason, _is_of_absence(error)

    def _errors(self, tree: Any, plain: set[Path]) -> Iterator[tuple[Path, Any]]:
        """Places, and jsonschema's errors. ``plain``: texts that may be read as JSON."""
        from referencing.exceptions import Unresolvable

        plain = set(plain)
        errors: list[Any] = []
        try:
            for _ in range(ROUNDS_MAX):
                errors = list(itertools.islice(self._validator.iter_errors(tree), 10 * PROBLEMS_MAX))
                converted = [_converted(tree, plain, each) for each in errors]
                if not any(converted):
                    break
        except Unresolvable as error:
            raise BadSchemaError(f"the schema: $ref {error.ref!r} leads nowhere within it") from None
        except RecursionError:
            raise BadSchemaError("the schema refers to itself without end") from None
        for each in errors:
            yield tuple(each.absolute_path), each


def _converted(tree: Any, plain: set[Path], error: Any) -> bool:
    """Whether a text, of which something else was wanted, is that now."""
    done = False
    for each in _with_choices(error):
        path = tuple(each.absolute_path)
        if path not in plain or each.validator not in ("type", "enum", "const"):
            continue
        given = each.instance
        if not isinstance(given, str) or (each.validator == "type" and given == ""):
            continue
        try:
            value = json.loads(given, parse_constant=_no_number)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, str) or not _is_wanted(value, each):
            continue
        at = tree
        for name in path[:-1]:
            at = at[name]
        at[path[-1]] = value
        plain.discard(path)
        done = True
    return done


def _is_wanted(value: Any, error: Any) -> bool:
    from jsonschema import Draft202012Validator

    return bool(Draft202012Validator({error.validator: error.validator_value}).is_valid(value))


def _with_choices(error: Any) -> Iterator[Any]:
    yield error
    if error.validator in _CHOICES:
        for each in error.context:
            yield from _with_choices(each)


def _is_of_absence(error: Any) -> bool:
    return any(each.validator in _OF_ABSENCE for each in _with_choices(error))


def _reason(error: Any) -> str:
    """What jsonschema says; of a choice what comes nearest."""
    if error.validator in _CHOICES and error.context:
        from jsonschema.exceptions import best_match

        nearest = best_match(iter(error.context))
        if nearest is not None:
            return f"it fits nothing of {error.validator}; the nearest: {nearest.message}"
    if error.validator == "enum":
        return f"expected one of {', '.join(map(repr, error.validator_value))}"
    if error.validator == "type":
        kinds = error.validator_value
        return f"expected {kinds if isinstance(kinds, str) else ' or '.join(kinds)}"
    return str(error.message)


def _reason_unseen(error: Any) -> str:
    """For a secret: jsonschema's own sentences say what was given."""
    return (
        f"it does not fit {error.validator}: {json.dumps(error.validator_value, ensure_ascii=False, default=str)[:200]}"
    )


def _no_number(text: str) -> Any:
    raise ValueError(text)


def _unseen(layer: str, key: str, text: str) -> str:
    return text


def _is_sealed(value: object) -> bool:
    """Whether it is encrypted still, or holds what is."""
    if isinstance(value, list | dict):
        return any(map(_is_sealed, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str) and value.startswith(ENCRYPTED)


def _layer_sets(document: Mapping[str, Any]) -> list[list[str]] | None:
    if LAYER_SETS not in document:
        return None
    sets = document[LAYER_SETS]
    if not isinstance(sets, list) or not all(
        isinstance(names, list) and all(isinstance(name, str) and name for name in names) for names in sets
    ):
        raise BadSchemaError(f"the schema at {LAYER_SETS}: expected a list of lists of layers' names")
    # Who writes ``default`` out means what is there anyway.
    return [[name for name in names if name != DEFAULT] for names in sets]


def _is_pattern(name: str) -> bool:
    return any(char in name for char in "*?[")


def _place(path: Iterable[object]) -> str:
    return "/" + "/".join(map(str, path))


def _patterns(document: Any, place: tuple[object, ...]) -> Iterator[tuple[tuple[object, ...], str]]:
    """Every regular expression of a schema; what only looks like a keyword is none that would be wrong."""
    if isinstance(document, dict):
        for name, each in document.items():
            if name == "pattern" and isinstance(each, str) and place[-1:] != ("properties",):
                yield (*place, name), each
            elif name == "patternProperties" and isinstance(each, dict):
                yield from (((*place, name), pattern) for pattern in each)
            if name not in ("enum", "const", "default", "examples"):
                yield from _patterns(each, (*place, name))
    elif isinstance(document, list):
        for index, each in enumerate(document):
            yield from _patterns(each, (*place, index))


# Lines of documents ---------------------------------------------------------------------------------------------------


def _with_line(problem: Problem, layers: Layers, path: Sequence[object] = ()) -> Problem:
    if problem.layer is None or not path:
        return problem
    for key, data in sorted(layers.get(problem.layer, {}).items(), reverse=True):
        if is_document(key):
            above = path_of(key)
            if tuple(path[: len(above)]) == above and (line := line_of(key, data, path[len(above) :])) is not None:
                return problem._replace(reason=f"{problem.reason} (line {line} of {key})")
    return problem


def line_of(key: str, data: bytes, path: Sequence[object]) -> int | None:
    """The line, from 1, in which a value of a document stands; None where that is not to be found."""
    text = data.decode("utf-8", "replace")
    if key.endswith(".toml"):
        names = [str(each) for each in path if isinstance(each, str)]
        if not names:
            return 1
        wanted = re.compile(rf"\s*[\"']?(?:[\w.\"'-]+\.)?{re.escape(names[-1])}[\"']?\s*=")
        lines = [number for number, line in enumerate(text.splitlines(), 1) if wanted.match(line)]
        return lines[0] if len(lines) == 1 else None
    import yaml

    try:  # JSON is YAML, as good as always
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):
        return None
    for name in path:
        if isinstance(node, yaml.MappingNode):
            node = next((value for at, value in node.value if getattr(at, "value", None) == name), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(name, int) and name < len(node.value):
            node = node.value[name]
        else:
            return None
    return None if node is None else int(node.start_mark.line) + 1
