"""Layers: which value wins, who says what, and what contradicts itself."""

import pytest
from hypothesis import given, settings, strategies as st

from zabpy.config.layers import Layer, Merged, explain, merge
from zabpy.config.values import BadSettingsError


def layer(name: str, /, **values: str) -> Layer:
    return Layer(name, {key.replace("__", "."): value.encode() for key, value in values.items()})


def tree(*layers: Layer) -> dict[str, object]:
    return merge(layers).tree()


def test_dots_are_nesting() -> None:
    assert tree(layer("default", db__host="x", db__pool__size="5", debug="no")) == {
        "db": {"host": "x", "pool": {"size": "5"}},
        "debug": "no",
    }


def test_the_later_layer_wins_value_by_value() -> None:
    merged = merge(
        [
            layer("default", db__host="a", db__port="1", name="app"),
            layer("env.prod", db__host="b"),
            layer("host.web1", db__host="c", extra="1"),
        ]
    )
    assert merged.tree() == {"db": {"host": "c", "port": "1"}, "name": "app", "extra": "1"}
    assert merged.leaves[("db", "host")].layer == "host.web1" and merged.leaves[("db", "port")].layer == "default"


def test_documents_are_merged_as_subtrees_and_lists_replaced() -> None:
    one = layer("default", db__json='{"host": "a", "tags": [1, 2], "pool": {"size": 1, "wait": 2}}')
    two = layer("env.prod", db__yaml="tags: [3]\npool: {size: 9}\n")
    assert tree(one, two) == {"db": {"host": "a", "tags": [3], "pool": {"size": 9, "wait": 2}}}


def test_in_a_layer_a_key_wins_over_a_document_and_a_longer_document_over_a_shorter() -> None:
    one = layer("default", db__json='{"host": "a", "pool": {"size": 1}}', db__pool__yaml="size: 2\n", db__host="b")
    assert tree(one) == {"db": {"host": "b", "pool": {"size": 2}}}


def test_of_layers_the_later_may_make_another_kind_of_thing_of_a_place() -> None:
    assert tree(layer("default", db__host="x"), layer("b", db="off")) == {"db": "off"}
    assert tree(layer("default", db="off"), layer("b", db__host="x")) == {"db": {"host": "x"}}
    assert tree(layer("default", db__host="x"), layer("b", db__json="{}")) == {"db": {"host": "x"}}
    assert tree(layer("default", db__json="{}"), layer("b", db__host="x")) == {"db": {"host": "x"}}
    assert tree(layer("default", db__json="{}")) == {"db": {}}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"db": "x", "db__host": "y"}, "db.host (layer a): it is a value and has values below it: see db in the same"),
        ({"db": "x", "db__json": '{"a": 1}'}, "db (layer a): it is a value and has values below it: see db.json"),
        ({"db__json": "{}", "db__yaml": ""}, "db.yaml (layer a): it says the same as db.json, and which one is right"),
        ({"port": "1", "db__json": "["}, "db.json (layer a): no JSON: Expecting value: line 1 column 2"),
        ({"db__host": "!enc abc"}, "db.host (layer a) = ***: it is encrypted, and no key was given"),
        ({"db__json": '{"a": ["!enc x"]}'}, "db.a (layer a) = ***: it is encrypted, and no key was given"),
        ({"a____b": "1"}, "a..b (layer a): a name between the dots of the key is missing"),
    ],
)
def test_what_contradicts_itself_is_refused(values: dict[str, str], said: str) -> None:
    with pytest.raises(BadSettingsError) as raised:
        merge([layer("a", **values)])
    assert str(raised.value).startswith(said) and len(raised.value.problems) == 1


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(BadSettingsError) as raised:
        merge([layer("a", x__json="["), layer("b", y__toml="=", z="1")])
    assert [(each.layer, each.key) for each in raised.value.problems] == [("a", "x.json"), ("b", "y.toml")]


def test_encrypted_texts_are_opened_for_the_program_and_masked_for_all_others() -> None:
    merged = merge(
        [layer("a", pw="!enc one", doc__json='{"list": ["!enc two", "x"]}', db__password="plain")],
        reveal=lambda layer, key, text: f"{layer}/{key}:{text.removeprefix('!enc ').upper()}",
    )
    assert merged.tree() == {
        "pw": "a/pw:ONE",
        "doc": {"list": ["a/doc.json:TWO", "x"]},
        "db": {"password": "plain"},
    }
    assert all(setting.secret and setting.shown == "***" for setting in merged.leaves.values())
    assert "ONE" not in repr(merged.leaves) and "plain" not in repr(merged.leaves)


def test_a_keeper_of_keys_that_fails_is_a_problem_of_that_value() -> None:
    def reveal(layer: str, key: str, text: str) -> str:
        raise OSError(f"connection reset while {text} was sent")

    with pytest.raises(BadSettingsError) as raised:
        merge([layer("a", pw="!enc one")], reveal)
    assert str(raised.value) == "pw (layer a) = ***: it cannot be decrypted: OSError"


def test_explain_tells_what_each_layer_says_and_who_wins() -> None:
    layers = [
        layer("default", db__host="a", db__pool__json='{"size": 1}', db__password="x"),
        layer("env.prod", db__yaml="host: b\n"),
        layer("host.web1", db__port="5"),
    ]
    [host] = explain(layers, "db.host")
    assert [(each.layer, each.key, each.value, each.wins) for each in host.said] == [
        ("default", "db.host", "'a'", False),
        ("env.prod", "db.yaml", "'b'", True),
    ]
    assert str(host) == "db.host\n   default   'a'\n-> env.prod  'b'   (db.yaml)"
    assert [each.key for each in explain(layers, "db")] == ["db.host", "db.password", "db.pool.size", "db.port"]
    assert [each.value for each in explain(layers, "db.password")[0].said] == ["***"]
    assert explain(layers, "nobody") == []


def test_explain_works_on_what_is_refused() -> None:
    [found] = explain([layer("default", port="1"), layer("b", port__json="[")], "port")
    assert [(each.layer, each.wins, each.problem is None) for each in found.said] == [
        ("default", True, True),
        ("b", False, False),
    ]


def test_explain_tells_of_a_value_that_a_whole_mapping_was_put_in_place_of() -> None:
    found = explain([layer("default", db="off"), layer("b", db__host="x")], "db")
    assert [(each.key, [said.wins for said in each.said]) for each in found] == [("db", [False]), ("db.host", [True])]


_names = st.sampled_from(["a", "b", "c"])
_keys = st.lists(_names, min_size=1, max_size=3).map(".".join)
_layers = st.lists(st.dictionaries(_keys, st.text(max_size=3), max_size=5), min_size=1, max_size=4)


@settings(max_examples=50)
@given(_layers)
def test_merging_is_total_and_says_the_same_in_whatever_order_keys_come(given_layers: list[dict[str, str]]) -> None:
    def result(backwards: bool) -> Merged | set[object]:
        layers = []
        for number, values in enumerate(given_layers):
            items = sorted(values.items(), reverse=backwards)
            layers.append(Layer(str(number), {key: value.encode() for key, value in items}))
        try:
            return merge(layers)
        except BadSettingsError as error:
            return set(error.problems)

    found = result(False)
    assert found == result(True)
    if isinstance(found, Merged):
        places = list(found.leaves)
        assert not any(one != two and two[: len(one)] == one for one in places for two in places)
        for place, setting in found.leaves.items():  # nobody later says anything of it, above it or below it
            later = given_layers[int(setting.layer) + 1 :]
            assert setting.value == given_layers[int(setting.layer)][setting.key]
            for values in later:
                for key in values:
                    other = tuple(key.split("."))
                    assert other[: len(place)] != place and place[: len(other)] != other
