"""Layers: which value wins, who says what, and what contradicts itself."""

import pytest
from hypothesis import given, settings, strategies as st

from zabpy.config.binding import Binder
from zabpy.config.layers import Layer, Merged, Setting, explain, merge, merge_changed
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


_documents = st.tuples(_keys.map(lambda key: f"{key}.json"), st.sampled_from([
    "1", "1.0", "true", "{}", '{"a": 1}', '{"a": {}}', '{"a": {"b": "x"}, "c": [1]}', '"!enc x"', '"!enc bad"', "[",
]))  # fmt: skip
_plain = st.tuples(_keys, st.sampled_from(["", "1", "x", "!enc x", "!enc bad"]))
_entries = st.lists(_documents | _plain, max_size=5).map(dict)


def _opened(layer: str, key: str, text: str) -> str:
    if text.endswith("bad"):
        raise ValueError("no")
    return f"{layer} {key} {text}"


@settings(max_examples=300)
@given(st.lists(_entries, min_size=1, max_size=3), st.data())
def test_what_changed_is_merged_as_everything_is(given_layers: list[dict[str, str]], data: st.DataObject) -> None:
    others = [
        {
            key: data.draw(_documents if key.endswith(".json") else _plain)[1]
            for key in entries
            if data.draw(st.booleans())
        }
        for entries in given_layers
    ]
    old, new = (
        [Layer(str(number), {key: value.encode() for key, value in each.items()}) for number, each in enumerate(layers)]
        for layers in (given_layers, [{**entries, **other} for entries, other in zip(given_layers, others)])
    )
    try:
        before = merge(old, _opened)
    except BadSettingsError:
        return
    found = merge_changed(before, old, new, _opened)
    try:
        expected = merge(new, _opened)
    except BadSettingsError:
        assert found is None
        return
    if found is not None:
        merged, changed = found
        assert merged == expected and list(merged.leaves) == list(expected.leaves)
        assert {place for place, each in expected.leaves.items() if before.leaves[place] != each} <= set(changed)
        binder = Binder[dict[str, object]](None)
        assert repr(binder.bind_changed(binder.bind(before), merged, changed)) == repr(binder.bind(expected))


def test_other_values_of_the_same_keys_are_merged_alone() -> None:
    old = [layer("a", db__host="x", port="1", l__json='{"m": [1], "n": 2}'), layer("b", port="2")]
    before = merge(old)
    new = [layer("a", db__host="y", port="3", l__json='{"m": [1], "n": true}'), layer("b", port="2")]
    found = merge_changed(before, old, new)
    assert found is not None
    assert {path: setting.value for path, setting in found[1].items()} == {
        ("db", "host"): "y",
        ("l", "m"): [1],
        ("l", "n"): True,
    }
    assert found[0].leaves["port",] is before.leaves["port",]
    for others in ([new[0]], [new[0], layer("c", port="2")], [layer("a", port="1"), new[1]]):
        assert merge_changed(before, old, others) is None


def test_equal_values_of_other_types_are_not_the_same() -> None:
    one = Setting(1, "a", "k")
    assert one == Setting(1, "a", "k")
    for other in (Setting(True, "a", "k"), Setting(1.0, "a", "k"), Setting(1, "b", "k"), Setting(1, "a", "l"), 1):
        assert one != other
