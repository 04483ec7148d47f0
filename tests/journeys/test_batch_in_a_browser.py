"""A person drops a real file of flights into the console, watches the bar, and downloads the answers and the bad rows."""

import io
import shutil

import polars as pl
import pytest
from tests.conftest import EXAMPLES, eventually, headrace_command, start
from tests.journeys.test_batch_over_http import ask
from tests.journeys.test_console import browser
from tests.journeys.test_notices import Mailbox, mail_server

import headrace

__all__ = ["browser"]
pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("console")]
ROWS, BAD = 100_000, 50


@pytest.fixture(scope="module")
def flights(tmp_path_factory):
    """A workspace with a live model of the flights, and a file of 100,000 of them, of which 50 are spoilt."""
    folder = tmp_path_factory.mktemp("flights") / "project"
    shutil.copytree(EXAMPLES / "flights", folder)
    for words in (["run"], ["promote", "late-arrival@1"]):
        done = headrace_command(*words, cwd=folder)
        assert done.returncode == 0, done.stderr
    ws = headrace.open(folder / ".headrace")
    snapshot = ws.snapshots.read(ws.snapshots.list()[0]).head(ROWS)
    lines = snapshot.write_csv().splitlines()
    for number in range(BAD):
        lines[1 + 1999 * number] = "not,a,flight" if number % 2 else lines[1 + 1999 * number].replace(",", ",x", 9)
    (folder / "flights.csv").write_text("\n".join(lines) + "\n")
    yield ws, folder
    ws.close()


def test_a_person_scores_a_file(flights, browser):
    ws, folder = flights
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        server = {"HEADRACE_SMTP": f"smtp://127.0.0.1:{port}?from=headrace@example.org"}
        with start("--workspace", ws.places.url, "console", "--port", "0", env=server) as console:
            url = console["url"]
            _score(ws, folder, browser, url, mailbox, {**server, "HEADRACE_CONSOLE_URL": url})


def text(browser, name):
    """The text of an element now: the page replaces it every second."""
    return browser.execute_script("return document.getElementById(arguments[0])?.innerText ?? ''", name)


def _score(ws, folder, browser, url, mailbox, env):
    find = browser.find_element
    browser.get(f"{url}/jobs")
    find("id", "file").send_keys(str(folder / "flights.csv"))
    eventually(lambda: find("id", "start").is_displayed(), 60)
    match = find("id", "match").text
    assert "columns that the model knows" in match and "missing" not in match
    find("id", "tell").send_keys("anna@example.org")
    find("id", "go").click()
    eventually(lambda: "/jobs/" in browser.current_url, 30)
    assert text(browser, "status") in ("queued", "running")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        worker = ws._start_worker()
    try:
        eventually(lambda: text(browser, "status") == "done", 120)
        assert text(browser, "read") == f"{ROWS:,}"
        assert text(browser, "rejected") == f"{BAD} rejected"
        assert len(find("id", "first").find_elements("tag name", "tr")) == 11
        result, rejects = (find("id", name).get_attribute("href") for name in ("result", "rejects"))
        answers = pl.read_csv(io.BytesIO(ask("GET", result)[2]), infer_schema=False)
        refused = pl.read_csv(io.BytesIO(ask("GET", rejects)[2]), infer_schema=False)
        assert (answers.height, refused.height) == (ROWS - BAD, BAD)
        assert refused["line"].to_list() == [str(2 + 1999 * number) for number in range(BAD)]
        mail = eventually(lambda: mailbox.mails, 30)[0].get_content()
        assert f"{ROWS:,} rows read, {ROWS - BAD:,} scored, {BAD} rejected" in mail
        assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    finally:
        worker.terminate()
        worker.wait()
