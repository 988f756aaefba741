"""Changes of a YAML text: what is asked for changes, and not one other character."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.configfile import compose, plain
from setpoint.configfile.editing import (
    NotEditable,
    all_below,
    parse_path,
    path_text,
    spans,
    text_of,
    with_item,
    with_key,
    with_text,
    with_value,
    without,
)

PLANT = (Path(__file__).parents[2] / "examples" / "plant" / "config.yaml").read_text()
ITEMS = """\
# the file
agent: {location: {0: acme}}   # one line

list:
  # about all of them
  - name: a   # the first
    x: 'one'

  # about b
  - name: b
    x: "two"
    deep:
      y: 3
      # y2: 4
  # behind the last
other: 1
"""
SHARED = """\
base: &base
  port: 502
  user: {name: x}
list:
  - &first
    name: a
    port: 1
  - name: b
    <<: *base
  - name: c
    settings: *base
"""


def lines_changed(old: str, new: str) -> tuple[list[str], list[str]]:
    """The lines that went and those that came."""
    before, after = old.splitlines(), new.splitlines()
    return [line for line in before if line not in after], [line for line in after if line not in before]


def test_a_value_is_replaced_in_its_own_quotes_and_its_comment_stays() -> None:
    """Whatever else stands in the line."""
    new = with_value(ITEMS, ("list", "a", "x"), "it's")
    assert lines_changed(ITEMS, new) == (["    x: 'one'"], ["    x: 'it''s'"])
    assert '    x: "5"' in with_value(ITEMS, ("list", "b", "x"), "5")
    assert "agent: {location: {0: other}}   # one line" in with_value(ITEMS, ("agent", "location", "0"), "other")
    assert "  - name: z   # the first" in with_value(ITEMS, ("list", "a", "name"), "z")


def test_what_leads_to_a_value_is_made_where_it_is_missing() -> None:
    """In the form of what is there: in blocks, or in brackets."""
    new = with_value(ITEMS, ("internal", "redpanda", "desiredState"), "stopped")
    assert new == ITEMS + "\ninternal:\n  redpanda:\n    desiredState: stopped\n"
    assert "{location: {0: acme, 2: area}}" in with_value(ITEMS, ("agent", "location", "2"), "area")
    new = with_value(ITEMS, ("list", "b", "deep", "z"), [1, {"a": "b: c"}])
    assert '      z:\n        - 1\n        - a: "b: c"\n' in new


def test_an_entry_goes_with_the_comment_directly_above_it_and_all_below_it() -> None:
    """What stands above the first one is about all of them, and what is indented less than an entry is not its own."""
    without_b = without(ITEMS, ("list", "b"))
    assert "about b" not in without_b
    assert "y2" not in without_b
    assert "  # behind the last\n" in without_b
    without_a = without(ITEMS, ("list", "a"))
    assert "  # about all of them\n  # about b\n  - name: b\n" in without_a


def test_the_last_entry_takes_an_empty_section_along() -> None:
    """Unless a comment above the section says what belongs there; then an empty list stays."""
    text = "a: 1\n\nlist:\n  - name: x\n\nb: 2\n"
    assert without(text, ("list", "x")) == "a: 1\n\nb: 2\n"
    assert without("a: 1\n# here\nlist:\n  - name: x\n", ("list", "x")) == "a: 1\n# here\nlist: []\n"


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends_stay_what_they_are(ending: str, last: bool) -> None:
    """Those of Windows, and a last line that does not end; new lines end as the others do."""
    text = ITEMS.replace("\n", ending)
    text = text if last else text.removesuffix(ending)
    for path in (("list",), ("more",)):
        added = with_item(text, path, {"name": "new", "code": "one\ntwo\n"})
        assert added.count("\n") == added.count(ending)
        assert added.endswith(ending) is last
        assert without(added, (*path, "new")) == text


def test_a_byte_order_mark_stays_in_front() -> None:
    """As some editors write it."""
    text = "\ufeffa: 1\nlist:\n- name: x\n"
    new = with_value(with_item(text, ("list",), {"name": "new"}), ("a",), 2)
    assert new == "\ufeffa: 2\nlist:\n- name: x\n- name: new\n"


def test_what_is_behind_an_alias_or_in_an_anchor_that_others_use_is_refused_with_their_names() -> None:
    """Such a change would be one of all of them. The incumbent writes aliases out, or changes what others share."""
    with pytest.raises(NotEditable, match=r"is used by list\.b\.<<, list\.c\.settings"):
        with_value(SHARED, ("list", "c", "settings", "port"), 5)
    with pytest.raises(NotEditable, match=r"anchor &base, which is used by list\.b\.<<, list\.c\.settings"):
        with_value(SHARED, ("base", "port"), 5)
    with pytest.raises(NotEditable, match=r"is used by list\.b\.<<, list\.c\.settings"):
        without(SHARED, ("base",))
    with pytest.raises(NotEditable, match="alias"):
        with_value(SHARED, ("list", "b", "user", "name"), "y")


def test_what_is_nobody_elses_is_changed_beside_anchors_and_aliases() -> None:
    """A value of one's own goes before a merged one; an alias may be replaced as a whole; an anchor without users is none."""
    assert "    <<: *base\n    port: 7\n" in with_value(SHARED, ("list", "b", "port"), 7)
    assert "settings: 5\n" in with_value(SHARED, ("list", "c", "settings"), 5)
    assert "    port: 2\n" in with_value(SHARED, ("list", "a", "port"), 2)
    assert "name: a" not in without(SHARED, ("list", "a"))
    assert "*base" in with_item(SHARED, ("list",), {"name": "d"})


def test_a_list_in_which_anchors_stand_takes_more_and_an_entry_of_it_other_lines() -> None:
    """What others use stays what it is; where an edit would change it for them, they are named."""
    text = "list:\n  - name: a\n    x: &x {y: 1}\n    z: 1\nother: *x\nmore:\n  - name: b\n    x: *x\n    z: 2\n"
    assert with_item(text, ("list",), {"name": "c"}) == text.replace("other:", "  - name: c\nother:")
    assert with_item(text, ("more",), {"name": "c"}) == text + "  - name: c\n"
    for place in (("list", "a"), ("more", "b")):
        own = text_of(text, place)
        new = with_text(text, place, own.replace("z: ", "z: 5"))
        assert len(lines_changed(text, new)[1]) == 1
    own = text_of(text, ("list", "a"))
    for change in (own.replace("y: 1", "y: 2"), own.replace("&x ", "")):
        with pytest.raises(NotEditable):
            with_text(text, ("list", "a"), change)
    with pytest.raises(NotEditable, match=r"anchor &x, which is used by other, more\.b\.x"):
        with_text(text, ("list", "a"), own.replace("y: 1", "y: 2"))
    with pytest.raises(NotEditable):
        with_text(text, ("list", "a"), own + "- name: two\n")
    with pytest.raises(NotEditable, match="line"):
        with_text(text, ("list", "a"), "a: [\n")
    with pytest.raises(NotEditable, match="nothing would be left"):
        with_text(text, ("list", "a"), " \n")


def test_text_of_several_lines_is_written_as_a_block() -> None:
    """And read as the same text; where that cannot be, in quotes."""
    for text in (
        "a\nb\n",
        "a\nb",
        "  a\nb",
        "a\n\n\nb\n",
        "\n",
        "a\tb\n c",
        "a \nb",
        "ä\u2028b\n",
        "{{ .X }}\n# c\n",
        "a: b\n- c",
    ):
        new = with_value(ITEMS, ("list", "b", "deep", "code"), text)
        assert yaml.safe_load(new)["list"][1]["deep"]["code"] == text
        again = with_value(new, ("list", "b", "deep", "code"), f"x\n{text}")
        assert yaml.safe_load(again)["list"][1]["deep"]["code"] == f"x\n{text}"
    assert "      code: |\n        a\n        b\n" in with_value(ITEMS, ("list", "b", "deep", "code"), "a\nb\n")


def test_a_key_gets_another_name_in_its_place() -> None:
    """In its own quotes; a name that is taken is refused."""
    assert "'new': 1" in with_key("x:\n  'old': 1\n  b: 2\n", ("x", "old"), "new")
    with pytest.raises(NotEditable, match="already"):
        with_key("x:\n  old: 1\n  b: 2\n", ("x", "old"), "b")


def test_an_entry_can_be_taken_out_edited_and_put_back() -> None:
    """Its own lines, moved to the left; unchanged they give the text back."""
    for name in ("press-1", "press-2", "furnace-1"):
        place = ("protocolConverter", name)
        own = text_of(PLANT, place)
        assert own.startswith(f"name: {name}\ndesiredState: active")
        assert with_text(PLANT, place, own) == PLANT
        new = with_text(PLANT, place, own.replace("desiredState: active", "desiredState: stopped"))
        assert len(lines_changed(PLANT, new)[1]) == 1


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\n\tb: 2\n",
        "a: [1, 2\n",
        "",
        "# nothing\n",
        "a: 1\na: 2\n",
        "a: 1\n---\nb: 2\n",
    ],
)
def test_a_text_that_is_not_valid_is_refused_with_its_line(text: str) -> None:
    """Tabs, brackets, keys that come twice; nothing is guessed."""
    with pytest.raises(NotEditable):
        with_value(text, ("x",), 1)


def test_what_cannot_be_written_safely_is_refused() -> None:
    """Behind the end of a document, in a list of lists, instead of a list entry."""
    with pytest.raises(NotEditable):
        with_value("a: 1\n...\n", ("b",), 1)
    with pytest.raises(NotEditable):
        without("a:\n- - 1\n  - 2\n", ("a", "0", "0"))
    with pytest.raises(NotEditable):
        without(ITEMS, ("list", "a", "name"))


@pytest.mark.parametrize(
    ("written", "steps"),
    [("a.b", ("a", "b")), ("a[0].b", ("a", "0", "b")), ('a."b.c".d', ("a", "b.c", "d")), ("a.0", ("a", "0"))],
)
def test_a_path_is_written_with_dots(written: str, steps: tuple[str, ...]) -> None:
    """Numbers in brackets as well, and quotes around a key with a dot in it."""
    assert parse_path(written) == steps
    assert parse_path(path_text(steps)) == steps


@pytest.mark.parametrize("written", ["", ".a", "a..b", "a[", "a[x]", 'a"b'])
def test_what_is_no_path_is_refused(written: str) -> None:
    """With an example of one."""
    with pytest.raises(NotEditable, match="path"):
        parse_path(written)


NAMES = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_-]{0,8}", fullmatch=True)
COMMENTS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=30) | st.floats(-1e6, 1e6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def files(draw: st.DrawFn) -> str:
    """A config as people write it: sections with lists of items, comments and blank lines anywhere, some indentation."""
    lines = ["agent:", "  location: {0: acme}"]
    names = draw(st.lists(NAMES, max_size=4, unique=True))
    indent = draw(st.sampled_from([0, 2, 4]))
    deeper = draw(st.sampled_from([2, 4]))

    def between(column: int) -> None:
        for _ in range(draw(st.integers(0, 2))):
            lines.append(" " * column + f"# {draw(COMMENTS)}" if draw(st.booleans()) else "")

    if names:
        between(0)
        lines.append("items:" + draw(st.sampled_from(["", "  # all"])))
        for name in names:
            between(indent)
            lead = " " * indent
            lines.append(f"{lead}-{' ' * (deeper - 1)}name: {draw(st.sampled_from([name, repr(name)]))}")
            for key in draw(st.lists(st.sampled_from("xyz"), unique=True, max_size=3)):
                between(indent + deeper)
                value = draw(
                    st.sampled_from(["1", "'a b'", '"c"', "[1, 2]", "{ a: b }", "|\n" + " " * 12 + "t # no", "~", ""])
                )
                lines.append(
                    f"{lead}{' ' * deeper}{key}: {value}{draw(st.sampled_from(['', ' # c'])) if '|' not in value else ''}"
                )
            between(indent + deeper)
    between(0)
    if draw(st.booleans()):
        lines += ["last:", "  z: 1"]
        between(2)
    text = draw(st.sampled_from(["\n", "\r\n"])).join("\n".join(lines).split("\n"))
    return text + ("\n" if draw(st.booleans()) and "\r" not in text else "")


@settings(max_examples=120, deadline=None)
@given(files(), NAMES, st.dictionaries(NAMES, VALUES, max_size=3), st.sampled_from(["items", "fresh"]))
def test_adding_an_item_and_removing_it_gives_the_text_back(
    text: str, name: str, body: dict[str, object], section: str
) -> None:
    """Byte for byte, whatever the item, and however the file is written."""
    if name in {str(item["name"]) for item in (plain_of(text).get("items") or ())}:
        name += "-2"
    item = {**body, "name": name}
    if text.endswith("t # no"):  # a block of text that is the last line and does not end: whatever follows would end it
        with pytest.raises(NotEditable, match="something else would change"):
            with_item(text, (section,), item)
        return
    added = with_item(text, (section,), item)
    assert plain_of(added)[section][-1] == item
    assert without(added, (section, name)) == text


@settings(max_examples=120, deadline=None)
@given(files(), st.data())
def test_the_comments_of_others_survive_every_edit(text: str, data: st.DataObject) -> None:
    """And so do the very lines of the other items; the values are those from before, with the change."""
    items = plain_of(text).get("items") or []
    if not items:
        return
    names = [str(item["name"]) for item in items]
    name = data.draw(st.sampled_from(names))
    others = {other: text_of(text, ("items", other)) for other in names if other != name}
    edits = [
        lambda: with_value(text, ("items", name, "x"), data.draw(VALUES)),
        lambda: with_value(text, ("items", name, "new", "deep"), data.draw(VALUES)),
        lambda: with_value(text, ("agent", "location", "1"), "site"),
        lambda: without(text, ("items", name)),
    ]
    try:
        new = data.draw(st.sampled_from(edits))()
    except NotEditable:
        return
    for other, own in others.items():
        assert text_of(new, ("items", other)).rstrip() == own.rstrip()
    above, _, below = text.partition("items:")
    assert above.partition("location")[0] == new.partition("location")[0]
    assert [line for line in above.splitlines() if "#" in line] == [
        line for line in new.partition("items:")[0].splitlines() if "#" in line
    ] or "items:" not in new
    if "last:" in below:
        assert new.endswith(below[below.index("last:") :])


@settings(max_examples=120, deadline=None)
@given(files(), VALUES, VALUES)
def test_a_value_that_is_set_is_read_again(text: str, first: object, second: object) -> None:
    """Also over another one, and a key that was added goes without a trace."""
    once = with_value(text, ("agent", "new"), first)
    assert without(once, ("agent", "new")) == text
    twice = with_value(once, ("agent", "new"), second)
    assert plain_of(twice)["agent"]["new"] == second


@settings(max_examples=80, deadline=None)
@given(st.sampled_from([PLANT, SHARED, ITEMS]), st.integers(0, 120), st.integers(0, 120), st.integers(0, 40), VALUES)
def test_a_damaged_file_is_changed_as_meant_or_refused(
    whole: str, first: int, second: int, place: int, value: object
) -> None:
    """Lines left out of an example at random: either the values are the old ones with this change, or nothing comes of it."""
    lines = [line for number, line in enumerate(whole.splitlines(keepends=True)) if number not in (first, second)]
    text = "".join(lines)
    root, faults = compose(text)
    if faults or root is None:
        return
    paths = [path for path, _ in all_below(spans(text)) if path]
    path = paths[place * 7 % len(paths)]
    for change in (
        lambda: with_value(text, path, value),
        lambda: with_value(text, (*path, "new"), value),
        lambda: without(text, path),
        lambda: with_item(text, path, value),
        lambda: with_key(text, path, "new"),
        lambda: with_text(text, path, text_of(text, path)),
    ):
        try:
            new = change()
        except NotEditable:
            continue
        assert compose(new)[1] == []


def plain_of(text: str) -> dict[str, object]:
    root, faults = compose(text)
    assert not faults
    assert root is not None
    found = plain(root)
    assert isinstance(found, dict)
    return found
