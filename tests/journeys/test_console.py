"""The console in a real browser: the loop, a form that answers as it is moved, sortable runs, the audit chain."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request

import pytest
from tests.conftest import EXAMPLES, call, eventually, headrace_command, start

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("console")]


FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1100,1400",
)
MOVE = """
const field = document.querySelector('input[name=calls]');
field.value = arguments[0];
field.dispatchEvent(new Event('input', {bubbles: true}));
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        if "chromium" in os.environ.get("HEADRACE_REQUIRE", ""):
            pytest.fail("HEADRACE_REQUIRE asks for chromium, and it is not installed")
        pytest.skip("chromium and chromedriver are not installed")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    profile = tmp_path_factory.mktemp("profile")
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield found
    found.quit()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("console") / "project"
    shutil.copytree(EXAMPLES / "starter", folder)
    for words in (["run", "--sweep", "smoothing=0.5,5,50"], ["promote", "churn@1"]):
        done = headrace_command(*words, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def console(project):
    command = [sys.executable, "-m", "headrace", "console", "--port", "0", "--json"]
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    yield json.loads(process.stdout.readline())["url"]
    process.terminate()
    process.wait(20)
    process.stdout.close()


def text(browser):
    """What the page says; nothing while it gives way to the next one."""
    from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException

    try:
        return browser.find_element("tag name", "body").text
    except (NoSuchElementException, StaleElementReferenceException):
        return ""


def no_complaints(browser):
    """No script error, and nothing loaded from elsewhere."""
    severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == []
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(e => new URL(e.name).host)")
    assert {host for host in loaded if host} <= {browser.current_url.split("/")[2]}


def test_the_first_page_shows_the_loop(browser, console):
    browser.get(console)
    assert "churn@1" in text(browser)
    assert "promote" in text(browser)
    no_complaints(browser)


def test_a_form_answers_as_it_is_moved(browser, console):
    browser.get(f"{console}/models/churn/try")
    share = "return document.querySelector('#answer .bar i:last-child').style.width"
    browser.execute_script(MOVE, "9")
    eventually(lambda: "→ 9" in text(browser), 10)
    first = browser.execute_script(share)
    browser.execute_script(MOVE, "0")
    eventually(lambda: "calls 9.0 → 0.0" in text(browser), 10)
    assert browser.execute_script(share) != first
    assert "points since the row before" in text(browser)
    no_complaints(browser)


def test_runs_sort_and_draw(browser, console):
    browser.get(f"{console}/runs?sort=smoothing")
    values = [
        float(row.find_elements("tag name", "td")[4].text)
        for row in browser.find_elements("css selector", "tr")[1:]
        if row.find_elements("tag name", "td")[4].text
    ]
    assert values == sorted(values)
    assert browser.find_elements("css selector", "svg polyline")
    no_complaints(browser)


def test_a_phone_scrolls_only_downwards(browser, console):
    browser.set_window_size(400, 800)
    for path in ("/", "/models/churn", "/models/churn/try", "/runs", "/audit"):
        browser.get(console + path)
        assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth + 1"), path
    browser.set_window_size(1100, 1400)


def test_where_a_version_comes_from_is_drawn(browser, console):
    browser.get(f"{console}/models/churn")
    browser.find_element("link text", "churn@1").click()
    eventually(lambda: "/lineage/churn@1" in browser.current_url)
    drawn = [text.text for text in browser.find_elements("css selector", "svg text")]
    assert drawn[:3] == ["snapshot", "code", "run"] and any(text.startswith("churn@1") for text in drawn)
    assert len(browser.find_elements("css selector", "svg path[marker-end]")) >= 4
    assert "was read by" in browser.find_element("tag name", "main").text


def test_the_chain_is_shown(browser, console):
    browser.get(f"{console}/audit")
    assert "chain intact" in text(browser)


def test_consumers_are_shown_with_their_objectives(browser, console, project):
    made = {
        name: json.loads(
            headrace_command("keys", "create", "--consumer", name, "--p99", p99, "--json", cwd=project).stdout
        )["key"]
        for name, p99 in (("shop", "10s"), ("till", "0.001ms"))
    }
    row = json.dumps({"customer": 1, "plan": "plus", "months": 3, "calls": 9}).encode()
    with start("--workspace", str(project / ".headrace"), "serve", "--port", "0") as server:
        for key in (*made.values(), made["shop"]):
            asked = urllib.request.Request(f"{server['url']}/predict", row, {"authorization": f"Bearer {key}"})
            with urllib.request.urlopen(asked) as response:
                assert response.status == 200

        def shown():
            browser.get(console)
            rows = browser.find_elements("xpath", "//h2[starts-with(., 'Consumers')]/..//tr[td]")
            return {row.text.split()[0]: row for row in rows if row.text.split()[0] in made}

        rows = eventually(lambda: len(found := shown()) == 2 and found)
        assert rows["shop"].text.startswith("shop 2 2 0 ") and "10000 ms, 100.00 % within it" in rows["shop"].text
        assert rows["till"].text.startswith("till 1 1 0 ") and "0.00 % within it" in rows["till"].text
        marks = {name: row.find_elements("tag name", "td")[-1].get_attribute("class") for name, row in rows.items()}
        assert marks == {"shop": "good", "till": "bad"}
    no_complaints(browser)


def test_other_sites_are_refused(console):
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        request = urllib.request.Request(f"{console}/api/models/churn/rollback", b"{}", headers, method="POST")
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        assert caught.value.code == 403
        caught.value.close()
    assert call("GET", f"{console}/api/models")[0] == 200
    assert call("GET", f"{console}/models/nobody/try".replace("/models", "/api/models"))[0] == 404


def fill(browser, **fields):
    for name, value in fields.items():
        browser.find_element("name", name).send_keys(value)
    browser.find_element("css selector", "main form button").click()


def test_people_are_let_in_by_what_they_know(browser, registered):
    """The last one here: its cookie would follow into the others."""
    root, words = registered.places.url, "four unrelated words"
    code = headrace_command("--workspace", root, "people", "add", "anna", "--role", "admin").stdout.strip()
    with start("--workspace", root, "console", "--port", "0") as server:
        browser.get(f"{server['url']}/models/late")
        assert "/sign-in?then=/models/late" in browser.current_url and "late@1" not in text(browser)
        browser.find_element("link text", "I have a code").click()
        fill(browser, name="anna", code=code, password=words, again=words)
        eventually(lambda: "anna, admin" in text(browser))
        browser.find_element("link text", "people").click()
        eventually(lambda: "Add somebody" in text(browser))
        browser.find_element("css selector", "form[action='/people'] input").send_keys("berta")
        browser.find_element("css selector", "form[action='/people'] button").click()
        code = eventually(lambda: browser.find_elements("id", "code"))[0].text
        browser.find_element("xpath", "//button[text()='sign out']").click()
        eventually(lambda: browser.current_url.endswith("/sign-in"))
        browser.get(f"{server['url']}/welcome")
        fill(browser, name="berta", code=code, password=words, again=words)
        eventually(lambda: "berta, viewer" in text(browser))
        assert not browser.find_elements("link text", "people")
        browser.get(f"{server['url']}/people")
        assert "berta is viewer" in text(browser) and "the role admin" in text(browser)
        browser.get_log("browser")  # the refusal is one of its complaints
        browser.get(f"{server['url']}/models/late")
        no_complaints(browser)
        registered.end_person("berta")
        eventually(lambda: "/sign-in" in browser.current_url)
    browser.delete_all_cookies()
