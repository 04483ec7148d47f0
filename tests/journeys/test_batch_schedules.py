"""Jobs begin by themselves: at the moments of a cron line, of what is new, whatever fails or is killed between."""

import contextlib
import io
import sqlite3
from datetime import UTC, datetime, timedelta

import deltalake
import polars as pl
import pytest
from tests.conftest import EXAMPLES
from tests.journeys.test_notices import Mailbox, mail_server

import headrace
from headrace.batch import schedules as room
from headrace.kernel.errors import InvalidProject, StorageUnavailable
from headrace.notices.delivering import deliver

CUSTOMERS = pl.DataFrame({"customer": range(60), "plan": ["plus", "free", "team"] * 20, "months": 5, "calls": 2})


class Nightly:
    """A project with a schedule, its workspace, and a clock that is moved by hand."""

    def __init__(self, folder, trained):
        self.folder, self.now = folder, datetime(2026, 3, 1, 0, 30, tzinfo=UTC)
        self.ws = headrace.open(trained)
        self.timed = headrace.open(trained, clock=lambda: self.now)

    def night(self):
        """The next night comes; gives its job, once it has ended."""
        self.now += timedelta(days=1)
        self.timed.loop().turn()
        while self.ws.work_at_jobs(lambda: True):
            pass
        return self.ws.jobs()[0] if self.ws.jobs() else None


@pytest.fixture
def nightly(tmp_path):
    """Makes such a project of the lines of its schedule, with the live version `churn@1`."""
    made = []

    def make(lines):
        folder = tmp_path / "p"
        folder.mkdir()
        toml = (EXAMPLES / "starter" / "headrace.toml").read_text()
        table = lines if lines.startswith("[[") else f"[model.churn.batch]\n{lines}"
        (folder / "headrace.toml").write_text(f"{toml}\n{table}\n")
        (folder / "churn.py").write_text((EXAMPLES / "starter" / "churn.py").read_text())
        (folder / "in").mkdir()
        (folder / "out").mkdir()
        with contextlib.closing(headrace.open(tmp_path / "ws")) as ws:
            ws.run(project=folder)
            ws.promote("churn@1")
        made.append(Nightly(folder, tmp_path / "ws"))
        made[0].timed.loop().turn()
        return made[0]

    yield make
    for one in made:
        one.ws.close()
        one.timed.close()


def test_new_files_are_scored_each_night_once(nightly):
    it = nightly(
        'cron = "0 2 * * *"\nsource = "in/*.csv"\ndestination = "out/{date}-{model}@{version}.csv"\nnew = true'
    )
    assert it.night() is None, "nothing is there yet"
    (known,) = it.ws.job_schedules()
    assert (known["name"], known["cron"], known["fired"][:16]) == ("batch", "0 2 * * *", "2026-03-01T02:00")
    CUSTOMERS.head(10).write_csv(it.folder / "in" / "a.csv")
    CUSTOMERS.head(20).write_csv(it.folder / "in" / "b.csv")
    job = it.night()
    assert (job.status, job.counts.scored, job.created_by) == ("done", 30, "policy")
    assert job.destination.endswith("out/2026-03-02-churn@1.csv")
    assert it.night().id == job.id, "nothing is new"
    CUSTOMERS.head(5).write_csv(it.folder / "in" / "c.csv")
    CUSTOMERS.head(11).write_csv(it.folder / "in" / "a.csv")
    assert it.night().counts.scored == 16, "a file that changed is new"
    (it.folder / "in" / "d.csv").write_text("customer,plan\n1,plus\n")
    failed = it.night()
    assert failed.status == "failed"
    CUSTOMERS.head(3).write_csv(it.folder / "in" / "d.csv")
    CUSTOMERS.head(4).write_csv(it.folder / "in" / "e.csv")
    assert it.night().counts.scored == 7, "what failed comes again"


@pytest.mark.parametrize("kind", ["sqlite", "delta"])
def test_new_rows_of_a_table_are_added_to_a_table(nightly, tmp_path, kind):
    database = tmp_path / "rows.db"
    source = f"sqlite:///{database}#customers" if kind == "sqlite" else f"delta:{tmp_path}/customers"
    lines = f'cron = "0 2 * * *"\nsource = "{source}"\ndestination = "delta:out/answers"\n'
    it = nightly(lines + 'append = true\nnew = "seen"\nkeep = "customer"')

    def arrive(count, moment):
        frame = CUSTOMERS.head(count).with_columns(seen=pl.lit(moment).str.to_datetime(time_unit="us"))
        if kind == "delta":
            deltalake.write_deltalake(tmp_path / "customers", frame, mode="append")
            return
        with sqlite3.connect(database) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS customers (customer, plan, months, calls, seen)")
            texts = frame.with_columns(pl.col("seen").cast(pl.String))
            connection.executemany("INSERT INTO customers VALUES (?, ?, ?, ?, ?)", texts.rows())
        connection.close()

    arrive(10, "2026-03-01 10:00:00")
    assert it.night().counts.scored == 10
    last = it.night()
    arrive(7, "2026-03-03 10:00:00.5")
    assert (it.night().counts.scored, it.ws.jobs()[1].id) == (7, last.id)
    assert pl.read_delta(f"{it.folder}/out/answers").height == 17


def test_a_crash_between_begins_one_job(nightly, monkeypatch):
    it = nightly('cron = "0 2 * * *"\nsource = "in"\ndestination = "out/{date}.csv"\nnew = true')
    CUSTOMERS.write_csv(it.folder / "in" / "a.csv")
    whole = room.ask

    def dying(*words):
        whole(*words)
        raise KeyboardInterrupt

    monkeypatch.setattr(room, "ask", dying)
    it.now += timedelta(days=1)
    with pytest.raises(KeyboardInterrupt):
        it.timed.loop().turn()
    monkeypatch.undo()
    it.timed.loop().turn()
    it.timed.loop().turn()
    assert len(it.ws.jobs()) == 1
    assert it.night().counts.scored == 60
    assert len(it.ws.jobs()) == 1


def test_the_owner_is_told_of_a_job_that_cannot_begin(nightly):
    it = nightly('cron = "0 2 * * *"\nsource = "in/all.csv"\ndestination = "out/{date}.csv"\ntell = ["a@example.org"]')
    assert it.night() is None
    (notice,) = it.ws.outbox.list()
    assert "could not be begun" in notice.subject
    assert "There is nothing at" in notice.text
    CUSTOMERS.write_csv(it.folder / "in" / "all.csv")
    assert it.night().counts.scored == 60


@pytest.mark.parametrize("source", ["in", "in/*.csv"])
def test_results_are_not_scored_themselves(nightly, source):
    it = nightly(f'cron = "0 2 * * *"\nsource = "{source}"\ndestination = "in/{{date}}.csv"\ntell = ["a@example.org"]')
    CUSTOMERS.write_csv(it.folder / "in" / "a.csv")
    assert it.night() is None
    assert "would be found by" in it.ws.outbox.list()[0].text


def test_a_report_is_mailed_that_says_what_changed(nightly, monkeypatch):
    lines = 'cron = "0 2 * * *"\nsource = "in/all.csv"\ndestination = "out/{date}.csv"\nreport = ["a@example.org"]'
    it = nightly(lines)
    mailbox = Mailbox()
    CUSTOMERS.write_csv(it.folder / "in" / "all.csv")
    assert it.night().status == "done"
    others = CUSTOMERS.with_columns(calls=pl.when(pl.col("customer") < 40).then(30).otherwise(0)).write_csv()
    (it.folder / "in" / "all.csv").write_text(others + "secret,plus,x,1\n")
    job = it.night()
    assert (job.status, job.counts.rejected) == ("done", 1)
    with mail_server(mailbox) as port:
        monkeypatch.setenv("HEADRACE_SMTP", f"smtp://127.0.0.1:{port}?from=headrace@example.org")
        assert deliver(it.ws.outbox, it.ws.postman()) == 2
    first, second = mailbox.mails
    assert second["Subject"].startswith("[headrace] churn: batch of 2026-03-")
    page, book = second.iter_attachments()
    text = page.get_content()
    assert (page.get_filename(), book.get_filename()) == ("report.html", "report.xlsx")
    assert "Answers are spread quite otherwise than last time" in text
    assert "secret" not in text
    assert "There is nothing to compare with yet" in next(first.iter_attachments()).get_content()
    figures = pl.read_excel(io.BytesIO(book.get_content()), sheet_name="figures", engine="calamine")
    assert figures.filter(pl.nth(0) == "rows read").row(0) == ("rows read", "61", "60", "+1")
    answers = pl.read_csv(job.destination)
    shown = pl.read_excel(io.BytesIO(book.get_content()), sheet_name="Predictions", engine="calamine")
    expected = {str(value).lower(): count for value, count in answers["prediction"].value_counts().rows()}
    assert {row[0]: row[1] for row in shown.select("prediction", "rows").rows() if row[1]} == expected


def test_storage_that_is_away_is_tried_again(nightly, monkeypatch):
    it = nightly('cron = "0 2 * * *"\nsource = "in"\ndestination = "out/{date}.csv"\ntell = ["a@example.org"]')
    CUSTOMERS.write_csv(it.folder / "in" / "a.csv")
    loop, whole, tries = it.timed.loop(), room.ask, []

    def away(*_):
        tries.append(it.now)
        raise StorageUnavailable("It is away.", todo="Wait.")

    monkeypatch.setattr(room, "ask", away)
    it.now += timedelta(days=1)
    loop.turn()
    loop.turn()
    assert len(tries) == 1, "not at each turn"
    assert "It is away." in it.ws.outbox.list()[0].text
    monkeypatch.setattr(room, "ask", whole)
    it.now += timedelta(minutes=6)
    loop.turn()
    assert [job.destination[-14:] for job in it.ws.jobs()] == ["2026-03-01.csv"], "its moment is not over"


WRONG = [
    ('cron = "daily"\nsource = "in"\ndestination = "o.csv"', "'daily' is no schedule"),
    ('cron = "0 2 * * *"\nsource = "in"\ndestination = "{day}.csv"', "'day' cannot be filled in"),
    ('cron = "0 2 * * *"\nsource = "in"', "destination"),
    (2 * '[[model.churn.batch]]\ncron = "0 2 * * *"\nsource = "in"\ndestination = "o.csv"\n', "have one name"),
]


@pytest.mark.parametrize(("lines", "said"), WRONG)
def test_a_schedule_that_cannot_be_is_named(ws, tmp_path, lines, said):
    toml = (EXAMPLES / "starter" / "headrace.toml").read_text()
    table = lines if lines.startswith("[[") else f"[model.churn.batch]\n{lines}"
    (tmp_path / "headrace.toml").write_text(f"{toml}\n{table}\n")
    with pytest.raises(InvalidProject, match=said):
        ws.start_run(project=tmp_path)
