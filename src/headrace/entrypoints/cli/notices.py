"""The verb about what owners are told."""

from __future__ import annotations

import click

from headrace.entrypoints.cli.verb import Call, out, table, verb
from headrace.kernel.callers import Notice


@click.command()
@click.argument("model", required=False)
@click.option(
    "--test", "receiver", metavar="TO", help="Tell a mail address or a URL something now; exit code 5 if not."
)
@click.option(
    "--like", metavar="TYPE", default="", help="With --test: the newest notice of a type, as job.done, again."
)
@click.option("--limit", default=30, show_default=True, help="How many.")
@verb
def notices(call: Call, model: str | None, receiver: str | None, like: str, limit: int) -> None:
    """What the owners of models were told, by mail and webhook, and whether it arrived; newest first.

    \b
    [model.churn]
    owners = { accuracy = "Anna <anna@example.org>", speed = "https://chat.example.org/hooks/7" }

    Mails go through HEADRACE_SMTP (smtp+starttls://USER:PASSWORD@HOST:587?from=ADDRESS), webhooks are signed with
    HEADRACE_WEBHOOK_SECRET. Workers deliver them, again and again for a day, in the words of the templates in the
    folder HEADRACE_TEMPLATES, where there are any (docs/monitoring.md).
    """
    if receiver is not None:
        sent = call.workspace.test_notice(receiver, like)
        call.answer(sent, lambda: out.print(f"{sent.receiver} took it.", markup=False))
        return
    found: list[Notice] = call.workspace.notices(model, limit)
    rows = [(f"{n.created:%Y-%m-%d %H:%M:%S}", n.receiver, n.subject, state_of(n)) for n in found]
    call.answer(found, lambda: table("notices", ("when (UTC)", "to", "what", "arrived"), rows))


def state_of(notice: Notice) -> str:
    """What became of a notice, in words."""
    if notice.delivered is not None:
        return f"{notice.delivered:%H:%M:%S}"
    if notice.given_up is not None:
        return f"given up after {notice.attempts}: {notice.error}"
    return f"tried {notice.attempts} times, again at {notice.due:%H:%M:%S}: {notice.error}" if notice.error else "waits"
