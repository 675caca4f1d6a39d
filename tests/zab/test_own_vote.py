"""What a server says of its own log is what is there now, whatever others remember of it."""

from zabpy.model import NO_TIP, make_zxid
from zabpy.zab import Recovered, Send
from zabpy.zab.messages import Notification

from .lone import Lone, entries_after


def test_a_vote_for_us_from_before_our_restart_is_not_repeated() -> None:
    # Seed 101314: server 5 came back with 2.4 and stood for election with 1.96, which its peers still voted for.
    lone = Lone(Recovered(accepted_epoch=1, entries=entries_after(NO_TIP, (1, 0), (1, 1))), voters=5)
    lone.link(2)  # two of five: no quorum in reach, so no vote of our own yet
    lone.hear(2, Notification("looking", lone.replica.round, 1, make_zxid(1, 0), 1))
    lone.link(3)

    words = [effect.message for effect in lone.seen if isinstance(effect, Send)]
    ours = [word for word in words if isinstance(word, Notification) and word.leader == 1]
    assert ours
    assert {word.zxid for word in ours} == {make_zxid(1, 1)}
