"""The migrations give the shape that tables.py describes; reads are of one moment; writes are whole or not at all."""

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from headrace.kernel import tables
from headrace.kernel.database import open_database
from headrace.kernel.errors import WorkspaceTooNew


@pytest.fixture
def database(tmp_path):
    database = open_database(f"sqlite:///{tmp_path}/headrace.db")
    yield database
    database.close()


def test_the_migrations_and_the_tables_agree(database):
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []


def test_a_read_is_of_one_moment(database):
    count = sa.select(sa.func.count()).select_from(tables.generation)
    with database.read() as reader:
        before = reader.execute(count).scalar()
        with database.write() as writer:
            writer.execute(tables.generation.insert().values(id=1, number=1))
        assert reader.execute(count).scalar() == before
    with database.read() as reader:
        assert reader.execute(count).scalar() == 1


def test_a_write_that_fails_leaves_nothing(database):
    with pytest.raises(KeyError), database.write() as writer:
        writer.execute(tables.generation.insert().values(id=1, number=1))
        raise KeyError
    with database.read() as reader:
        assert reader.execute(sa.select(tables.generation)).all() == []


def test_opening_twice_changes_nothing_and_a_later_one_is_refused(tmp_path, database):
    open_database(f"sqlite:///{tmp_path}/headrace.db").close()
    with database.write() as writer:
        writer.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(WorkspaceTooNew, match="later Headrace"):
        open_database(f"sqlite:///{tmp_path}/headrace.db")


def test_a_workspace_of_an_earlier_release_opens(tmp_path):
    """Its versions are signed, and found by words and metrics; the database goes back to what it was before."""
    import polars as pl
    from tests.conftest import Threshold

    import headrace

    ws = headrace.open(tmp_path / "ws")
    example = pl.DataFrame({"minutes": [float(i % 60) for i in range(300)], "carrier": ["UA", "AA", "B6"] * 100})
    ws.register("late", Threshold(30.0), example=example)
    ws.promote("late@1")
    version = ws.version("late@1")
    with ws.database.write() as connection:
        for table in ("proofs", "holds", "approvals", "version_metrics"):
            connection.execute(sa.text(f"DROP TABLE {table}"))
        for index in ("versions_by_time", "runs_by_model"):
            connection.execute(sa.text(f"DROP INDEX {index}"))
        connection.execute(sa.text("CREATE INDEX runs_by_model ON runs (model, created)"))
        dropped = (
            ("versions", "words"),
            ("runs", "words"),
            ("snapshots", "row_digests"),
            ("snapshots", "column_digests"),
            ("snapshots", "origin"),
            ("snapshots", "findings"),
        )
        for table, column in dropped:
            connection.execute(sa.text(f"ALTER TABLE {table} DROP COLUMN {column}"))
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0002'"))
    ws.close()
    for path in (
        ws.places.signing_key,
        ws.places.signing_public,
        ws.places.bundles / version.digest / "signature.json",
    ):
        path.unlink()
    again = headrace.open(tmp_path / "ws")
    assert again.verify() == []
    assert [hit.version for hit in again.search("late@1")] == ["late@1"]
    assert again.predict("late", [{"minutes": 44.0, "carrier": "UA"}])["prediction"].to_list() == [True]
    again.register("late", Threshold(20.0), example=example)
    assert again.verify_audit().intact
    again.close()
