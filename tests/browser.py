#!/usr/bin/env python3
"""Reports of medmerge in a browser: looks, filters, sorts, prints, and is checked for accessibility.

Each page is opened in Chromium at 1280, 800 and 390 pixels, light and dark: it asks for no other address, has no error,
and does not scroll sideways. Its filter, its sorted tables and its sections are used, with and without JavaScript; it is
printed to PDF; and axe-core finds no serious violation. Needs playwright, axe-playwright-python, pypdf and Chromium:

    medmerge report experiments/quickstart.toml
    python tests/browser.py results/quickstart/report.html [--screenshots FOLDER]

Exits with 1 if something is not so, and with 77 if there is no Chromium.
"""

import argparse
import io
import shutil
import sys
from importlib import resources
from pathlib import Path

from pypdf import PdfReader

WIDTHS = [1280, 800, 390]
SCHEMES = ["light", "dark"]
NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]

OPEN_ALL = "document.querySelectorAll('details').forEach((one) => { one.open = true; })"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
VISIBLE = "[...document.querySelectorAll('[data-text]')].filter((one) => !one.hidden).length"


class Watched:
    """What a page asks for and complains about until it is closed."""

    def __init__(self, context, address, asked, errors):
        self.context, self.address, self.asked, self.errors = context, address, asked, errors

    def close(self):
        outside = [url for url in self.asked if url != self.address and not url.startswith("data:")]
        assert not outside, f"other addresses: {outside}"
        assert not self.errors, self.errors
        self.context.close()


def opened(browser, path, width=1280, scheme="light", javascript=True):
    """A page, and what watches it: close it, or what the page has done wrong is not told."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=javascript)
    page = context.new_page()
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.resolve().as_uri())
    return page, Watched(page.context, path.resolve().as_uri(), asked, errors)


def check_looks(browser, path, screenshots):
    for width in WIDTHS:
        for scheme in SCHEMES:
            page, watched = opened(browser, path, width, scheme)
            for state in ["closed", "open"]:
                if state == "open":
                    page.evaluate(OPEN_ALL)
                assert page.evaluate(OVERFLOW) <= 0, f"{width} pixels, {state}: the page scrolls sideways"
                if screenshots:
                    name = f"{path.parent.name}-{width}-{scheme}-{state}.png"
                    page.screenshot(path=screenshots / name, full_page=state == "closed")
            watched.close()


def check_filter(browser, path):
    page, watched = opened(browser, path)
    everything = page.evaluate(VISIBLE)
    assert everything > 1, "nothing to filter"
    first = page.evaluate("document.querySelector('[data-text]').dataset.text")
    page.get_by_label("Filter").fill(first)
    some = page.evaluate(VISIBLE)
    assert 1 <= some < everything, f"{some} of {everything} match {first!r}"
    page.get_by_label("Filter").fill("no such thing at all")
    assert page.evaluate(VISIBLE) == 0
    page.get_by_label("Filter").fill("")
    assert page.evaluate(VISIBLE) == everything
    watched.close()
    return everything


def check_sorting(browser, path):
    """The first table is sorted by each column in both directions, and keeps its rows; names begin with A."""
    page, watched = opened(browser, path)
    page.evaluate(OPEN_ALL)
    table = page.locator("table.sortable").first
    rows = lambda: table.locator("tbody tr").all_inner_texts()
    before, buttons = rows(), table.locator("thead button")
    assert buttons.count() > 1, "no column can be sorted"
    for column in range(buttons.count()):
        cells = lambda: table.locator(f"tbody tr > :nth-child({column + 1})").all_inner_texts()
        directions = ["descending", "ascending"] if column else ["ascending", "descending"]
        buttons.nth(column).click()
        assert table.locator(f"th[aria-sort={directions[0]}]").count() == 1
        first, first_rows = cells(), rows()
        buttons.nth(column).focus()
        page.keyboard.press("Enter")
        assert table.locator(f"th[aria-sort={directions[1]}]").count() == 1, "the keyboard does not sort"
        assert sorted(first_rows) == sorted(rows()) == sorted(before)
        if column == 0:
            assert first == sorted(first, key=str.casefold) and cells() == first[::-1], first
        elif None not in (numbers := [leading_number(cell) for cell in cells()]):
            assert numbers == sorted(numbers), numbers
    watched.close()


def leading_number(text):
    try:
        return float(text.replace("−", "-").split()[0].strip("*[]‡†"))
    except (ValueError, IndexError):
        return None


def check_sections(browser, path):
    """Sections open and close by mouse and keyboard, without JavaScript, too."""
    for javascript in [True, False]:
        page, watched = opened(browser, path, javascript=javascript)
        assert page.locator("h1").count() == 1 and page.locator("main table").count() > 0
        assert page.get_by_label("Filter").is_visible() == javascript, "a filter that does nothing is not shown"
        section = page.locator("details:not([open])").first
        text = section.locator("> :not(summary)").first
        assert not text.is_visible()
        section.locator("> summary").click()
        # The locator of a closed section would now find another one.
        section = page.locator("details[open]").first
        assert section.locator("> :not(summary)").first.is_visible()
        watched.close()


def check_accessibility(browser, path):
    script = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
    found = 0
    for width, scheme in [(width, scheme) for width in WIDTHS for scheme in SCHEMES]:
        page, watched = opened(browser, path, width, scheme)
        page.evaluate(OPEN_ALL)
        page.evaluate(script)
        violations = page.evaluate("axe.run()")["violations"]
        for violation in violations:
            nodes = violation["nodes"]
            print(f"  {width} pixels, {scheme}: {violation['impact']}: {violation['id']}: {violation['help']}; {len(nodes)} times, as in")
            print(f"    {nodes[0]['html'][:200]}")
        serious = [violation["id"] for violation in violations if violation["impact"] in ("serious", "critical")]
        assert not serious, serious
        found += len(violations)
        watched.close()
    return found


def check_print(browser, path, screenshots):
    """Everything is printed, whatever is closed on the screen, with and without JavaScript."""
    for javascript in [False, True]:
        page, watched = opened(browser, path, javascript=javascript)
        hidden = page.locator("details:not([open]) > :not(summary)").all_inner_texts()
        words = {text.split()[-1] for text in hidden if text.split() and text.split()[-1].isalnum()}
        pdf = page.pdf(format="A4")
        printed = "".join(part.extract_text() for part in PdfReader(io.BytesIO(pdf)).pages)
        missing = [word for word in words if word not in printed]
        assert len(missing) <= len(words) // 10, f"not printed, JavaScript {javascript}: {missing[:5]} of {len(words)}"
        watched.close()
    if screenshots:
        (screenshots / f"{path.parent.name}.pdf").write_bytes(pdf)
    return len(pdf)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", type=Path, nargs="+", metavar="PAGE", help="a report.html")
    parser.add_argument("--screenshots", type=Path, metavar="FOLDER", help="keep pictures of the pages")
    arguments = parser.parse_args()
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        print("there is no Chromium in PATH")
        sys.exit(77)
    if arguments.screenshots:
        arguments.screenshots.mkdir(parents=True, exist_ok=True)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for path in arguments.pages:
            check_looks(browser, path, arguments.screenshots)
            entries = check_filter(browser, path)
            check_sorting(browser, path)
            check_sections(browser, path)
            violations = check_accessibility(browser, path)
            pdf = check_print(browser, path, arguments.screenshots)
            print(f"{path}: {path.stat().st_size // 1000} kB, {entries} entries to filter, {violations} minor violations, "
                  f"{pdf // 1000} kB as PDF")
        browser.close()


if __name__ == "__main__":
    main()
