"""For a while something else stands where another thing does: how mistakes are made, and runs repeatable."""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def instead(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = vars(owner)[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def instead_in(table: Any, key: type, value: Any) -> Iterator[None]:
    assert isinstance(table, MutableMapping)
    before = table[key]
    table[key] = value
    try:
        yield
    finally:
        table[key] = before
