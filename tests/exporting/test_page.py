"""docs/browser/draw.html in a headless Chromium: a typed sentence becomes the image that PyTorch draws.

onnxruntime-web is no Python package. The test runs where GANCLI_ORT_WEB names the folder dist/ of its npm package.
"""

from __future__ import annotations

import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gancli.exporting.export import export
from gancli.inference.ffgan import load_ffgan
from tests.browser import browser, needs_chromium  # noqa: F401 - a fixture
from tests.conftest import ROOT

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

RUNTIME = os.environ.get("GANCLI_ORT_WEB")
pytestmark = [
    needs_chromium,
    pytest.mark.skipif(
        RUNTIME is None, reason="GANCLI_ORT_WEB does not name dist/ of the npm package onnxruntime-web"
    ),
]
WAIT = 60  # seconds within which the browser has to have drawn


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def site(tiny_model, tmp_path):
    """Address of a folder with the page, a model and the runtime."""
    export(tiny_model, tmp_path / "bird.onnx")
    shutil.copyfile(ROOT / "docs/browser/draw.html", tmp_path / "draw.html")
    (tmp_path / "ort").symlink_to(Path(RUNTIME).resolve())
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/draw.html"
    server.shutdown()


def told(driver, wanted):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    line = driver.find_element(By.ID, "told")
    WebDriverWait(driver, WAIT).until(lambda _: wanted in line.text or "wrong" in line.get_attribute("class"))
    return line.text


def test_a_sentence_is_drawn(site, tiny_model, browser):  # noqa: F811
    from selenium.webdriver.common.by import By

    browser.get(f"{site}?model=bird&runtime=ort/")
    assert told(browser, "trained on") == "FF-GAN, trained on cub"
    words = load_ffgan(tiny_model).vocabulary.words
    sentence = browser.find_element(By.ID, "sentence")
    sentence.clear()
    sentence.send_keys(f"{words[1].upper()}, {words[2]} zyzzyva")
    number = browser.find_element(By.ID, "number")
    number.clear()
    number.send_keys("2")
    browser.find_element(By.ID, "draw").click()
    assert "2 drawn in" in (line := told(browser, "drawn in"))
    assert line.endswith("not known and left out: zyzzyva")
    pixels = browser.execute_script(
        "return [...document.querySelectorAll('canvas')].map("
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data])"
    )
    assert len(pixels) == 2
    assert pixels[0] != pixels[1]  # other noise
    assert len(set(pixels[0])) > 10


def test_a_missing_model_is_said(site, browser):  # noqa: F811
    browser.get(f"{site}?model=other&runtime=ort/")
    assert "gancli export MODEL --out other.onnx" in told(browser, "other.json")
