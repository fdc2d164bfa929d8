"""The page holds all that it shows: no script, nothing from elsewhere; and its numbers are those of the results."""

from __future__ import annotations

import builtins
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from broker.bench.comparison import Comparison, single
from broker.bench.drawing import ChartsMissing
from broker.bench.environment import Environment
from broker.bench.findings import answers
from broker.bench.page import check, render
from broker.bench.results import Results, from_json, of_comparison, to_json
from broker.bench.sweep import Point
from broker.bench.units import shown
from tests.bench.parts import TCP, WORKLOAD, WS, comparison, measured
from tests.bench.test_drawing import without

HERE = Environment(
    version="triomq 1 (compiled)",
    command="broker bench compare --rounds 6 --html report.html",
    date="2026-11-22T01:02:03+00:00",
    cpu="A <fast> CPU",
    cores=2,
    memory=8 << 30,
)
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """What is in a page, and whether its tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.identifiers: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.identifiers += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\N{NO-BREAK SPACE}", " ").split())


def swept() -> Results:
    points = [Point({"payload": float(size)}, comparison(2, ratio=ratio)) for size, ratio in ((16, 1.4), (1024, 1.2))]
    return Results(environment=HERE, points=points)


@pytest.fixture(scope="module")
def plain() -> str:
    return render(of_comparison(comparison(6), HERE))


@pytest.fixture(scope="module")
def grown() -> str:
    return render(swept())


@pytest.fixture(params=["plain", "grown"])
def text(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


def test_it_needs_nothing_from_elsewhere(text: str) -> None:
    page = Page(text)
    assert page.open == []
    assert not {"script", "link", "iframe", "img", "object", "embed", "base", "image", "use"} & set(page.tags)
    for tag, name, value in page.attributes:
        assert name not in ("src", "srcset", "href", "xlink:href", "data", "action"), (tag, name, value)
        assert not name.startswith("on"), (tag, name)
        assert not re.search(r"https?:|url\(", value) or name.startswith("xmlns"), (tag, name, value)
    style = "".join(re.findall(r"<style>(.*?)</style>", text, re.DOTALL))
    assert "@import" not in style
    assert "url(" not in style


def test_it_is_sound(text: str) -> None:
    page = Page(text)
    assert text.startswith("<!doctype html>")
    assert ("html", "lang", "en") in page.attributes
    assert len(page.identifiers) == len(set(page.identifiers))
    assert len(text) < 1_000_000
    for light in re.findall(r"var\((--\w+)\)", text):
        assert f"{light}:" in text, light


def test_it_is_readable_without_seeing(text: str) -> None:
    page = Page(text)
    drawings = [value for tag, name, value in page.attributes if (tag, name) == ("div", "role")]
    figures = page.tags.count("figure")
    assert drawings == ["img"] * 2 * figures
    assert page.tags.count("details") == figures
    assert all(value for _, name, value in page.attributes if name == "aria-label")


def test_it_is_right_in_the_dark_on_paper_and_on_a_telephone(text: str) -> None:
    for condition in ("(prefers-color-scheme: dark)", "print", "(max-width: 480px)"):
        assert f"@media {condition}" in text
    assert '<meta name="viewport"' in text


def test_the_answer_comes_first(plain: str) -> None:
    words = Page(plain).text
    first, *rest = (sentence.replace("\N{NO-BREAK SPACE}", " ") for sentence in answers(comparison(6)))
    assert words.index(first) < 400
    for sentence in rest:
        assert sentence in words
    assert words.index(first) < words.index("Before you believe it") < words.index("Latency by percentile")
    assert words.index("Latency by percentile") < words.index("All figures") < words.index("How it was measured")
    assert "TCP and WebSocket compared" in words


def test_the_numbers_are_those_of_the_results(plain: str) -> None:
    words = Page(plain).text
    found = comparison(6)
    for label in ("tcp", "ws"):
        for name in ("cpu", "throughput", "p50", "p99.9", "connect_p50", "connect_bytes", "memory", "sent_bytes"):
            figure = found.figure(label, name)
            assert figure is not None
            assert shown(figure.value, figure.metric.unit) in words
    assert "6 B 6 B 2 of header and 4 of masking key" in words


def test_where_and_how_it_was_made(plain: str) -> None:
    assert "A &lt;fast&gt; CPU" in plain
    words = Page(plain).text
    assert HERE.command in words
    assert "triomq 1 (compiled)" in words
    assert "22 November 2026, 01:02" in words
    assert "8 GiB" in words
    assert TCP.url in words


def test_what_comes_from_a_file_gives_the_same_page(plain: str) -> None:
    assert render(from_json(to_json(of_comparison(comparison(6), HERE)))) == plain


def test_a_sweep_says_where_it_is_most(grown: str) -> None:
    words = Page(grown).text
    assert (
        "Over WebSocket, a message's CPU is 1.20 to 1.40 times what it is over TCP: least at payload 1,024, most at "
        "payload 16." in words
    )
    assert "TCP and WebSocket compared by payload" in words
    assert "All figures at payload 16" in words


def test_one_run() -> None:
    words = Page(render(of_comparison(single(replace(WORKLOAD, url=WS.url), measured()), HERE))).text
    assert "MQTT with WebSocket measured" in words
    assert "50,000 messages a second over WebSocket." in words
    assert "against" not in words[:600]


def test_words_of_others_are_not_taken_for_html() -> None:
    found = comparison(1)
    evil = "<script>alert(1)</script>"
    found.subjects[1] = replace(WS, software=evil)
    found.notes.append(evil)
    found.rounds[0].measured.trouble[evil] = 1
    text = render(of_comparison(found, replace(HERE, command=evil)))
    assert evil not in text
    assert text.count("&lt;script&gt;") == 4


def test_strange_names_of_subjects() -> None:
    found = comparison(1)
    strange = "a\"b<c>&'d{{7*7}}"
    found = Comparison(
        subjects=[TCP, replace(WS, label=strange)],
        workload=found.workload,
        rounds=[found.rounds[0], replace(found.rounds[1], subject=strange)],
    )
    page = Page(render(of_comparison(found, HERE)))
    assert page.open == []
    assert strange in page.text
    assert "49" not in page.tags


@pytest.mark.parametrize("name", ["vl_convert", "jinja2"])
def test_what_it_needs_is_missing(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(builtins, "__import__", without(name))
    with pytest.raises(ChartsMissing, match=r"--html needs two libraries more.*pip install 'triomq\[report\]'"):
        check()
    with pytest.raises(ChartsMissing):
        render(swept())
