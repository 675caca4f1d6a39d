"""The sessions every replica knows of."""

import pytest

from zabpy.sessions import Session, SessionRowsError, SessionTable


def test_a_session_is_there_from_its_opening_to_its_closing() -> None:
    table = SessionTable()
    table.open(-5, 4000, b"secret")

    assert -5 in table
    assert table.get(-5) == Session(4000, b"secret")
    assert len(table) == 1
    table.close(-5)
    assert -5 not in table
    assert table.get(-5) is None
    assert table.ids() == []


def test_rows_give_the_same_table_in_the_same_order() -> None:
    table = SessionTable()
    for id in (7, -2, 5):
        table.open(id, 1000 + id, b"p%d" % id)
    rows = table.rows()
    table.close(-2)

    copy = SessionTable.from_rows(rows)

    assert rows == [(7, 1007, b"p7"), (-2, 998, b"p-2"), (5, 1005, b"p5")]
    assert copy.ids() == [7, -2, 5]
    assert copy.rows() == rows
    copy.close(-2)
    assert copy.digest() == table.digest()


def test_the_digest_sees_every_field() -> None:
    digests = set()
    for row in [(1, 2, b"p"), (3, 2, b"p"), (1, 4, b"p"), (1, 2, b"q")]:
        digests.add(SessionTable.from_rows([row]).digest())
    digests.add(SessionTable().digest())

    assert len(digests) == 5


@pytest.mark.parametrize(
    "rows", [[(1, 2)], [(1, 2, "p")], [("1", 2, b"p")], [(1, 2, b"p"), (1, 2, b"p")], [(1, 2, b"p", 4)]]
)
def test_rows_that_are_none_are_refused(rows: list[tuple[object, ...]]) -> None:
    with pytest.raises(SessionRowsError):
        SessionTable.from_rows(rows)
