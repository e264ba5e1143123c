"""A headless Chromium for the tests of pages."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None or CHROMEDRIVER is None,
    reason="no chromium with chromedriver (Debian: apt-get install chromium chromium-driver)",
)

Driver = Any  # selenium has no complete types


@pytest.fixture(scope="module")
def browser() -> Iterator[Driver]:
    from selenium import webdriver
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.chrome.service import Service

    profile = tempfile.TemporaryDirectory(prefix="gancli-chromium-", ignore_cleanup_errors=True)
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless=new",
        "--disable-dev-shm-usage",
        "--window-size=1200,900",
        f"--user-data-dir={profile.name}",
        *(("--no-sandbox",) if os.geteuid() == 0 else ()),  # Chromium's sandbox refuses root
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    options.set_capability("unhandledPromptBehavior", "accept")
    try:
        driver = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))
    except WebDriverException as error:
        profile.cleanup()
        pytest.skip(f"chromium does not start: {str(error).splitlines()[0]}")
    yield driver
    driver.quit()
    profile.cleanup()
