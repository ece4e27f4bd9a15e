# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Page and Markdown have the same statements, in order and escaped, for runs of any size and outcome."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence import tables
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.report import (
    MAX_CURVES,
    curve_text,
    render_html,
    render_markdown,
    tiles,
    title,
)

from tests.builders.journals import made_evidence

MIXED = ["uninterrupted", "completed", "stalled", "restarted", "failed", "unknown"]


class Page(HTMLParser):
    """The page's text, elements and ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def plain(markdown: str) -> str:
    return html.unescape(markdown).replace("\u200b", "")


def test_page_and_markdown_carry_what_the_evidence_says() -> None:
    evidence = made_evidence(8, MIXED)
    page, markdown = Page(render_html(evidence)).text, plain(render_markdown(evidence))
    for text in (page, markdown):
        assert evidence["overall"]["statement"] in text
        for statement in evidence["statements"]:
            assert statement in text
        for table in tables.all_tables(evidence):
            assert table.title in text
            for cell in (cell for row in table.rows for cell in row):
                assert cell.text in text
                assert cell.note in text
        for name, value in (*tables.environment_facts(evidence), *tables.integrity_facts(evidence)):
            assert name in text
            assert value in text


def test_the_verdict_stands_before_everything_else() -> None:
    page = Page(render_html(made_evidence(8, MIXED))).text
    places = [page.index(text) for text in ("Failed"[1:], "Of 6 experiments", "VMs moved", "Experiments", "Timeline")]
    assert places == sorted(places)


@pytest.mark.parametrize("experiments", [12, 13])
def test_at_most_so_many_curves_and_the_page_says_which(experiments: int) -> None:
    evidence = made_evidence(13, ["uninterrupted"] * (experiments - 1) + ["restarted"])
    text = render_html(evidence)
    assert text.count("<figcaption") == min(experiments, MAX_CURVES)
    assert (f"Only the {MAX_CURVES} of {experiments} experiments" in text) == (experiments > MAX_CURVES)
    first = text[text.index("<figcaption") :]
    assert f"ML-cpu-vm-{experiments - 1:02}: the experiment was restarted" in first[:300], "the worst is always shown"


def test_the_page_needs_nothing_from_elsewhere() -> None:
    text = render_html(made_evidence(8, MIXED))
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "embed", "img", "base"} & {tag for tag, _ in page.tags}
    assert not re.findall(r"url\((?!#)|@import|\son\w+=", text)
    references = [v for _, attributes in page.tags for k, v in attributes.items() if k in ("href", "xlink:href", "src")]
    assert all(reference is not None and reference.startswith("#") for reference in references)


def test_headings_go_in_order_and_each_figure_has_words() -> None:
    page = Page(render_html(made_evidence(8, MIXED)))
    headings = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert headings[0] == 1
    assert set(headings[1:]) == {2}
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    pictures = [attributes for tag, attributes in page.tags if attributes.get("role") == "img"]
    assert len(pictures) == 2 + len(MIXED)
    assert {attributes["aria-describedby"] in ids for attributes in pictures} == {True}
    assert all(attributes["aria-label"] for attributes in pictures)


def test_what_was_changed_afterwards_is_shouted() -> None:
    evidence = made_evidence(1)
    evidence["journal"].update(broken_at=4, why="it is not an event", samples_as_sealed=False)
    for text in (Page(render_html(evidence)).text, plain(render_markdown(evidence))):
        assert "The journal was changed: line 4 is wrong (it is not an event)." in text
        assert "The samples were changed: their SHA-256 is not the one in the journal." in text


def test_the_same_evidence_makes_the_same_page() -> None:
    assert render_html(made_evidence(8, MIXED)) == render_html(made_evidence(8, MIXED))


def test_hostile_names_stay_text_in_markdown() -> None:
    name = "a|b`c*d_e[f](g)#h\\i~j&lt;"
    evidence = made_evidence(1, prefix=name)
    lines = render_markdown(evidence).splitlines()
    row = next(line for line in lines if line.startswith("| ") and "esx-06" in line)
    assert row.count("|") == len(tables.moves_table(evidence).heads) + 1
    assert not set("`*[]~\\") & set(row)
    assert f"{name}-00" in plain(row)


HOSTILE = "- x\n\n| [a](http://evil.example) www.evil.example @all $x$ <b>&amp; \"'"


def test_text_from_outside_makes_neither_markup_nor_links() -> None:
    evidence = made_evidence(2, ["uninterrupted"], prefix=HOSTILE)
    evidence["experiments"][0].update(owner=HOSTILE, provider=HOSTILE, description=HOSTILE, detail=HOSTILE)
    evidence["experiments"][0]["capabilities"]["note"] = HOSTILE
    evidence["refusals"][0]["reasons"][0].update(object=HOSTILE, hint=HOSTILE)
    evidence["placement"][0]["fault_domain"] = HOSTILE
    evidence["statements"] = [HOSTILE]
    harmless = render_markdown(made_evidence(2, ["uninterrupted"]))
    text = render_markdown(evidence)
    for mark in "|<$`*~[]":
        assert text.count(mark) == harmless.count(mark), mark
    assert len(text.splitlines()) == len(harmless.splitlines())
    assert not re.search(r"://|www\.|@(?!&#8203;)|^- [-+=]|^[-+=]\S", text, re.MULTILINE)
    assert " ".join(HOSTILE.split()) in plain(text)
    known = [tag for tag, _ in Page(render_html(made_evidence(2, ["uninterrupted"]))).tags]
    assert [tag for tag, _ in Page(render_html(evidence)).tags if tag in ("a", "b")] == [
        t for t in known if t in ("a", "b")
    ]


@pytest.mark.parametrize("text", ["1. x", "12) x", "+ x", "= x", "---"])
def test_a_name_begins_no_list_and_no_rule(text: str) -> None:
    evidence = {**made_evidence(1), "statements": [text]}
    line = next(line for line in render_markdown(evidence).splitlines() if plain(line) == f"- {text}")
    assert re.match(r"- \d*&#\d+;", line)


@pytest.mark.parametrize(
    ("purpose", "host", "moves", "words"),
    [
        ("evacuate", "esx-05", 8, "Evacuation of esx-05"),
        ("restore", "esx-05", 8, "Restore of esx-05"),
        ("migrate", None, 1, "Move of ML-cpu-vm-00"),
        ("migrate", None, 8, "Move of 8 VMs"),
    ],
)
def test_title(purpose: str, host: str | None, moves: int, words: str) -> None:
    evidence = made_evidence(moves)
    evidence["run"].update(purpose=purpose, host=host)
    assert title(evidence) == words


def test_no_page_shows_a_character_that_is_hidden_or_moves_others() -> None:
    evidence = made_evidence(2, ["uninterrupted"], prefix="a\u202eb\x9bc\x1b[2J\u200b\u2066\r\n# d")
    for text in (render_markdown(evidence), render_html(evidence)):
        assert not [c for c in text if not c.isprintable() and c not in "\n\u00a0"]
    assert evidence["moves"][0]["vm"].isprintable()


def test_the_tiles_say_whose_failure_it_is_and_of_how_many_vms() -> None:
    def tile(evidence: Any, name: str) -> tuple[str, str]:
        return next((figure, note) for key, figure, note in tiles(evidence) if key == name)

    assert tile(made_evidence(1), "VMs moved") == ("1 of 1", "of 2 VMs in all, 1 stays")
    assert tile(made_evidence(1), "Duration of the evacuation") == ("29 s", "")
    lost, left = made_evidence(1, ["lost"]), made_evidence(1, result="timed_out")
    assert (
        tile(lost, "Duration of the evacuation")[1]
        == "the evacuation counts as failed, because not every training is proved to have continued"
    )
    assert tile(left, "Duration of the evacuation")[1] == "the evacuation did not do all that was asked"
    assert tile(lost, "Longest stall") == ("not measured", "a job that ended does not stall")
    figure, note = tile(made_evidence(1, ["unknown"]), "Longest stall")
    assert figure == "0.50 s while watched"
    assert "watched for 26 s; not of the 61 s after that, when it was not seen" in note


def test_the_curve_begins_where_the_table_does() -> None:
    (experiment,) = made_evidence(1)["experiments"]
    assert "Progress was 10 % at 0.0 s, 11 % at 3.0 s (begin of the move), and 24 % at " in curve_text(experiment)
    assert "begin of" not in curve_text({**experiment, "moving": []})
