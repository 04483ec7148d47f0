"""The migrations give the shape that tables.py describes; reads are of one moment; writes are whole or not at all."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from headrace.kernel import migrations, tables
from headrace.kernel.database import open_database
from headrace.kernel.errors import WorkspaceTooNew
from headrace.kernel.migrations import NEWEST, OLDEST

LATER = (
    *("proofs", "holds", "approvals", "version_metrics", "people", "sessions", "notices", "compatibility", "jobs"),
    *("schedules", "scheduled_files", "deployments", "model_tests"),
)


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


def test_opening_twice_changes_nothing(tmp_path, database):
    open_database(f"sqlite:///{tmp_path}/headrace.db").close()
    with database.read() as connection:
        assert connection.execute(sa.select(tables.compatibility)).all() == [(1, OLDEST)]


@pytest.mark.parametrize("oldest", ["9999", "", None])
def test_a_shape_on_which_this_code_may_not_work_is_refused(tmp_path, database, oldest):
    with database.write() as writer:
        writer.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        if oldest is None:
            writer.execute(sa.text("DROP TABLE compatibility"))
        else:
            writer.execute(tables.compatibility.update().values(oldest=oldest))
    with pytest.raises(WorkspaceTooNew, match="later Headrace"):
        open_database(f"sqlite:///{tmp_path}/headrace.db")


def test_steps_only_add(tmp_path):
    """Since the first release that may work beside a later one."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    revisions = [s.revision for s in reversed(list(ScriptDirectory.from_config(config).walk_revisions()))]
    assert revisions[-1] == NEWEST
    engine = sa.create_engine(f"sqlite:///{tmp_path}/steps.db")
    before: dict[str, dict[str, dict]] = {}
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        for revision in revisions[revisions.index(OLDEST) :]:
            command.upgrade(config, revision)
            connection.commit()
            found = sa.inspect(connection)
            now = {name: {c["name"]: c for c in found.get_columns(name)} for name in found.get_table_names()}
            for table, columns in before.items():
                for name, column in columns.items():
                    same = ("type", "nullable")
                    assert [str(now[table][name][k]) for k in same] == [str(column[k]) for k in same], (table, name)
                for name in now[table].keys() - columns.keys():
                    added = now[table][name]
                    assert added["nullable"] or added["default"] is not None, (table, name)
            before = now
    engine.dispose()


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
        for table in LATER:
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
