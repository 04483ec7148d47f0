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
    database = open_database(tmp_path / "headrace.db")
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
    open_database(tmp_path / "headrace.db").close()
    with database.write() as writer:
        writer.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(WorkspaceTooNew, match="later Headrace"):
        open_database(tmp_path / "headrace.db")
