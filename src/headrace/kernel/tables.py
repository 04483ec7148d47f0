"""The shape of the database at one glance. Moments are ISO 8601 texts in UTC; documents are JSON."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("time", String, nullable=False),
    Column("who", String, nullable=False),
    Column("action", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous", String, nullable=False),
    Column("hash", String, nullable=False),
    Column("signature", String, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("name", String, primary_key=True),
    Column("created", String, nullable=False),
    Column("policy", JSON),
    Column("code", String, nullable=False, default=""),
    Column("root", String, nullable=False, default=""),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("dataset", String, primary_key=True),
    Column("digest", String, primary_key=True),
    Column("table_version", Integer, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("schema", Text, nullable=False),
    Column("start", String, nullable=False),
    Column("end", String, nullable=False),
    Column("created", String, nullable=False),
    Column("row_digests", String, nullable=False, default=""),
    Column("column_digests", JSON),
    Column("origin", JSON),
    Column("findings", JSON),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String, primary_key=True),
    Column("model", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("status", String, nullable=False),
    Column("params", JSON, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_by", String, nullable=False),
    Column("created", String, nullable=False),
    Column("started", String),
    Column("ended", String),
    Column("parent", String, nullable=False, default=""),
    Column("code", String, nullable=False, default=""),
    Column("root", String, nullable=False, default=""),
    Column("snapshot", String, nullable=False, default=""),
    Column("version", Integer),
    Column("evaluation", Text),
    Column("gate", Text),
    Column("error", JSON),
    Column("words", Text, nullable=False, default=""),
    Index("runs_by_model", "model", "id"),
    Index("runs_by_parent", "parent"),
    Index("runs_by_status", "status"),
)

run_steps = Table(
    "run_steps",
    metadata,
    Column("run", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("status", String, nullable=False),
    Column("started", String, nullable=False),
    Column("ended", String),
    Column("worker", String, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("note", Text, nullable=False, default=""),
    Column("result", JSON),
)

versions = Table(
    "versions",
    metadata,
    Column("model", String, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("digest", String, nullable=False),
    Column("run", String, nullable=False),
    Column("gate_passed", Boolean),
    Column("document", Text, nullable=False),
    Column("created", String, nullable=False),
    Column("words", Text, nullable=False, default=""),
    Index("versions_by_run", "run"),
    Index("versions_by_time", "created"),
)

version_metrics = Table(
    "version_metrics",
    metadata,
    Column("model", String, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("metric", String, primary_key=True),
    Column("value", Float, nullable=False),
    Index("version_metrics_by_value", "metric", "value"),
)

certificates = Table(
    "certificates",
    metadata,
    Column("id", String, primary_key=True),
    Column("model", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("document", Text, nullable=False),
    Index("certificates_by_version", "model", "number", "id"),
)

aliases = Table(
    "aliases",
    metadata,
    Column("model", String, primary_key=True),
    Column("alias", String, primary_key=True),
    Column("number", Integer, nullable=False),
)

promotions = Table(
    "promotions",
    metadata,
    Column("id", String, primary_key=True),
    Column("model", String, nullable=False),
    Column("alias", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("previous", Integer),
    Column("who", String, nullable=False),
    Column("why", Text, nullable=False),
    Column("evidence", JSON, nullable=False),
    Column("time", String, nullable=False),
    Index("promotions_by_model", "model", "id"),
)

routes = Table(
    "routes",
    metadata,
    Column("model", String, primary_key=True),
    Column("canary", Integer),
    Column("share", Float, nullable=False, default=0.0),
    Column("paired", Boolean, nullable=False, default=False),
)

generation = Table(
    "generation",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("number", Integer, nullable=False),
)

windows = Table(
    "windows",
    metadata,
    Column("model", String, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("start", String, primary_key=True),
    Column("end", String, nullable=False),
    Column("answers", Integer, nullable=False),
    Column("outcomes", Integer, nullable=False),
    Column("findings", JSON, nullable=False),
    Column("state", JSON, nullable=False),
)

alarms = Table(
    "alarms",
    metadata,
    Column("id", String, primary_key=True),
    Column("model", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("kind", String, nullable=False),
    Column("window", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("evidence", JSON, nullable=False),
    Column("created", String, nullable=False),
    Column("handled", String, nullable=False, default=""),
    Index("alarms_by_model", "model", "id"),
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", String, primary_key=True),
    Column("model", String, nullable=False),
    Column("candidate", Integer, nullable=False),
    Column("baseline", Integer, nullable=False),
    Column("status", String, nullable=False),
    Column("share", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Column("started", String, nullable=False),
    Column("ended", String),
    Column("state", JSON, nullable=False),
    Column("history", JSON, nullable=False),
    Index("rollouts_by_model", "model", "status"),
)

workers = Table(
    "workers",
    metadata,
    Column("executor", String, primary_key=True),
    Column("host", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started", String, nullable=False),
    Column("beat", String, nullable=False),
)

duties = Table(
    "duties",
    metadata,
    Column("name", String, primary_key=True),
    Column("executor", String, nullable=False),
    Column("until", String, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("consumer", String, nullable=False),
    Column("hash", String, nullable=False, unique=True),
    Column("scopes", JSON, nullable=False),
    Column("p99", Float),
    Column("quota", Float),
    Column("created", String, nullable=False),
    Column("created_by", String, nullable=False),
    Column("revoked", String, nullable=False, default=""),
)

proofs = Table(
    "proofs",
    metadata,
    Column("id", String, primary_key=True),
    Column("model", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("level", String, nullable=False),
    Column("document", Text, nullable=False),
    Index("proofs_by_version", "model", "number", "id"),
)

holds = Table(
    "holds",
    metadata,
    Column("subject", String, primary_key=True),
    Column("who", String, nullable=False),
    Column("why", Text, nullable=False),
    Column("created", String, nullable=False),
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", String, primary_key=True),
    Column("model", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("asked_by", String, nullable=False),
    Column("asked", String, nullable=False),
    Column("why", Text, nullable=False),
    Column("approved_by", String, nullable=False),
    Column("approved", String, nullable=False),
    Column("word", Text, nullable=False),
    Index("approvals_by_version", "model", "number"),
)

people = Table(
    "people",
    metadata,
    Column("name", String, primary_key=True),
    Column("role", String, nullable=False),
    Column("password", String, nullable=False),
    Column("code", String, nullable=False),
    Column("code_until", String, nullable=False),
    Column("issuer", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("created", String, nullable=False),
    Column("created_by", String, nullable=False),
    Column("ended", String, nullable=False),
    Index("people_by_subject", "issuer", "subject"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("hash", String, primary_key=True),
    Column("person", String, nullable=False),
    Column("created", String, nullable=False),
    Column("expires", String, nullable=False),
    Index("sessions_by_person", "person"),
)

notices = Table(
    "notices",
    metadata,
    Column("id", String, primary_key=True),
    Column("about", String, nullable=False),
    Column("model", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("receiver", String, nullable=False),
    Column("subject", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("document", JSON, nullable=False),
    Column("created", String, nullable=False),
    Column("due", String, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("delivered", String, nullable=False),
    Column("given_up", String, nullable=False),
    Column("error", Text, nullable=False),
    Index("notices_by_due", "delivered", "given_up", "due"),
    Index("notices_by_time", "created"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String, primary_key=True),
    Column("model", String, nullable=False),
    Column("version", Integer, nullable=False),
    Column("bundle", String, nullable=False),
    Column("source", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("options", JSON, nullable=False),
    Column("identity", String, nullable=False),
    Column("status", String, nullable=False),
    Column("created_by", String, nullable=False),
    Column("created", String, nullable=False),
    Column("started", String, nullable=False),
    Column("ended", String, nullable=False),
    Column("scored", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("chunks", Integer, nullable=False),
    Column("chunks_done", Integer, nullable=False),
    Column("digest", String, nullable=False),
    Column("result", Text, nullable=False),
    Column("rejects", Text, nullable=False),
    Column("error", JSON),
    Column("host", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("beat", String, nullable=False),
    Column("served", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("stopping", Boolean, nullable=False),
    Index("jobs_by_status", "status"),
    Index("jobs_by_identity", "identity"),
)

schedules = Table(
    "schedules",
    metadata,
    Column("model", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("fired", String, nullable=False),
    Column("job", String, nullable=False),
    Column("after", JSON),
    Column("until", JSON),
)

scheduled_files = Table(
    "scheduled_files",
    metadata,
    Column("model", String, nullable=False),
    Column("name", String, nullable=False),
    Column("path", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("stamp", BigInteger, nullable=False),
    Column("job", String, nullable=False),
    Index("scheduled_files_by_name", "model", "name"),
)

deployments = Table(
    "deployments",
    metadata,
    Column("id", String, primary_key=True),
    Column("model", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("target", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("status", String, nullable=False),
    Column("image", Text, nullable=False),
    Column("folder", Text, nullable=False),
    Column("rendered", JSON, nullable=False),
    Column("who", String, nullable=False),
    Column("why", Text, nullable=False),
    Column("created", String, nullable=False),
    Column("ended", String, nullable=False),
    Column("text", Text, nullable=False),
    Index("deployments_by_target", "model", "target", "id"),
)

model_tests = Table(
    "model_tests",
    metadata,
    Column("id", String, primary_key=True),
    Column("model", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("document", Text, nullable=False),
    Index("model_tests_by_version", "model", "number", "id"),
)

compatibility = Table(
    "compatibility",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("oldest", String, nullable=False),
)
