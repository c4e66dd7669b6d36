"""The site is built without a warning and without a network, and a browser reads it from disk: search, phone, dark."""

import logging
import os
import re
import time
from pathlib import Path

import pytest
from browser import complaints, start_browser
from doc_pages import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

CONTRAST = """
const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
const linear = v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = rgb => { const c = rgb.map(v => linear(v / 255));
  return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2]; };
const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3]));
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode, element = node.parentElement;
  const shown = element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  if (!node.textContent.trim() || !shown) continue;
  if (element.closest("script, style, template, .headerlink, .md-search__output, .md-clipboard")) continue;
  const layers = [];
  for (let at = element; at; at = at.parentElement) layers.unshift(parse(getComputedStyle(at).backgroundColor));
  let back = [255, 255, 255];
  for (const layer of layers) back = over(layer, back);
  const style = getComputedStyle(element);
  let opacity = 1;
  for (let at = element; at; at = at.parentElement) opacity *= Number(getComputedStyle(at).opacity);
  const color = parse(style.color);
  const front = over([color[0], color[1], color[2], color[3] * opacity], back);
  const [a, b] = [light(front), light(back)].sort((x, y) => y - x);
  const large = parseFloat(style.fontSize) >= 24;
  const ratio = (a + 0.05) / (b + 0.05);
  const said = `${ratio.toFixed(2)} ${element.className} ${node.textContent.trim().slice(0, 40)}`;
  if (ratio < (large ? 3 : 4.5)) found.push(said);
}
return [...new Set(found)].slice(0, 20);
"""


TAGS = re.compile(
    "a|article|aside|b|blockquote|body|br|button|code|details|div|em|footer|form|h[1-6]|head|header|hr|html|iframe|img|"
    "input|label|li|link|main|meta|nav|noscript|ol|p|path|picture|pre|script|source|span|strong|style|sub|summary|sup|"
    "svg|table|tbody|td|th|thead|title|tr|ul"
)
"""Elements of the site's pages; any other is a name in angle brackets that was taken for one."""


class Warnings(logging.Handler):
    """Keeps what the build warns of."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.said = []

    def emit(self, record):
        self.said.append(record.getMessage())


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site, and what was warned of."""
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder, warnings = tmp_path_factory.mktemp("site"), Warnings()
    logging.getLogger("mkdocs").addHandler(warnings)
    before = os.environ.get("NO_MKDOCS_2_WARNING")
    os.environ["NO_MKDOCS_2_WARNING"] = "1"
    try:
        build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder)))
    finally:
        logging.getLogger("mkdocs").removeHandler(warnings)
        os.environ.pop("NO_MKDOCS_2_WARNING") if before is None else None
    return folder, warnings.said


def targets(path, text):
    """Links and files that a built page names, as path and anchor."""
    text = re.sub(r"<(script|style)\b[^>]*>.*?</\1>", "", text, flags=re.DOTALL)
    for name in re.findall(r'(?:href|src|srcset)="([^"]*)"', text):
        if not re.match(r"[a-z]+:", name):
            file, _, anchor = name.partition("#")
            yield (path.parent / file).resolve() if file else path.resolve(), anchor


def test_the_build_is_without_warnings_and_every_page_whole(site):
    """Nothing is loaded from elsewhere, every link and anchor exists, and no Markdown is left as it was typed."""
    folder, warned = site
    assert warned == []
    pages = {path.resolve(): path.read_text(encoding="utf-8") for path in folder.rglob("*.html")}
    assert len(pages) > 70
    ids = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in pages.items()}
    wrong = []
    for path, text in pages.items():
        name = path.relative_to(folder.resolve())
        wrong += [f"{name}: <{one}>" for one in set(re.findall(r"<([a-zA-Z][\w-]*)", text)) if not TAGS.fullmatch(one)]
        wrong += [
            f"{name} loads {one}" for one in re.findall(r'<(?:script|link|img|iframe)[^>]*="(https?:[^"]*)"', text)
        ]
        if name != Path("404.html"):
            for target, anchor in targets(path, text):
                if not target.exists():
                    wrong.append(f"{name}: {target} is not there")
                elif anchor and target in ids and anchor not in ids[target] and not anchor.startswith("__"):
                    wrong.append(f"{name}: {target.name} has no #{anchor}")
        plain = re.sub(r"<(pre|code|script|style)\b.*?</\1>", "", text, flags=re.DOTALL)
        wrong += [f"{name}: {one}" for one in re.findall(r"\|---|```|\]\([\w#]+|<p>[-*] |\n- ", plain)]
    assert not wrong, "\n".join(sorted(set(wrong))[:40])


@pytest.fixture(scope="module")
def browser():
    """One browser for all pages of this file."""
    started = start_browser()
    yield started
    started.quit()


def seen_as(browser, width, dark):
    """Let pages be seen at this width, in light or dark colours; what was complained of before is forgotten."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    complaints(browser)


def open_page(browser, folder, name):
    browser.get((folder / name).as_uri())


def wait_for(browser, selector):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        shown = [one for one in browser.find_elements("css selector", selector) if one.is_displayed()]
        if shown:
            return shown
        time.sleep(0.1)
    raise AssertionError(f"nothing of {selector} is shown")


def test_it_is_read_from_disk_at_a_desk(site, browser):
    """Search by keyboard finds a word in the glossary, pages have contrast and focus, and nothing complains."""
    from selenium.webdriver.common.keys import Keys

    folder, _ = site
    seen_as(browser, 1280, dark=False)
    open_page(browser, folder, "index.html")
    browser.find_element("css selector", "body").send_keys("/")
    browser.switch_to.active_element.send_keys("proposal")
    first = wait_for(browser, ".md-search-result__item")[0]
    assert first.text.startswith("Glossary")
    browser.switch_to.active_element.send_keys(Keys.ARROW_DOWN, Keys.ENTER)
    assert wait_for(browser, "h1")[0].text.startswith("Glossary")
    for page in ("index.html", "training-recipes.html", "commands/prepare.html", "design.html"):
        open_page(browser, folder, page)
        assert browser.execute_script(CONTRAST) == [], page
        lost = "return [...document.images].filter(one => !one.naturalWidth || !one.alt).map(one => one.src)"
        assert not browser.execute_script(lost), page
    browser.find_element("css selector", "body").send_keys(Keys.TAB)
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert browser.execute_script(outline) != "none", "focus is seen"
    assert complaints(browser) == []


def test_it_is_read_on_a_phone_and_in_the_dark(site, browser):
    folder, _ = site
    seen_as(browser, 390, dark=True)
    for page in ("index.html", "training-recipes.html", "faq.html", "python/metrics.html"):
        open_page(browser, folder, page)
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= 390, f"{page} is {wide} pixels wide"
        assert browser.execute_script(CONTRAST) == [], page
    assert browser.execute_script("return document.body.dataset.mdColorScheme") == "slate"
    browser.find_element("css selector", "label.md-header__button[for=__drawer]").click()
    assert any("Training" in one.text for one in wait_for(browser, ".md-nav--primary .md-nav__link"))
    assert complaints(browser) == []
