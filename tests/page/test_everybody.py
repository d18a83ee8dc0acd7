"""The page by keyboard, by screen reader, in the dark, on a phone."""

import re

import pytest
from playwright.sync_api import Page, expect

from .browser import Visitor
from .visits import classify, classify_lines, faults_that_axe_finds, filled, wait_for_table


def contrast(first: str, second: str) -> float:
    """The contrast of two CSS colours, 1 to 21 (WCAG 2.2, contrast ratio)."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        ]
        return sum(
            weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True)
        )

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_everything_works_by_keyboard_alone(page: Page) -> None:
    keys = page.keyboard
    keys.press("Tab")
    expect(page.get_by_role("link", name="Skip to the text field")).to_be_focused()
    keys.press("Enter")
    keys.type("A fine film.")
    keys.press("Control+Enter")
    expect(page.locator("#one-bars li")).not_to_have_count(0)
    page.get_by_label("One text a line").focus()
    keys.type("Fine.\nDull.")
    keys.press("Tab")
    keys.press("Enter")
    wait_for_table(page)
    expect(page.get_by_role("button", name="Download CSV")).to_be_focused()
    with page.expect_download():
        keys.press("Enter")


def test_every_control_is_reached_by_tab_and_shows_its_focus(page: Page) -> None:
    classify_lines(page, ["Fine.", "Dull."])
    page.locator("#latest-rows .row").first.wait_for()
    page.get_by_role("button", name="Pause live updates").click()
    controls = "a[href], button, select, textarea, input, summary"
    # A tab that is not chosen is reached from the chosen one by the arrows.
    controls = ", ".join(f"{control}:not([tabindex='-1'])" for control in controls.split(", "))
    expected = page.locator(controls).filter(visible=True).count()
    page.evaluate("document.activeElement.blur()")
    seen: set[str] = set()
    unmarked: list[str] = []
    for _ in range(expected + 10):
        page.keyboard.press("Tab")
        found = page.evaluate(
            """(controls) => {
                const active = document.activeElement;
                if (!active.matches(controls)) return null;
                // The file field is drawn by its label.
                const drawn = active.type === "file" ? active.nextElementSibling : active;
                const index = [...document.querySelectorAll(controls)].indexOf(active);
                return [String(index), getComputedStyle(drawn).outlineStyle, active.outerHTML];
            }""",
            controls,
        )
        if found is None:
            continue
        seen.add(found[0])
        if found[1] != "solid":
            unmarked.append(found[2])
    assert unmarked == []
    assert len(seen) == expected


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_no_fault(visitor: Visitor, width: int, dark: bool) -> None:
    page = filled(visitor, width=width, dark=dark)
    assert faults_that_axe_finds(page) == ""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_what_axe_cannot_see_has_contrast_as_well(visitor: Visitor, dark: bool) -> None:
    page = visitor.open(dark=dark)
    classify(page, "A fine film.")
    ground, words, *tones = page.evaluate(
        """() => {
            const swatch = document.querySelector(".swatch");
            const named = ["negative", "neutral", 0, 1, 2, 3, 4, 5, 6, 7];
            return [
                getComputedStyle(document.querySelector("#figures")).backgroundColor,
                getComputedStyle(document.querySelector("#counts-chart text")).fill,
                ...named.map((name) => {
                    swatch.className = `swatch tone-${name}`;
                    return getComputedStyle(swatch).backgroundColor;
                }),
            ];
        }"""
    )
    assert contrast(words, ground) >= 4.5
    assert min(contrast(tone, ground) for tone in tones) >= 3


def test_dark_is_dark_and_light_is_light(visitor: Visitor) -> None:
    def brightness(page: Page) -> int:
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in re.findall(r"\d+", ground)[:3]) // 3

    assert brightness(visitor.open(dark=True)) < 40
    assert brightness(visitor.open(dark=False)) > 220


def test_a_phone_never_scrolls_sideways(visitor: Visitor) -> None:
    page = filled(visitor, width=360, dark=False)
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_the_page_loads_nothing_from_elsewhere_and_has_no_inline_code(page: Page) -> None:
    # That no request leaves the origin is asserted after every test, by `visitor`.
    policy = page.request.get(page.url).headers["content-security-policy"]
    assert policy.startswith("default-src 'self'")
    assert page.locator("[style]:not(.fill), script:not([src]), style").count() == 0
