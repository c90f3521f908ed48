"""The page in a real browser: no request, faults at a glance, keyboard, both themes, many functions, hostile texts."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from logferry.cli.report.page import page as render
from support.browser import NO_BROWSER, PROGRAM, OpenPage, chromium, colors
from support.report_pages import LOST, Pages, make_pages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=NO_BROWSER)
HOSTILE = (
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    '"><svg onload=window.hacked=1>',
    "javascript:window.hacked=1",
    "';window.hacked=1;'",
    "${window.hacked = 1}",
    "<!--<script>",
    "\u202egnihsihp\u2066",
    "line\nbreak; rm -rf x",
    "@@SCRIPT@@",
)

SHELL = "s3://bucket/$(touch x) '`<b>"
"""Destination that a shell would execute without quotes."""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Pages:
    """Give the pages of generated objects."""
    return make_pages(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def browser(pages: Pages) -> Iterator[Browser]:
    """Give one browser for all tests of this file. The pages are made before it: it has a running event loop."""
    assert pages.small.exists()
    with chromium() as started:
        yield started


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., OpenPage]]:
    """Give a function that opens a page. After the test, each opened page is checked."""
    every: list[OpenPage] = []

    def start(**options: Any) -> OpenPage:
        every.append(OpenPage(browser, **options))
        return every[-1]

    yield start
    try:
        for one in every:
            one.check()
    finally:
        for one in every:
            one.close()


def card(page: Page, label: str) -> str:
    """Return the text of a card."""
    return page.get_by_role("group", name=label, exact=True).inner_text()


def run(command: str, pages: Pages) -> subprocess.CompletedProcess[str]:
    """Run a command that the page offers, on the objects from which the page was made."""
    program, *words = shlex.split(command)
    assert program == "logferry"
    words = [f"file://{pages.folder}/small" if word == pages.destination else word for word in words]
    main = [sys.executable, "-c", "from logferry.cli.main import main; main()"]
    return subprocess.run([*main, *words], capture_output=True, text=True, timeout=60, check=False)


def test_page_shows_the_totals_of_the_stored_records(pages: Pages, opened: Callable[..., OpenPage]) -> None:
    """The cards have the numbers of the generated records, without any request."""
    page = opened().open(pages.small)
    assert "Incomplete" in card(page, "Proof")
    assert "2 segments missing" in card(page, "Proof")
    assert str(pages.invocations) in card(page, "Invocations")
    assert page.locator(".lane").count() == pages.environments
    assert page.get_by_role("heading", level=1).inner_text() == pages.destination
    assert page.locator("#latency .bar").count() > 2
    assert page.locator("#cost tbody tr").count() == 6


def test_planted_hole_is_hatched_at_its_place(pages: Pages, browser: Browser, opened: Callable[..., OpenPage]) -> None:
    """The removed objects are a red hatched area in the first lane, between the objects around them."""
    page = opened().open(pages.small)
    gaps = page.locator(".lane .gap")
    assert gaps.count() == 1
    lane = page.locator(".lane").first
    assert lane.locator(".gap").count() == 1
    assert LOST in str(lane.get_attribute("aria-label"))
    area, boxes = gaps.bounding_box(), lane.locator("svg").bounding_box()
    assert area
    assert boxes
    assert area["width"] >= 14
    assert boxes["x"] <= area["x"]
    assert area["x"] + area["width"] <= boxes["x"] + boxes["width"]
    shown = colors(browser, gaps.screenshot())
    red = sum(r > 170 and g < 80 and b < 80 for r, g, b in shown)
    pale = sum(r > 230 and g > 200 and b > 200 for r, g, b in shown)
    assert 0.15 < red / len(shown) < 0.8
    assert 0.15 < pale / len(shown) < 0.8


def test_every_kind_of_fault_is_hatched_and_a_reported_loss_looks_different(
    pages: Pages, opened: Callable[..., OpenPage]
) -> None:
    """Each faulty lane is on top. "Show" in the list of faults leads to its place."""
    page = opened().open(pages.planted)
    faulty = page.locator(".lane.faulty")
    assert faulty.count() == page.locator(".lane .gap").count() == 10
    assert page.locator(".lane").nth(9).locator(".gap").count() == 1
    assert page.locator(".lane .lost").count() == 1
    page.get_by_role("button", name="Show on the time line: segment 3: 3 lines duplicated").press("Enter")
    assert page.locator("#details h3").inner_text() == "Fault: segment 3: 3 lines duplicated"
    assert page.locator(".lane:focus .focus[visibility=visible]").count() == 1


def test_complete_report_has_no_hatch(pages: Pages, opened: Callable[..., OpenPage]) -> None:
    """Without a fault, nothing is hatched and the proof is complete."""
    page = opened().open(pages.complete)
    assert "Complete" in card(page, "Proof")
    assert page.locator(".lane .gap").count() == 0
    assert page.locator(".lane .fail").count() > 0


def test_concurrent_invocations_are_drawn_below_each_other(pages: Pages, opened: Callable[..., OpenPage]) -> None:
    """Managed Instances run several invocations at a time in one environment."""
    page = opened().open(pages.complete)
    page.get_by_role("button", name="managed").click()
    path = str(page.locator(".lane .invoke").get_attribute("d"))
    assert len(set(re.findall(r"M[\d.]+ ([\d.]+)", path))) > 1
    page.get_by_role("button", name="orders-api").click()
    path = str(page.locator(".lane .invoke").first.get_attribute("d"))
    assert len(set(re.findall(r"M[\d.]+ ([\d.]+)", path))) == 1


def test_every_part_is_usable_with_the_keyboard(pages: Pages, opened: Callable[..., OpenPage]) -> None:
    """Skip link, lanes, marks, zoom, details and copying need no pointer."""
    page = opened().open(pages.small)
    press = page.keyboard.press
    press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the time line"
    press("Enter")
    press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Zoom in"
    press("Enter")
    assert "from" in page.locator("#shown-range").inner_text()
    press("Tab")
    press("Tab")
    press("Enter")
    assert page.locator("#shown-range").inner_text() == ""
    page.locator(".lane").first.focus()
    press("ArrowDown")
    assert page.evaluate("document.activeElement === document.querySelectorAll('.lane')[1]")
    press("ArrowUp")
    press("Home")
    assert "Init phase" in page.locator("#details h3").inner_text()
    press("ArrowRight")
    for _ in range(100):
        if "Fault" in page.locator("#details h3").inner_text():
            break
        press("ArrowRight")
    assert page.locator("#details h3").inner_text() == f"Fault: {LOST}"
    press("Shift+ArrowRight")
    press("+")
    press("-")
    press("0")
    press("Escape")
    assert not page.locator("#details").is_visible()


def test_keyboard_chooses_a_function_and_copies_the_command_of_a_request(
    pages: Pages, opened: Callable[..., OpenPage]
) -> None:
    """The choice changes cards, lanes and tables. A request ID is a button for its command."""
    page = opened().open(pages.small)
    page.get_by_label("Filter functions by name").fill("web")
    assert page.locator("#functions tbody tr").count() == 1
    page.keyboard.press("Tab")
    for _ in range(20):
        if page.evaluate("document.activeElement.closest('tbody') !== null"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert "orders-web" in page.locator(".chip").inner_text()
    assert page.locator(".lane").count() == pages.web_environments
    assert "Complete" in card(page, "Proof")
    request = page.locator("#invocations .id").first
    request.focus()
    page.keyboard.press("Enter")
    page.locator("#toast.shown").wait_for()
    copied = page.locator("#toast").inner_text()
    identity = request.inner_text()
    assert f"logferry logs {pages.destination} --function orders-web --request-id {identity} --since 2026-" in copied
    done = run(copied.partition(": ")[2], pages)
    assert done.returncode == 0, done.stderr
    assert "REPORT" in done.stdout
    page.get_by_role("button", name="Show all functions").press("Enter")
    assert page.locator(".chip").count() == 0


def test_pointer_shows_details_and_zooms(pages: Pages, opened: Callable[..., OpenPage]) -> None:
    """Hover shows the mark at the pointer, a click keeps it, and dragging zooms."""
    page = opened().open(pages.small)
    area = page.locator(".lane .gap").bounding_box()
    assert area
    x, y = area["x"] + area["width"] / 2, area["y"] + area["height"] / 2
    page.mouse.move(x, y)
    assert page.locator("#tip").inner_text().startswith(f"Fault: {LOST}")
    page.mouse.click(x, y)
    done = run(page.locator("#details code").last.inner_text(), pages)
    assert done.returncode == 1, done.stderr
    assert "INCOMPLETE: 2 segments missing" in done.stdout
    page.mouse.move(area["x"] - 40, y)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] + 40, y)
    page.mouse.up()
    wide = page.locator(".lane .gap").bounding_box()
    assert wide
    assert wide["width"] > 2 * area["width"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_theme_follows_the_system_and_the_button(pages: Pages, opened: Callable[..., OpenPage], theme: str) -> None:
    """The background is light or dark. The button changes it, and printing is always light."""
    page = opened(theme=theme).open(pages.complete)

    def lightness() -> float:
        color = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", color)[:3])) / 3

    assert (lightness() > 128) == (theme == "light")
    button = page.get_by_role("button", name=re.compile("Theme"))
    button.press("Enter")
    assert lightness() > 128
    button.press("Enter")
    assert lightness() < 128
    page.emulate_media(media="print")
    assert lightness() > 128
    assert not page.locator("#timeline-tools").is_visible()
    assert page.pdf().startswith(b"%PDF")


@pytest.mark.parametrize("width", [1280, 800, 400])
def test_page_is_not_wider_than_the_window(pages: Pages, opened: Callable[..., OpenPage], width: int) -> None:
    """The page is not cut off at the side."""
    page = opened(width=width).open(pages.small)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_controls_have_accessible_names(pages: Pages, opened: Callable[..., OpenPage]) -> None:
    """Each control and each lane has a name, and headings are in order."""
    page = opened().open(pages.small)
    names = page.evaluate(
        "[...document.querySelectorAll('button, input, a, [tabindex]')].filter((node) => node.checkVisibility())"
        ".map((node) => node.getAttribute('aria-label') || node.getAttribute('aria-labelledby') || node.textContent)"
    )
    assert len(names) > 40
    assert all(name.strip() for name in names)
    levels = page.evaluate("[...document.querySelectorAll('h1, h2')].map((node) => node.tagName)")
    assert levels[0] == "H1"
    assert set(levels[1:]) == {"H2"}


def test_many_functions_and_environments_stay_usable(pages: Pages, opened: Callable[..., OpenPage]) -> None:
    """Lanes are binned, the faulty environment has its own lane on top, and the filter finds a function."""
    page = opened().open(pages.large)
    assert page.locator("#functions tbody tr").count() == pages.functions
    lanes = page.locator(".lane")
    assert lanes.count() <= 600
    assert lanes.first.locator(".gap").count() == 1
    assert page.locator(".lane.shared .invoke").count() > 300
    assert page.evaluate("document.querySelectorAll('*').length") < 25_000
    page.get_by_label("Filter functions by name").fill("service-123")
    assert page.locator("#functions tbody tr").count() == 1
    assert page.locator(".lane").count() == 1
    page.get_by_role("button", name="service-123").click()
    assert page.get_by_role("button", name="Copy the command for a report with each environment").count() == 1
    page.locator(".lane").first.focus()
    page.keyboard.press("ArrowRight")
    assert "invocation" in page.locator("#details h3").inner_text()


@dataclass
class Texts:
    """Replacement of each text of a model by hostile texts, in turn."""

    number: int = 0

    def poisoned(self, value: Any) -> Any:
        """Return the value with hostile texts. The names of columns stay, because they are of the page."""
        if isinstance(value, dict):
            return {key: each if key == "columns" else self.poisoned(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.poisoned(each) for each in value]
        if isinstance(value, str):
            self.number += 1
            return HOSTILE[self.number % len(HOSTILE)]
        return value


def test_hostile_texts_are_inert(pages: Pages, opened: Callable[..., OpenPage]) -> None:
    """No text of the model is executed, becomes an element, or makes a request."""
    file = pages.folder / "hostile.html"
    texts = Texts()
    model = texts.poisoned(pages.model)
    model["subject"]["destination"] = SHELL
    file.write_text(render(model))
    assert texts.number > 500
    page = opened().open(file)
    page.locator(".lane").first.focus()
    for key in ["ArrowRight"] * 12:
        page.keyboard.press(key)
    for button in page.locator("#functions tbody button").all():
        button.click()
    for button in page.locator("#errors button").all():
        button.click()
    if page.locator(".chip button").count():
        page.locator(".chip button").click()
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("document.querySelectorAll('img, iframe, object, [onerror], [onload]').length") == 0
    assert page.evaluate("document.querySelectorAll('script').length") == 2
    assert "<img src=x" in page.locator("main").inner_text()
    commands = page.evaluate("[...document.querySelectorAll('[title]')].map((node) => node.title)")
    copied = [shlex.split(text.removeprefix("Copy: ")) for text in commands if text.startswith("Copy: logferry logs")]
    assert copied
    for program, name, destination, *options in copied:
        assert (program, name, destination) == ("logferry", "logs", SHELL)
        assert options[-4::2] == ["--request-id", "--since"]
        assert not [text for text in options if "\n" in text or "\u202e" in text]
        assert {text for text in options[:-1] if not text.startswith("--")} <= set(HOSTILE)
