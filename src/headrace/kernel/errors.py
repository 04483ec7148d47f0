"""Every error that Headrace raises on purpose, as one tree.

HeadraceError
├── InvalidInput            the caller gave something that cannot be used
│   ├── InvalidName         a name of a model, dataset or alias
│   ├── NothingThere        a source in which there is nothing, or nothing yet
│   ├── InvalidProject      headrace.toml, or a function it names
│   ├── SchemaViolation     rows that break the schema of a model or dataset
│   ├── WrongMethod         a path that is not for this HTTP method
│   ├── TooLarge            a request beyond the limits
│   └── UnknownFormat       a body in a format that is not spoken here
├── NotFound                no such model, version, run, prediction
├── Refused                 understood, possible, and not allowed
│   ├── KeyNeeded           no key, or one that is not known
│   ├── Conflict            someone or something else was there first
│   └── NotTrusted          damaged, altered, or from an unknown hand
├── FellShort               it ran, and the answer is no
│   ├── GateFailed          a version below its gate
│   ├── CertificateFailed   forms that do not agree
│   ├── RunFailed           a run that ended without a version
│   └── DeploymentFailed    a version that does not answer on its target as it should
├── Unavailable             something that Headrace needs is not there
│   ├── MissingExtra        an optional package
│   ├── PortTaken           another program listens there
│   ├── StorageUnavailable  a disk or object store that is full, read-only or absent
│   ├── WorkspaceTooNew     written by a later Headrace
│   ├── DeadlinePassed      not done within the time that was given
│   └── Overloaded          more work than the limits allow
└── Fault                   a mistake of ours

An error says what happened with the values, what was expected, and what to do. It knows nothing of HTTP
or exit codes: `entrypoints.outcomes` maps its kind to those.
"""

from __future__ import annotations

from typing import Any, ClassVar


class HeadraceError(Exception):
    """The root. `text` says what happened; `todo` says what to do; the rest points at the place."""

    kind: ClassVar[str] = "fault"

    def __init__(
        self,
        text: str,
        *,
        todo: str,
        row: int | None = None,
        field: str | None = None,
        expected: str | None = None,
    ) -> None:
        super().__init__(text)
        self.text = text
        self.todo = todo
        self.row = row
        self.field = field
        self.expected = expected

    def __str__(self) -> str:
        expected = f" Expected: {self.expected}." if self.expected else ""
        return f"{self.text}{expected} {self.todo}".strip()

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.text, self.document()))

    def document(self) -> dict[str, object]:
        """The error as people and programs get it; what does not apply is left out."""
        fields = {
            "error": self.text,
            "kind": self.kind,
            "row": self.row,
            "field": self.field,
            "expected": self.expected,
            "todo": self.todo,
        }
        return {name: value for name, value in fields.items() if value is not None}


def _rebuild(cls: type[HeadraceError], text: str, document: dict[str, object]) -> HeadraceError:
    rest = {name: document.get(name) for name in ("todo", "row", "field", "expected")}
    return cls(text, **rest)  # pyright: ignore[reportArgumentType]


class InvalidInput(HeadraceError):
    """The caller gave something that cannot be used; nothing was changed."""

    kind = "invalid_input"


class NothingThere(InvalidInput):
    """A source in which there is nothing, or nothing yet."""

    kind = "nothing_there"


class InvalidName(InvalidInput):
    """A name that could not be a folder, a URL part and a table key alike."""

    kind = "invalid_name"


class InvalidProject(InvalidInput):
    """headrace.toml or a function it names is not as it must be."""

    kind = "invalid_project"


class SchemaViolation(InvalidInput):
    """Rows that break the schema; `row` and `field` say where."""

    kind = "schema_violation"


class WrongMethod(InvalidInput):
    """A path that is not for the method with which it was called; `expected` names the right ones."""

    kind = "wrong_method"


class TooLarge(InvalidInput):
    """A request beyond the limits."""

    kind = "too_large"


class UnknownFormat(InvalidInput):
    """A content type or encoding that is not spoken here."""

    kind = "unknown_format"


class NotFound(HeadraceError):
    """No such thing in this workspace."""

    kind = "not_found"


class Refused(HeadraceError):
    """Understood and possible, but not allowed."""

    kind = "refused"


class KeyNeeded(Refused):
    """The caller did not say who it is, or nobody knows the key that it showed."""

    kind = "key_needed"


class Conflict(Refused):
    """The state is not the one that this change needs."""

    kind = "conflict"


class NotTrusted(Refused):
    """Damaged, altered, or from an unknown hand: it was not opened."""

    kind = "not_trusted"


class FellShort(HeadraceError):
    """It ran, and the answer is no."""

    kind = "fell_short"


class GateFailed(FellShort):
    """The version is below its gate."""

    kind = "gate_failed"


class CertificateFailed(FellShort):
    """Two forms of a version do not give the same answers."""

    kind = "certificate_failed"


class RunFailed(FellShort):
    """A run ended without a version."""

    kind = "run_failed"


class DeploymentFailed(FellShort):
    """A version does not answer on its target as it should; what stood there before was put back."""

    kind = "deployment_failed"


class Unavailable(HeadraceError):
    """Something that Headrace needs is not there."""

    kind = "unavailable"


class MissingExtra(Unavailable):
    """An optional package is not installed; `todo` is the command that installs it."""

    kind = "missing_extra"


class PortTaken(Unavailable):
    """Another program listens on the port."""

    kind = "port_taken"


class StorageUnavailable(Unavailable):
    """A disk or an object store is full, read-only or absent."""

    kind = "storage_unavailable"


class WorkspaceTooNew(Unavailable):
    """The workspace was written by a later Headrace."""

    kind = "workspace_too_new"


class DeadlinePassed(Unavailable):
    """The answer was not there within the time that the caller, or the limits, gave."""

    kind = "deadline_passed"


class Overloaded(Unavailable):
    """More work than the limits allow; try again later."""

    kind = "overloaded"


class Fault(HeadraceError):
    """A mistake of ours."""

    kind = "fault"


def rebuilt(document: dict[str, Any]) -> HeadraceError:
    """An error that another process wrote down or sent, as `HeadraceError.document` gives it."""
    kinds = {cls.kind: cls for cls in _descendants(HeadraceError)}
    rest = {name: document.get(name) for name in ("row", "field", "expected")}
    return kinds.get(document["kind"], HeadraceError)(document["error"], todo=document.get("todo", ""), **rest)


def _descendants(cls: type[HeadraceError]) -> list[type[HeadraceError]]:
    return [d for child in cls.__subclasses__() for d in (child, *_descendants(child))]
