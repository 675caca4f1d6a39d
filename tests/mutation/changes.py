"""Which changes are made to a module, one at a time: to comparisons, operators, numbers, results, statements.

Not changed is what no behaviour hangs on: docstrings, annotations, texts, `__repr__`, `__slots__`, notes for the log,
asserts; and the numbers of constants and of fields' defaults, most of which tune and do not decide.

A change is named by where it is in words (`zab.quorum Quorums.is_quorum: 2 * having > counting -> ...`) and not by its
line, so that names survive edits elsewhere; the second of two that would be named alike has ``#2`` behind it.
"""

import ast
import copy
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
_TWINS = {"min": "max", "max": "min", "any": "all", "all": "any"}
_QUIET_FUNCTIONS = {"__repr__", "__str__"}
#: What is only told: to the log, to whoever reads it.
_TOLD = ("Note(", ".log(", "._log(", "._note(", ".note(")


class Change(NamedTuple):
    """``name``: see above; ``apply`` makes it in the module's tree, which it is given as a copy of its own."""

    name: str
    line: int
    apply: Callable[[ast.Module], None]


class _Place(NamedTuple):
    """A node, by the way to it from the top, and what function it stands in."""

    way: tuple[tuple[str, int | None], ...]
    node: ast.AST
    function: str


def changes_of(source: str, module: str) -> list[Change]:
    """All changes to a module of that name, in the order of its lines."""
    tree = ast.parse(source)
    found: list[Change] = []
    seen: Counter[str] = Counter()
    for place in _places(tree, (), "", within=False):
        for new, told in _variants(place.node):
            name = f"{module} {place.function or '<module>'}: {told}"
            seen[name] += 1
            if seen[name] > 1:
                name += f" #{seen[name]}"
            line = getattr(place.node, "lineno", 0)
            found.append(Change(name, line, _putting(place.way, new)))
    return found


def changed(source: str, change: Change) -> ast.Module:
    tree = ast.parse(source)
    change.apply(tree)
    return ast.fix_missing_locations(tree)


def _putting(way: tuple[tuple[str, int | None], ...], new: ast.AST) -> Callable[[ast.Module], None]:
    def put(tree: ast.Module) -> None:
        node: ast.AST = tree
        for name, index in way[:-1]:
            child = getattr(node, name)
            node = child if index is None else child[index]
        name, index = way[-1]
        put_in = copy.deepcopy(new)
        if index is None:
            setattr(node, name, put_in)
        else:
            getattr(node, name)[index] = put_in

    return put


def _places(node: ast.AST, way: tuple[tuple[str, int | None], ...], function: str, *, within: bool) -> Iterator[_Place]:
    """``within`` a function: what stands outside of all is definitions and constants."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        if node.name in _QUIET_FUNCTIONS:
            return
        function = f"{function}.{node.name}" if function else node.name
        within = not isinstance(node, ast.ClassDef)
    elif isinstance(node, ast.Assert | ast.JoinedStr):
        return
    elif isinstance(node, ast.Raise):
        yield _Place(way, node, function)  # that it is raised, not what is said
        return
    elif isinstance(node, ast.stmt) and any(told in ast.unparse(node) for told in _TOLD) and _is_simple(node):
        return
    elif within and way:
        yield _Place(way, node, function)
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "args") and not isinstance(node, ast.Call):
            continue
        if isinstance(value, ast.AST):
            yield from _places(value, (*way, (name, None)), function, within=within)
        elif isinstance(value, list):
            for index, each in enumerate(value):
                if isinstance(each, ast.AST):
                    yield from _places(each, (*way, (name, index)), function, within=within)


def _is_simple(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr)


def _variants(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    before = ast.unparse(node) if isinstance(node, ast.expr | ast.stmt) else ""

    def told(new: ast.AST) -> tuple[ast.AST, str]:
        return new, f"{_short(before)} -> {_short(ast.unparse(new))}"

    match node:
        case ast.Compare():
            for index, operator in enumerate(node.ops):
                if type(operator) in _COMPARISONS:
                    new = copy.deepcopy(node)
                    new.ops[index] = _COMPARISONS[type(operator)]()
                    yield told(new)
        case ast.BoolOp():
            new_op = copy.deepcopy(node)
            new_op.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield told(new_op)
            for index in range(len(node.values)):
                rest = node.values[:index] + node.values[index + 1 :]
                yield told(rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest))
        case ast.UnaryOp(op=ast.Not()):
            yield told(node.operand)
        case ast.UnaryOp(op=ast.USub()):
            yield told(node.operand)
        case ast.BinOp() if type(node.op) in _OPERATORS and not _is_text(node.left):
            new_bin = copy.deepcopy(node)
            new_bin.op = _OPERATORS[type(node.op)]()
            yield told(new_bin)
        case ast.AugAssign():
            if type(node.op) in _OPERATORS:
                new_aug = copy.deepcopy(node)
                new_aug.op = _OPERATORS[type(node.op)]()
                yield told(new_aug)
            yield told(ast.Pass())
        case ast.Constant(value=bool() as truth):
            yield told(ast.Constant(not truth))
        case ast.Constant(value=int() as number):
            yield told(ast.Constant(number + 1))
        case ast.If() | ast.While() | ast.IfExp() if not isinstance(node.test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            new_if = copy.deepcopy(node)
            new_if.test = ast.UnaryOp(ast.Not(), node.test)
            test = ast.unparse(node.test)
            yield new_if, f"if {_short(test)} -> if not {_short(test)}"
        case ast.Return(value=ast.expr()) if not (isinstance(node.value, ast.Constant) and node.value.value is None):
            yield told(ast.Return(ast.Constant(None)))
        case ast.Return() | ast.Raise() | ast.Continue() | ast.Break() | ast.Delete():
            yield told(ast.Pass())
        case ast.Expr(value=ast.Call() | ast.Await()):
            yield told(ast.Pass())
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield told(ast.Pass())
        case ast.Call(func=ast.Name(id=name)) if name in _TWINS:
            new_call = copy.deepcopy(node)
            new_call.func = ast.Name(_TWINS[name], ast.Load())
            yield told(new_call)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 90 else line[:87] + "..."
