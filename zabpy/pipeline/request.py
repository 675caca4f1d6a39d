"""Request, and the ids that name requests for ever."""

from zabpy.model import Request as Request, make_request_id as make_request_id, origin_of as origin_of


class RequestIds:
    """The ids a server gives to its clients' requests: its own id, which start this is, a counter.

    ``start`` is the store's number of this start of the process, so that an id is not used again after a restart. When
    the counter has gone round, after four thousand million requests, those of the first round are long answered.
    """

    __slots__ = ("_base", "_counter")

    def __init__(self, origin: int, start: int) -> None:
        self._base = make_request_id(origin, start, 0)
        self._counter = 0

    def next(self) -> int:
        self._counter = counter = (self._counter + 1) & 0xFFFFFFFF
        return self._base | counter
