"""The page in a real browser: ranked by mouse and keys, left and resumed, saved and tallied; nothing is requested."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from gancli.human.page import PageReport, make_ranking_page
from gancli.human.tally import read_answers, tally_rankings
from tests.browser import Driver, browser, needs_chromium  # noqa: F401 - a fixture
from tests.human.pages import CAPTIONS, MODELS, write_folder

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.wait import WebDriverWait  # noqa: E402

pytestmark = needs_chromium

# Characters that could break a spreadsheet or a page
HOSTILE = '</script><script>document.title="broken"</script> & "quotes" ünïcödé 鳥'
WAIT = 20  # seconds within which the browser has to have done what it was told

seeds = itertools.count()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("human")
    captions = (*CAPTIONS[1:], HOSTILE)
    return [
        write_folder(root / name, captions, method=name, level=level) for level, name in enumerate(MODELS)
    ]


@pytest.fixture
def report(folders: list[Path], tmp_path: Path) -> PageReport:
    """A new study for each test, of which the browser keeps nothing yet."""
    return make_ranking_page(folders, out=tmp_path / "page", n=4, seed=next(seeds))


class Judge:
    """User of the page who can tell the models' images apart by their grey level."""

    def __init__(self, driver: Driver, report: PageReport, downloads: Path) -> None:
        self.driver = driver
        self.study = report.study
        self.downloads = downloads
        driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)}
        )
        self.url = report.page.as_uri()
        self.slot = f"gancli-human-{self.study.study}"
        self.open()
        driver.get_log("browser")

    def open(self, before: str = "") -> None:
        """Leave the page, ignoring its warning, and come back; a script may run before the page's own.

        That script must not open localStorage: it could be so early that Chromium cuts it off, for the page too.
        """
        source = {"source": f"if (location.protocol === 'file:') {{ {before} }}"}
        script = self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", source)
        self.driver.get("about:blank")
        self.driver.get(self.url)
        self.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
        # The page starts once the browser has answered it, which may be after it is loaded
        WebDriverWait(self.driver, WAIT, poll_frequency=0.05).until(lambda _: self.text("#count"))

    def find(self, selector: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return str(self.find(selector).text)

    @property
    def images(self) -> list[Any]:
        return list(self.driver.find_elements(By.CSS_SELECTOR, ".image"))

    @property
    def models(self) -> list[str]:
        """Models of the images, from left to right."""
        indices = {id: index for question in self.study.questions for id, index in question.images.items()}
        return [MODELS[indices[image.get_attribute("data-id")]] for image in self.images]

    @property
    def ranks(self) -> dict[str, str]:
        """Label of each model's image."""
        return {
            model: image.find_element(By.CSS_SELECTOR, ".rank").text
            for model, image in zip(self.models, self.images, strict=True)
        }

    def press(self, *keys: str) -> None:
        self.driver.switch_to.active_element.send_keys(*keys)

    def click(self, model: str) -> None:
        self.images[self.models.index(model)].click()

    def key_of(self, model: str) -> str:
        return str(1 + self.models.index(model))

    def save(self, name: str, button: str = "#save") -> Path:
        field = self.find("#judge")
        field.clear()
        field.send_keys(name)
        self.find(button).click()
        return self.downloaded()

    def downloaded(self) -> Path:
        files: list[Path] = []

        def done(_: Driver) -> bool:
            files[:] = self.downloads.glob("*.csv")
            return bool(files)

        WebDriverWait(self.driver, WAIT, poll_frequency=0.05).until(done)
        (file,) = files
        return file


@pytest.fixture
def judge(browser: Driver, report: PageReport, tmp_path: Path) -> Judge:  # noqa: F811
    return Judge(browser, report, tmp_path)


def test_from_the_page_to_the_table(judge: Judge, report: PageReport, tmp_path: Path) -> None:
    judge.driver.get_log("performance")  # empties it
    judge.open()
    captions = [question.caption for question in report.study.questions]
    assert judge.text("#caption") == captions[0]
    # By mouse; the last image gets its rank by itself
    judge.click("alpha")
    assert judge.ranks == {"alpha": "best", "bravo": "", "charlie": ""}
    assert not judge.find("#next").is_enabled()
    judge.click("charlie")
    assert judge.ranks == {"alpha": "best", "charlie": "2nd", "bravo": "3rd"}
    judge.find("#next").click()
    # By keys
    assert judge.text("#caption") == captions[1]
    judge.press(judge.key_of("alpha"))
    judge.press(judge.key_of("bravo"))
    assert judge.ranks == {"alpha": "best", "bravo": "2nd", "charlie": "3rd"}
    judge.press(Keys.ENTER)
    # By arrows and space
    assert judge.text("#caption") == captions[2]
    for model in ("alpha", "charlie"):
        for _ in range(3):
            if judge.driver.switch_to.active_element.get_attribute("data-id") == judge.images[
                judge.models.index(model)
            ].get_attribute("data-id"):
                break
            judge.press(Keys.ARROW_RIGHT)
        judge.press(Keys.SPACE)
    assert judge.ranks == {"alpha": "best", "charlie": "2nd", "bravo": "3rd"}
    # The answers stay when the page is left
    judge.open()
    assert judge.text("#count") == f"Sentence 4 of {len(captions)}, 3 ranked"
    judge.find("#back").click()
    assert judge.ranks == {"alpha": "best", "charlie": "2nd", "bravo": "3rd"}
    judge.press(Keys.ENTER)
    judge.press(judge.key_of("alpha"), judge.key_of("bravo"))
    judge.press(Keys.ENTER)
    assert judge.text("#thanks") == "All ranked, thank you"
    assert judge.find("#progress").get_attribute("value") == "4"
    file = judge.save("Änna O'Neill", "#save-all")
    assert file.name == "answers-A-nna-O-Neill.csv"
    # Its answers are what was clicked
    report_of = tally_rankings([file], key=report.key, out=tmp_path / "tables")
    assert report_of.tally.judges == {"Änna O'Neill": 4}
    assert [model.mean_rank for model in report_of.tally.models] == [1, 2.5, 2.5]
    assert report_of.tally.models[0].first_places == 1
    assert report_of.warnings == ()
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    assert lines[1].split(",")[3] == " ".join(report.study.questions[0].images)
    assert float(lines[1].split(",")[5]) >= 0
    # And nothing but the page itself was requested
    requested = [
        event["params"]["request"]["url"]
        for event in (
            json.loads(entry["message"])["message"] for entry in judge.driver.get_log("performance")
        )
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in requested if not url.startswith(("data:", "blob:", "about:"))] == [judge.url] * 2
    assert judge.driver.get_log("browser") == []


def test_ranks_can_be_taken_back(judge: Judge) -> None:
    first, second, third = judge.models
    judge.press("1", "2")
    assert judge.ranks == {first: "best", second: "2nd", third: "3rd"}
    judge.press(Keys.BACKSPACE)  # with the rank that came by itself
    assert judge.ranks == {first: "best", second: "", third: ""}
    judge.click(first)
    assert set(judge.ranks.values()) == {""}
    judge.press("3", "2")
    judge.click(third)  # the others move up
    assert judge.ranks == {first: "2nd", second: "best", third: ""}
    judge.press(Keys.ENTER)
    assert judge.text("#message") == "Rank every image first."
    judge.find("#undo").click()
    assert judge.ranks == {first: "", second: "best", third: ""}


def test_hostile_captions_are_only_text(judge: Judge, report: PageReport) -> None:
    for question in report.study.questions:
        assert judge.text("#caption") == question.caption
        judge.press("1", "2", Keys.ENTER)
    assert HOSTILE in [question.caption for question in report.study.questions]
    assert judge.driver.title == "Rank the images"
    assert judge.driver.get_log("browser") == []


def test_half_done_answers_can_be_saved(judge: Judge, report: PageReport, tmp_path: Path) -> None:
    judge.press("1", "2", Keys.ENTER)
    judge.press("1")  # not complete, so not in the file
    judge.find("#save").click()
    assert judge.text("#message") == "Write your name first: it goes into the file."
    assert not list(tmp_path.glob("*.csv"))
    file = judge.save("=1+1")
    assert "3 are still to do" in judge.text("#message")
    assert "'=1+1" in file.read_text(encoding="utf-8-sig")
    (ranking,) = read_answers(file, report.study)
    assert ranking.judge == "=1+1"


def test_unsaved_answers_are_warned_of(judge: Judge, report: PageReport, tmp_path: Path) -> None:
    prevented = """
        const event = new Event("beforeunload", {cancelable: true});
        window.dispatchEvent(event);
        return event.defaultPrevented;
    """
    assert judge.driver.execute_script(prevented) is False
    judge.press("1", "2", Keys.ENTER)
    assert judge.driver.execute_script(prevented) is True
    judge.save("Anna")
    assert judge.driver.execute_script(prevented) is False


def test_the_next_judge_starts_anew(judge: Judge) -> None:
    judge.find("#judge").send_keys("Anna")
    judge.images[0].click()
    judge.find("#restart").click()
    judge.driver.switch_to.alert.accept()
    assert set(judge.ranks.values()) == {""}
    assert judge.find("#judge").get_attribute("value") == ""
    judge.open()
    assert set(judge.ranks.values()) == {""}


@pytest.mark.parametrize(
    "kept", ["{", "[]", "3", '{"answers": {"q1": {"ranking": ["x"]}, "q2": 3}, "judge": 4}', "null"]
)
def test_what_is_kept_may_be_damaged(judge: Judge, kept: str) -> None:
    # The page must not overwrite it when it is left, either
    damage = "localStorage.setItem(...arguments); Storage.prototype.setItem = () => {}"
    judge.driver.execute_script(damage, judge.slot, kept)
    judge.open()
    assert judge.driver.execute_script("return localStorage.getItem(arguments[0])", judge.slot) == kept
    assert judge.text("#count") == "Sentence 1 of 4, 0 ranked"
    judge.press("1", "2")
    assert judge.find("#next").is_enabled()
    assert judge.driver.get_log("browser") == []


def test_what_is_kept_is_opened_once_the_browser_has_answered(judge: Judge) -> None:
    # Opened earlier, localStorage may be cut off from the browser: rarely, and only on a busy machine
    judge.open("""
        window.done = [];
        const query = Permissions.prototype.query;
        Permissions.prototype.query = async function (...asked) {
          const answer = await query.apply(this, asked);
          done.push("answered");
          return answer;
        };
        const {get} = Object.getOwnPropertyDescriptor(window, "localStorage");
        Object.defineProperty(window, "localStorage", {get() { done.push("opened"); return get.call(window); }});
    """)
    assert judge.driver.execute_script("return done.slice(0, 2)") == ["answered", "opened"]


def test_it_works_where_nothing_can_be_kept(judge: Judge, report: PageReport) -> None:
    judge.open(
        "Object.defineProperty(window, 'localStorage', "
        "{get() { throw new DOMException('denied', 'SecurityError'); }})"
    )
    assert judge.find("#unkept").is_displayed()
    judge.press("1", "2", Keys.ENTER)
    (ranking,) = read_answers(judge.save("Anna"), report.study)
    assert sorted(ranking.ranks) == [1, 2, 3]


def test_all_images_have_one_size_on_any_screen(judge: Judge) -> None:
    for width in (320, 800, 1600):
        judge.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        try:
            sizes = judge.driver.execute_script(
                "return [...document.images].map((image) => [image.clientWidth, image.clientHeight])"
            )
            assert len({tuple(size) for size in sizes}) == 1
            assert sizes[0][0] == sizes[0][1] >= 100
            overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert judge.driver.execute_script(overflow) == 0
        finally:
            judge.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_every_control_has_a_name(judge: Judge) -> None:
    judge.press("1")
    assert [image.accessible_name for image in judge.images] == [
        "Image 1, rank 1",
        "Image 2, not ranked",
        "Image 3, not ranked",
    ]
    assert judge.text("#caption") == judge.find("#images").accessible_name
    assert judge.find("#judge").accessible_name == "Your name"
    assert all(
        button.accessible_name
        for button in judge.driver.find_elements(By.TAG_NAME, "button")
        if button.is_displayed()
    )
