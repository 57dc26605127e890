"""The built site: clean, self-contained, and sound in a browser on every page."""

import re
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from browser import ROOT
from nightly import full

CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text())
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
CHAPTERS = [c["file"] for part in TOC["parts"] for c in part["chapters"]]
PAGES = [TOC["root"], *CHAPTERS]
NOTEBOOKS = [page for page in PAGES if (ROOT / f"{page}.py").is_file()]

every_page = pytest.mark.parametrize("name", [*PAGES, "search"])

# By day three kinds of page speak for all: a home page, a chapter with a widget, a page of tables.
ASKED_OF_AXE = full([*PAGES, "search"], [TOC["root"], NOTEBOOKS[0], "book/reports"])


class Tags(HTMLParser):
    """Every start tag of a file, as (tag, attributes)."""

    def __init__(self, path):
        super().__init__()
        self.tags = []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {key: value or "" for key, value in attrs}))

    def all(self, *names):
        return [attrs for tag, attrs in self.tags if tag in names]


# ---- Without a browser -----------------------------------------------------------------------


def test_build_is_clean_and_quick(site_build):
    complaints = [line for line in site_build.log.splitlines() if re.search("WARNING|ERROR|CRITICAL", line)]
    assert complaints == []
    assert site_build.returncode == 0, site_build.log[-3000:]
    # Executing the chapters takes minutes of the processor, several hundred times what starting the program takes.
    assert site_build.seconds < 100 * site_build.start, "it reads the stored notebooks and should execute none"


def test_nothing_is_loaded_from_elsewhere(site_dir):
    """Scripts, styles, fonts, images and frames; links that a reader may follow are another matter."""
    foreign = []
    for file in site_dir.rglob("*.html"):
        tags = Tags(file)
        urls = [a.get(key, "") for _, a in tags.tags for key in ("src", "srcset", "data", "poster")]
        urls += [a.get("href", "") for a in tags.all("link")]
        urls += re.findall(r"url\(([^)]*)\)", " ".join(a.get("style", "") for _, a in tags.tags))
        foreign += [(file.name, url) for url in urls if re.match(r"\s*['\"]?(\w+:)?//", url)]
    for file in site_dir.rglob("*.css"):
        text = re.sub(r"/\*.*?\*/", "", file.read_text(), flags=re.S)
        urls = re.findall(r"url\(\s*['\"]?([^)'\"]*)|@import\s+['\"]([^'\"]*)", text)
        foreign += [(file.name, url) for pair in urls for url in pair if re.match(r"(https?:)?//", url)]
    assert foreign == []


def test_links_inside_the_site_lead_somewhere(site_dir):
    ids = {file: {a["id"] for _, a in Tags(file).tags if "id" in a} for file in site_dir.rglob("*.html")}
    broken = []
    for file in ids:
        for href in (a["href"] for a in Tags(file).all("a") if a.get("href")):
            url = urlsplit(href)
            if url.scheme or url.netloc:
                continue
            target = (file.parent / unquote(url.path)).resolve() if url.path else file
            in_page = url.fragment in ("", *ids.get(target, ())) or target.name == "search.html"
            if not target.is_file() or not in_page:
                broken.append((file.name, href))
    assert broken == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_colab_button_opens_the_pages_own_notebook(site_dir, name):
    repository = CONFIG["repository"]
    path = urlsplit(repository["url"]).path.strip("/")
    expected = f"https://colab.research.google.com/github/{path}/blob/{repository['branch']}/{name}.ipynb"
    links = [a["href"] for a in Tags(site_dir / f"{name}.html").all("a") if "colab" in a.get("href", "")]
    assert (ROOT / f"{name}.ipynb").is_file()
    assert expected in links and links.count(expected) == len(links)


def test_chapters_carry_their_number(site_dir):
    """In the tab, in the sidebar, and in previous and next."""
    titles = {
        name: re.search("<title>(.*?) &#8212; ", (site_dir / f"{name}.html").read_text())[1] for name in NOTEBOOKS
    }
    numbered = [title for title in titles.values() if title[0].isdecimal()]
    assert [title.split(". ")[0] for title in numbered] == [str(n) for n in range(1, len(numbered) + 1)]
    assert len(titles) == len(numbered) + 1  # the bug gallery has none
    sidebar = re.findall('<li class="toctree-l1"><a [^>]*>(.*?)</a>', (site_dir / f"{TOC['root']}.html").read_text())
    assert sidebar[: len(titles)] == list(titles.values())
    for before, name, after in zip(NOTEBOOKS, NOTEBOOKS[1:], NOTEBOOKS[2:], strict=False):
        beside = re.findall('<p class="prev-next-title">(.*?)</p>', (site_dir / f"{name}.html").read_text())
        assert beside == [titles[before], titles[after]]


def test_the_bare_address_leads_home(site_dir):
    refresh = [a for a in Tags(site_dir / "index.html").all("meta") if a.get("http-equiv") == "Refresh"]
    assert [a["content"].partition("url=")[2] for a in refresh] == [f"{TOC['root']}.html"]


# ---- In a browser ------------------------------------------------------------------------------


@every_page
def test_page_is_sound(open_page, name):
    """In one visit, since loading a page takes the time: what is on it, then on a phone, then for those who see less."""
    visit = open_page(f"{name}.html").read_through()
    page = visit.page
    if name != "search":
        check_content(page, name)
    page.set_viewport_size({"width": 390, "height": 844})
    visit.read_through()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert visit.faults == []  # axe makes requests of its own
    if name not in ASKED_OF_AXE:
        return
    page.set_viewport_size({"width": 1280, "height": 900})
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    one_of_each_kind_of_code(page)
    for theme, darkest, brightest in (("dark", 0, 60), ("light", 220, 255)):
        switch(page, theme)
        assert darkest <= brightness(page) <= brightest
        assert serious_findings(page, **({"runOnly": ["color-contrast"]} if theme == "dark" else {})) == []


def check_content(page, name):
    assert page.locator("h1").count() == 1
    assert page.locator("h1").inner_text().strip()
    images = page.evaluate("[...document.images].map((i) => [i.src, i.alt.trim(), i.naturalWidth])")
    assert [src for src, alt, width in images if not (alt and width)] == []
    formulas = page.locator("article .math").count()
    assert formulas > 0 or name not in [*NOTEBOOKS, "book/notation"]
    assert page.locator("article .math mjx-container").count() == formulas
    assert page.locator("mjx-merror").count() == 0
    prose = page.evaluate(
        """() => {
          const article = document.querySelector("article").cloneNode(true);
          article.querySelectorAll("pre, code, script, mjx-container").forEach((e) => e.remove());
          return article.textContent;
        }"""
    )
    assert re.findall(r"\$\$|\\\(|\\\[|\$\\", prose) == []
    assert page.evaluate("[...document.fonts].some((f) => f.family.includes('Source Serif') && f.status == 'loaded')")
    assert page.locator("meta[name=description]").count() == 1


@every_page
@pytest.mark.nightly
def test_a_phone_reads_it_from_the_start(open_page, name):
    visit = open_page(f"{name}.html", width=390, height=844, mode="dark").read_through()
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert brightness(visit.page) < 60
    assert visit.faults == []


def switch(page, theme):
    """Press the theme's own button until it is so."""
    for _ in range(3):
        if page.evaluate("document.documentElement.dataset.theme") == theme:
            return
        page.locator("button.theme-switch-button:visible").click()
    page.wait_for_function(f"document.documentElement.dataset.theme == '{theme}'")


def one_of_each_kind_of_code(page):
    """One word for each colour and place, 20 names of the library: axe spends most of its time on what is alike."""
    page.evaluate(
        """() => {
          const seen = new Set();
          for (const word of document.querySelectorAll("pre span")) {
            const place = [];
            for (let e = word; e && e.tagName !== "ARTICLE"; e = e.parentElement) place.push(e.className);
            const kind = place.join(" < ");
            if (seen.has(kind)) word.replaceWith(...word.childNodes);
            seen.add(kind);
          }
          for (const name of [...document.querySelectorAll("details.course-api")].slice(20)) name.remove();
        }"""
    )


def brightness(page):
    return int(re.search(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor")).group())


def serious_findings(page, **options):
    """What axe calls serious or critical. The colours are all that differs between the two modes."""
    from axe_playwright_python.sync_playwright import Axe

    options |= {"resultTypes": ["violations"]}
    return [
        (violation["id"], node["html"][:200], node["failureSummary"][-300:])
        for violation in Axe().run(page, options=options).response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


def test_switch_changes_the_colours_and_is_remembered(open_page):
    page = open_page(f"{TOC['root']}.html", mode=None).page
    background = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(background)
    page.locator("button.theme-switch-button:visible").click()
    page.wait_for_function(f"{background} !== '{before}'")
    after = page.evaluate(background)
    page.reload()
    assert page.evaluate(background) == after


def test_search_finds_a_word(open_page):
    visit = open_page("search.html?q=equivariance")
    visit.page.locator("#search-results a[href*='book/notation.html']").first.wait_for()
    assert visit.faults == []


def test_start_leads_to_chapter_one(open_page, site):
    visit = open_page(f"{TOC['root']}.html")
    page = visit.page
    page.get_by_role("link", name="Start with chapter 1").click()
    page.wait_for_url(site + CHAPTERS[0] + ".html")
    assert page.locator("h1").is_visible()
    assert visit.faults == []


def test_the_playground_is_live_on_the_page(open_page):
    page = open_page("book/01_attention.html").read_through().page
    assert page.locator(".course-widget-live").count() == 1
    before = page.locator("[data-output]").get_attribute("data-output")
    page.get_by_label("scale", exact=True).fill("5")
    page.wait_for_function("before => document.querySelector('[data-output]').dataset.output !== before", arg=before)
