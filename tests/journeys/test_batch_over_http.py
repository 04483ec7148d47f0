"""A program sends a file in pieces, asks for a job, watches it, and fetches the answers; the mail arrives."""

import base64
import io
import json
import subprocess
import urllib.error
import urllib.request

import polars as pl
import pytest
from tests.conftest import call, eventually
from tests.journeys.test_batch import ROWS
from tests.journeys.test_notices import SECRET, Mailbox, hook, mail_server, verified

from headrace.batch.job import Options
from headrace.kernel.errors import InvalidInput, Overloaded

__all__ = ["hook"]


@pytest.fixture
def console(registered, start_headrace):
    """The console of a workspace with a live model."""
    return start_headrace("--workspace", registered.places.url, "console", "--port", "0")["url"]


@pytest.fixture
def worker(registered):
    """A worker, which ends with the test."""
    process = registered._start_worker()
    yield process
    process.terminate()
    process.wait()


def ask(method, url, body=None, **headers):
    """A request: its status, headers and body."""
    named = {name.replace("_", "-"): str(value) for name, value in headers.items()}
    request = urllib.request.Request(url, body, named, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def begin(console, name, size):
    said = {"upload_length": size, "upload_metadata": f"filename {base64.b64encode(name.encode()).decode()}"}
    return ask("POST", f"{console}/api/uploads", b"", **said)


def sent(console, name, content, piece=10_000):
    """The source of a file that was sent in pieces."""
    status, headers, body = begin(console, name, len(content))
    assert status == 201
    place = console + headers["location"]
    for start in range(0, len(content), piece):
        part = {"content_type": "application/offset+octet-stream", "upload_offset": start}
        assert ask("PATCH", place, content[start : start + piece], **part)[0] == 204
    return json.loads(body)["source"]


def ended(console, job):
    def look():
        found = call("GET", f"{console}/api/jobs/{job}")[1]
        return found if found["status"] in ("done", "failed", "cancelled") else None

    return eventually(look, 60)


def test_a_file_is_sent_in_pieces_scored_and_fetched(registered, console, worker):
    content = ROWS.write_csv().encode()
    source = sent(console, "flights.csv", content)
    status, job = call("POST", f"{console}/api/jobs", {"model": "late", "source": source, "keep": "flight"})
    assert (status, job["status"]) == (200, "queued")
    done = ended(console, job["id"])
    assert (done["status"], done["counts"]) == ("done", {"scored": 1000, "rejected": 0})
    place = f"{console}/api/jobs/{job['id']}"
    _, headers, body = ask("GET", f"{place}/result")
    expected = registered.predict("late", ROWS)
    assert pl.read_csv(io.BytesIO(body)).select(expected.columns).equals(expected)
    assert "flights.late.csv" in headers["content-disposition"]
    status, headers, part = ask("GET", f"{place}/result", range="bytes=10-19")
    assert (status, part, headers["content-range"]) == (206, body[10:20], f"bytes 10-19/{len(body)}")
    assert call("GET", f"{place}/first")[1][0]["flight"] == "F0"
    assert call("GET", f"{place}/rejects")[0] == 404
    assert [one["id"] for one in call("GET", f"{console}/api/jobs")[1]] == [job["id"]]
    who = {entry.action for entry in registered.audit(50, "late")}
    assert {"score", "score done"} <= who


def test_a_lost_piece_is_sent_again(console):
    content = b"minutes,carrier\n1.5,UA\n"
    _, headers, _ = begin(console, "rows.csv", len(content))
    place, kind = console + headers["location"], "application/offset+octet-stream"
    assert ask("PATCH", place, content[:10], content_type=kind, upload_offset=0)[1]["upload-offset"] == "10"
    status, _, body = ask("PATCH", place, content[:10], content_type=kind, upload_offset=0)
    assert (status, json.loads(body)["expected"]) == (409, "10")
    assert ask("HEAD", place)[1]["upload-offset"] == "10"
    assert ask("PATCH", place, content[10:] + b"more", content_type=kind, upload_offset=10)[0] == 400
    assert ask("PATCH", place, content[10:], content_type="text/csv", upload_offset=10)[0] == 415
    early = call("POST", f"{console}/api/jobs", {"model": "late", "source": json.loads(ask("GET", place)[2])["source"]})
    assert (early[0], "10 of 23 bytes" in early[1]["error"]) == (404, True)
    assert ask("PATCH", place, content[10:], content_type=kind, upload_offset=10)[0] == 204
    assert ask("DELETE", place)[0] == 204
    assert ask("HEAD", place)[0] == 404


@pytest.mark.parametrize("name", ["rows.exe", "../../etc/rows.csv", ".csv", "a\nb.csv", "", "rows"])
def test_names_of_files_lead_nowhere(registered, console, name):
    status, headers, _ = begin(console, name, 5)
    if status == 201:
        assert name == "../../etc/rows.csv"
        ask(
            "PATCH",
            console + headers["location"],
            b"a\n1\n2",
            content_type="application/offset+octet-stream",
            upload_offset=0,
        )
        (there,) = registered.places.uploads.glob("*/*.csv")
        assert there.name == "rows.csv"


def test_callers_use_no_files_of_the_server(registered, console, tmp_path, monkeypatch):
    (tmp_path / "secret.csv").write_text("minutes,carrier\n1,UA\n")
    for source in (
        str(tmp_path / "secret.csv"),
        "/etc/passwd",
        "upload:../../x/y.csv",
        "upload:" + "0" * 36 + "/x.csv",
    ):
        status, said = call("POST", f"{console}/api/jobs", {"model": "late", "source": source})
        assert status in (403, 404), said
    source = sent(console, "rows.csv", b"minutes,carrier\n1,UA\n")
    for more in (
        {"destination": str(tmp_path / "out.csv")},
        {"tell": ["http://127.0.0.1:9/x"]},
        {"form": "exe"},
        {"odd": 1},
    ):
        status, said = call("POST", f"{console}/api/jobs", {"model": "late", "source": source, **more})
        assert status in (400, 403, 422), said
    assert registered.jobs() == []


def test_the_server_says_where_jobs_are_scored(registered, monkeypatch):
    content = ROWS.head(10).write_csv().encode()
    upload = registered.uploads().begin("rows.csv", len(content), "somebody")
    registered.uploads().add(upload.id, 0, content)
    given = ("late", upload.source, "", "csv", Options())
    monkeypatch.setenv("HEADRACE_JOB_ENGINE", "abacus")
    with pytest.raises(InvalidInput, match="abacus"):
        registered.queue_job(*given)
    monkeypatch.setenv("HEADRACE_JOB_ENGINE", "spark:spark://cluster:7077")
    assert registered.queue_job(*given).options.engine == "spark:spark://cluster:7077"


def test_one_caller_takes_no_more_than_their_share(registered, monkeypatch):
    monkeypatch.setenv("HEADRACE_UPLOADS_EACH", "1KB")
    monkeypatch.setenv("HEADRACE_JOBS_EACH", "1")
    content = ROWS.head(10).write_csv().encode()
    first = registered.uploads().begin("rows.csv", len(content), "anna")
    registered.uploads().add(first.id, 0, content)
    with pytest.raises(Overloaded, match="1 files of anna"):
        registered.uploads().begin("more.csv", 1_000, "anna")
    registered.uploads().begin("more.csv", 1_000, "berta")
    job = registered.queue_job("late", first.source, "", "csv", Options())
    registered.cancel_job(job.id)
    other = registered.queue_job("late", first.source, "", "jsonl", Options())
    with pytest.raises(Overloaded, match="under way"):
        registered.requeue_job(job.id)
    registered.cancel_job(other.id)
    assert registered.requeue_job(job.id).status == "queued"
    registered.uploads().discard(first.id)
    registered.uploads().begin("more.csv", 1_000, "anna")


def test_a_form_with_the_file_is_enough(registered, console, worker, tmp_path):
    ROWS.write_excel(tmp_path / "flights.xlsx")
    told = ["curl", "-s", "-F", f"file=@{tmp_path / 'flights.xlsx'}", "-F", "model=late", "-F", "form=xlsx"]
    job = json.loads(subprocess.run([*told, f"{console}/api/jobs"], capture_output=True, check=True).stdout)
    assert ended(console, job["id"])["status"] == "done"
    answers = pl.read_excel(io.BytesIO(ask("GET", f"{console}/api/jobs/{job['id']}/result")[2]))
    assert answers["prediction"].to_list() == registered.predict("late", ROWS)["prediction"].to_list()


def test_columns_are_matched_before_anything_is_scored(registered, console, worker):
    source = sent(console, "rows.csv", b"Carrier,minuets,note\nUA,50,x\n")
    place = f"{console}/api/uploads/{source.removeprefix('upload:').partition('/')[0]}"
    found = call("GET", f"{place}/look?model=late")[1]
    assert (found["found"], found["missing"], found["absent"]) == ([], ["carrier"], ["minutes"])
    assert found["renamed"] == {"Carrier": "carrier", "minuets": "minutes"}
    job = call("POST", f"{console}/api/jobs", {"model": "late", "source": source, "rename": found["renamed"]})[1]
    assert ended(console, job["id"])["counts"] == {"scored": 1, "rejected": 0}
    (first,) = call("GET", f"{console}/api/jobs/{job['id']}/first")[1]
    assert (first["prediction"], first["note"]) == ("true", "x")


def test_whoever_asked_is_told_with_a_link_that_ends(registered, console, tmp_path, monkeypatch, hook):
    ROWS.write_csv(tmp_path / "rows.csv")
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        monkeypatch.setenv("HEADRACE_SMTP", f"smtp://127.0.0.1:{port}?from=headrace@example.org")
        monkeypatch.setenv("HEADRACE_WEBHOOK_SECRET", SECRET)
        monkeypatch.setenv("HEADRACE_CONSOLE_URL", console)
        monkeypatch.setenv("HEADRACE_JOB_HOOKS", hook.url.removesuffix("/hook"))
        from headrace.batch.job import Options

        source = sent(console, "flights.csv", ROWS.write_csv().encode())
        asked = Options(tell=("anna@example.org", hook.url))
        job = registered.queue_job("late", source, "", "csv", asked)
        worker = registered._start_worker()
        try:
            eventually(lambda: mailbox.mails and hook.taken, 60)
        finally:
            worker.terminate()
            worker.wait()
    mail = mailbox.mails[0]
    assert (mail["To"], mail["Subject"]) == ("anna@example.org", "[headrace] flights.csv: done")
    text = mail.get_content()
    assert "1,000 rows read, 1,000 scored, 0 rejected" in text
    link = next(word for word in text.split() if "/fetch/" in word)
    assert pl.read_csv(io.BytesIO(ask("GET", link)[2])).height == 1000
    headers, body = hook.taken[0]
    assert verified(headers, body)
    assert json.loads(body)["data"]["job"] == job.id
    later = link.replace(f"{job.id}.", f"{job.id}.9")
    for wrong in (link[:-2] + "xy", later, console + "/fetch/x", console + "/fetch/a.b.c"):
        assert ask("GET", wrong)[0] == 404


def test_many_small_jobs_do_not_wait_for_a_large_one(registered, console, tmp_path):
    large = sent(console, "large.csv", pl.concat([ROWS] * 4000).write_csv().encode(), 8 << 20)
    first = call("POST", f"{console}/api/jobs", {"model": "late", "source": large})[1]
    worker = registered._start_worker()
    try:
        eventually(lambda: registered.job(first["id"]).status == "running", 60)
        small = []
        for number in range(20):
            source = sent(console, f"{number}.csv", f"minutes,carrier\n{number},UA\n".encode())
            small.append(call("POST", f"{console}/api/jobs", {"model": "late", "source": source})[1]["id"])
        assert all(ended(console, job)["status"] == "done" for job in small)
        assert registered.job(first["id"]).status == "running"
        registered.cancel_job(first["id"])
        assert ended(console, first["id"])["status"] in ("cancelled", "done")
    finally:
        worker.terminate()
        worker.wait()


def test_callers_reach_their_own_files_and_jobs_alone(registered, start_headrace):
    keys = {
        name: registered.create_key(name, scopes)[1] for name, scopes in (("anna", ["predict"]), ("berta", ["predict"]))
    }
    keys["otto"] = registered.create_key("otto", ["predict", "deploy"])[1]
    url = start_headrace("--workspace", registered.places.url, "console", "--port", "0", "--guarded")["url"]

    def as_who(who, method, path, body=None, **headers):
        return ask(method, url + path, body, authorization=f"Bearer {keys[who]}", **headers)

    content = b"minutes,carrier\n1.5,UA\n"
    said = {"upload_length": len(content), "upload_metadata": f"filename {base64.b64encode(b'rows.csv').decode()}"}
    _, headers, body = as_who("anna", "POST", "/api/uploads", b"", **said)
    place, source = headers["location"], json.loads(body)["source"]
    piece = {"content_type": "application/offset+octet-stream", "upload_offset": 0}
    assert as_who("berta", "PATCH", place, content, **piece)[0] == 404
    assert as_who("anna", "PATCH", place, content, **piece)[0] == 204
    asked = json.dumps({"model": "late", "source": source, "keep": "all"}).encode()
    for method, path, sent_body in (
        ("GET", place, None),
        ("DELETE", place, None),
        ("GET", f"{place}/look?model=late", None),
        ("POST", "/api/jobs", asked),
    ):
        assert as_who("berta", method, path, sent_body, content_type="application/json")[0] == 404
    job = json.loads(as_who("anna", "POST", "/api/jobs", asked, content_type="application/json")[2])["id"]
    assert registered.work_at(job).status == "done"
    for path in ("first", "result"):
        statuses = [as_who(who, "GET", f"/api/jobs/{job}/{path}")[0] for who in ("anna", "berta", "otto")]
        assert statuses == [200, 403, 200]
    pages = {who: as_who(who, "GET", f"/jobs/{job}")[2].decode() for who in keys}
    assert ["First answers" in pages[who] for who in ("anna", "berta", "otto")] == [True, False, True]
