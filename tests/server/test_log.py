from zabpy.server import Log
from zabpy.server.log import LINES_A_SECOND_MAX


class HandClock:
    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.ms

    def wall_ms(self) -> int:
        return self.ms


def test_an_event_is_one_line_of_keys_and_values_whatever_is_in_them() -> None:
    lines: list[str] = []
    log = Log(HandClock(), server_id=3, write=lines.append)
    log("role", epoch=7, why="elected, with 2 votes", raw=b"\n\0".decode(), quoted='a"b', empty="")
    assert lines == [
        '2023-11-14T22:13:20.000Z server=3 event=role epoch=7 why="elected, with 2 votes" raw="\\n\\x00"'
        ' quoted="a\\"b" empty=""\n'
    ]


def test_a_flood_of_one_event_is_held_back_and_counted_and_others_are_not() -> None:
    lines: list[str] = []
    clock = HandClock()
    log = Log(clock, write=lines.append)
    for _ in range(LINES_A_SECOND_MAX + 30):
        log("flood")
    log("other")
    assert len(lines) == LINES_A_SECOND_MAX + 1
    clock.ms += 1000
    log("flood")
    assert lines[-1].endswith("event=flood held_back=30\n")
