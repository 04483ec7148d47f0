"""Notices in one's own words: a folder of Jinja templates, named by what they tell of.

`job.done.txt` is a mail's text, whose first line is its subject where it begins with ``Subject:``; `job.done.html`
stands beside the text; `job.done.json` is the whole body of a webhook, as a chat wants it. `notice.txt` and its like
are for every type that has none of its own. A template may use `subject` and `text` (the notice as it is without one),
`type`, `data` (what webhooks get), `model`, `receiver` and `created`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec
from jinja2 import ChoiceLoader, FileSystemLoader, StrictUndefined, TemplateNotFound
from jinja2.sandbox import ImmutableSandboxedEnvironment

from headrace.kernel.callers import Notice
from headrace.kernel.clock import to_text
from headrace.kernel.errors import InvalidInput

ANY = "notice"
SUBJECT = "subject:"


class Words(NamedTuple):
    """What a mail says; `html` is empty where it is a text alone."""

    subject: str
    text: str
    html: str = ""


class Templates:
    """The templates of a folder; read anew each time, so that they may be altered while a worker runs.

    A template that cannot be used keeps no notice from arriving: it arrives as it is without one, and says why.

    Args:
        folder: None for none.
    """

    def __init__(self, folder: Path | None) -> None:
        self._environment = ImmutableSandboxedEnvironment(
            loader=ChoiceLoader([FileSystemLoader(folder)] if folder is not None else []),
            undefined=StrictUndefined,
            autoescape=lambda name: bool(name and name.endswith(".html")),
        )

    def mail(self, notice: Notice) -> Words:
        """What a mail says."""
        try:
            return self._mail(notice)
        except Exception as error:  # whatever somebody's template does
            return Words(notice.subject, f"{notice.text}\n\n{_why(notice, error)}")

    def body(self, notice: Notice) -> bytes:
        """What is posted. Without a template it has `type`, `timestamp` and `data`, as Standard Webhooks has it, and
        `text` beside them, which is what chats show of a message."""
        try:
            text = self._rendered(notice, "json")
            if text is not None:
                return msgspec.json.encode(msgspec.json.decode(text))
        except Exception as error:  # whatever somebody's template does
            return _standard(notice, f"{notice.text}\n\n{_why(notice, error)}")
        return _standard(notice, notice.text)

    def _mail(self, notice: Notice) -> Words:
        text, html = self._rendered(notice, "txt"), self._rendered(notice, "html")
        subject, text = _divided(notice.subject, notice.text if text is None else text)
        return Words(subject, text, html or "")

    def _rendered(self, notice: Notice, ending: str) -> str | None:
        names = [f"{name}.{ending}" for name in (_type(notice), ANY)]
        try:
            template = self._environment.select_template(names)
        except TemplateNotFound:
            return None
        return template.render(
            subject=notice.subject,
            text=notice.text,
            type=_type(notice),
            data=notice.document,
            model=notice.model,
            receiver=notice.receiver,
            created=notice.created,
        )


def templates_in(folder: str) -> Templates:
    """The templates of a folder; none where it is the empty text.

    Raises:
        InvalidInput: there is no such folder.
    """
    if folder and not Path(folder).is_dir():
        raise InvalidInput(
            f"HEADRACE_TEMPLATES is {folder!r}, which is no folder.",
            expected="a folder with templates such as job.done.txt",
            todo="Make it, or correct HEADRACE_TEMPLATES.",
        )
    return Templates(Path(folder) if folder else None)


def _type(notice: Notice) -> str:
    return str(notice.document.get("type", ANY))


def _divided(subject: str, text: str) -> tuple[str, str]:
    """The subject and the text of a rendered template."""
    first, _, rest = text.partition("\n")
    if not first.lower().startswith(SUBJECT):
        return subject, text
    return " ".join(first[len(SUBJECT) :].split()) or subject, rest.lstrip("\n")


def _standard(notice: Notice, text: str) -> bytes:
    document = {"type": _type(notice), "timestamp": to_text(notice.created), "data": notice.document}
    return msgspec.json.encode({**document, "text": f"{notice.subject}\n{text}"})


def _why(notice: Notice, error: Exception) -> str:
    return f"(The template for {_type(notice)} could not be used: {type(error).__name__}: {error}.)"
