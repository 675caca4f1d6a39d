"""Stories: read, played, retold."""

import pytest

from zabpy.testing.script import StoryError, parse, play, retold

STORY = """\
# One server is a quorum of itself.
ensemble 1
until quiet
----
1 looks for a leader: started
1 appends 1.0
1 delivers 1.0
1 leads epoch 1

submit 1 x y
run 10
----
1 appends 1.1:x 1.2:y
1 delivers 1.1:x 1.2:y
"""


def test_a_story_is_blocks_with_what_they_leave() -> None:
    first, second = parse(STORY)
    assert first.words == [["ensemble", "1"], ["until", "quiet"]]
    assert second.number == 10
    assert second.expected == ["1 appends 1.1:x 1.2:y", "1 delivers 1.1:x 1.2:y"]


def test_a_story_is_played() -> None:
    assert all(trace == block.expected for block, trace in play(STORY))


def test_a_story_is_retold_as_it_goes_now() -> None:
    assert retold(STORY) == STORY
    assert retold(STORY.replace("1 leads epoch 1", "1 leads epoch 2")) == STORY


@pytest.mark.parametrize(
    "text", ["----\n", "run 10\n----\n", "ensemble 1\nsing\n----\n", "ensemble 3\nkill 1 2\nuntil leader\n----\n"]
)
def test_what_cannot_be_told_is_refused(text: str) -> None:
    with pytest.raises(StoryError):
        play(text)
