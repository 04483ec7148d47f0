"""CI pipelines of a project, for GitHub, GitLab and Azure: what a change is held against, and what follows when it is
merged.

The same steps everywhere, each a few lines of shell that people can run themselves. A change is checked in a workspace
of its own, beside a copy of the version that is live. Nothing is written to the real workspace until the change is
merged, and nothing goes live before a person says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import yaml

from headrace.kernel.identifiers import check_name
from headrace.training.project import Project

SAMPLE = 5000
HEAD = "# Written by 'headrace init --ci {system}' from headrace.toml, and yours to change.\n"
SECRETS = """\
# HEADRACE_WORKSPACE is a secret: the workspace of production, postgresql://.../DATABASE?objects=s3://BUCKET/PREFIX.
# Where it is not known, as in a change from outside, the comparison with what is live is left out.
"""
SCRATCH = "/tmp/headrace-check"  # noqa: S108 - on a machine that is thrown away


AZURE = """\
set -eo pipefail
case "${LIVE:-}" in '$('*) LIVE="" ;; esac  # so Azure leaves a variable that is not set
"""


class Step(NamedTuple):
    """Some lines of shell, and what they are for."""

    title: str
    lines: str


class Pipeline(NamedTuple):
    """Where a pipeline is written, and its text."""

    path: str
    text: str


def pipeline(system: str, project: Project, python: str) -> Pipeline:
    """The pipeline of a project.

    Args:
        system: github, gitlab or azure.
        python: the release of Python that the project is run with: ``3.11``.
    """
    for name in (*project.models, *project.targets):
        check_name(name)
    path, made = SYSTEMS[system](project, python)
    text = yaml.dump(made, Dumper=_Readable, sort_keys=False, width=110, allow_unicode=True)
    return Pipeline(path, HEAD.format(system=system) + SECRETS + text)


def check_steps(project: Project) -> list[Step]:
    """What a change is held against: lint, tests, a run on a sample with gate and certificate, the model's own tests,
    and the version that is live."""
    steps = [
        Step("Install", "python -m pip install --quiet -r requirements.txt ruff pytest\n"),
        Step("Lint", "ruff check .\n"),
        Step("Test the functions", "if [ -d tests ]; then python -m pytest tests; fi\n"),
        Step("Read headrace.toml", "headrace plan\n"),
    ]
    for model, section in project.models.items():
        steps += [
            Step(f"Fetch what is live of {model}", _fetch(model)),
            Step(f"Train {model} on a sample", f"headrace run {model} --sample {SAMPLE} --reason check\n"),
        ]
        if section.test:
            steps.append(Step(f"Test {model}", f"headrace test {_newest(model)}\n"))
        steps.append(Step(f"Compare {model}", _compare(model)))
    return steps


def release_steps(project: Project) -> list[Step]:
    """What follows when a change is merged: its policies are brought in, and a version of each model is made."""
    steps = [
        Step("Install", "python -m pip install --quiet -r requirements.txt\n"),
        Step("Bring headrace.toml in", "headrace apply\n"),
    ]
    for model, section in project.models.items():
        steps.append(Step(f"Make a version of {model}", f'headrace run {model} --reason "merged ${{COMMIT:-}}"\n'))
        if section.test:
            steps.append(Step(f"Test {model}", f"headrace test {_newest(model)}\n"))
    return steps


def deploy_steps(project: Project) -> list[Step]:
    """What a person says the word for: the newest version becomes live, and is put on its targets."""
    steps = [Step("Install", "python -m pip install --quiet -r requirements.txt\n")]
    for model, section in project.models.items():
        steps.append(Step(f"Make {model} live", f"headrace promote {_newest(model)}\n"))
        if "promoted" not in section.deploy.on:
            targets = section.deploy.targets or tuple(project.targets)
            steps += [Step(f"Put {model} on {one}", f"headrace deploy {_newest(model)} {one}\n") for one in targets]
    return steps


def _newest(model: str) -> str:
    """The version that was made last, as a word of a shell."""
    return f'"$(headrace show {model} --newest)"'


def _fetch(model: str) -> str:
    return f"""\
if [ -n "${{LIVE:-}}" ] && HEADRACE_WORKSPACE="$LIVE" headrace export {model} {SCRATCH}/live-{model}; then
  headrace register {model} {SCRATCH}/live-{model} --trust
  headrace promote {model}@1
fi
"""


def _compare(model: str) -> str:
    return f"""\
if [ -d {SCRATCH}/live-{model} ]; then
  headrace diff {model}@live {_newest(model)} --format markdown | tee -a {SCRATCH}/comparison.md
fi
"""


def _script(steps: list[Step]) -> list[str]:
    """The steps as one list of scripts, for systems whose steps have no names."""
    return [f"# {step.title}\n{step.lines}" for step in steps]


def _github(project: Project, python: str) -> tuple[str, dict[str, Any]]:
    workspace = "${{ secrets.HEADRACE_WORKSPACE }}"
    comment = f"""\
if [ -s {SCRATCH}/comparison.md ]; then
  gh pr comment "$PULL" --edit-last --create-if-none --body-file {SCRATCH}/comparison.md
fi
"""
    opening = [
        {"uses": "actions/checkout@v4"},
        {"uses": "actions/setup-python@v5", "with": {"python-version": python, "cache": "pip"}},
    ]

    def named(steps: list[Step]) -> list[dict[str, Any]]:
        return [{"name": step.title, "run": step.lines} for step in steps]

    def job(steps: list[dict[str, Any]], around: dict[str, str], **more: Any) -> dict[str, Any]:
        shell = {"run": {"shell": "bash"}}
        return {"runs-on": "ubuntu-latest", **more, "defaults": shell, "env": around, "steps": opening + steps}

    merged = "github.event_name == 'push'"
    asked = "${{ github.event.pull_request.number }}"
    ours = "github.event.pull_request.head.repo.full_name == github.repository"  # others' changes may not comment
    said = {"name": "Say so", "if": ours, "run": comment}
    said["env"] = {"GH_TOKEN": "${{ github.token }}", "PULL": asked}  # type: ignore[assignment]
    made = {
        "name": "headrace",
        "on": {"pull_request": {}, "push": {"branches": ["main"]}},
        "permissions": {"contents": "read", "pull-requests": "write"},
        "concurrency": {"group": "headrace-${{ github.ref }}", "cancel-in-progress": False},
        "jobs": {
            "check": job(
                [*named(check_steps(project)), said],
                {"HEADRACE_WORKSPACE": f"{SCRATCH}/workspace", "LIVE": workspace},
            ),
            "release": job(
                named(release_steps(project)),
                {"HEADRACE_WORKSPACE": workspace, "COMMIT": "${{ github.sha }}"},
                needs="check",
                **{"if": merged},
            ),
            "deploy": job(
                named(deploy_steps(project)),
                {"HEADRACE_WORKSPACE": workspace},
                needs="release",
                environment="production",
            ),
        },
    }
    return ".github/workflows/headrace.yml", made


def _gitlab(project: Project, python: str) -> tuple[str, dict[str, Any]]:
    note = f"""\
# A token with the scope api, as the variable GITLAB_TOKEN, lets the comparison be said on the change.
if [ -s {SCRATCH}/comparison.md ] && [ -n "${{GITLAB_TOKEN:-}}" ]; then
  curl --fail --silent --show-error --output /dev/null --header "PRIVATE-TOKEN: $GITLAB_TOKEN" \\
    --data-urlencode "body@{SCRATCH}/comparison.md" \\
    "$CI_API_V4_URL/projects/$CI_PROJECT_ID/merge_requests/$CI_MERGE_REQUEST_IID/notes"
fi
"""
    change = {"if": '$CI_PIPELINE_SOURCE == "merge_request_event"'}
    merged = {"if": "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH"}
    image = f"python:{python}"
    made = {
        "stages": ["check", "release", "deploy"],
        "default": {"image": image},
        "check": {
            "stage": "check",
            "rules": [change, merged],
            "script": [
                f'export LIVE="${{HEADRACE_WORKSPACE:-}}" HEADRACE_WORKSPACE={SCRATCH}/workspace',
                *_script(check_steps(project)),
                'if [ -n "${CI_MERGE_REQUEST_IID:-}" ]; then\n' + note + "fi\n",
            ],
        },
        "release": {
            "stage": "release",
            "rules": [merged],
            "script": ['export COMMIT="${CI_COMMIT_SHA:-}"', *_script(release_steps(project))],
        },
        "deploy": {
            "stage": "deploy",
            "rules": [{**merged, "when": "manual"}],
            "environment": {"name": "production"},
            "script": _script(deploy_steps(project)),
        },
    }
    return ".gitlab-ci.yml", made


def _azure(project: Project, python: str) -> tuple[str, dict[str, Any]]:
    workspace = "$(HEADRACE_WORKSPACE)"
    chosen = {"task": "UsePythonVersion@0", "inputs": {"versionSpec": python}}

    def named(steps: list[Step], environment: dict[str, str]) -> list[dict[str, Any]]:
        return [{"bash": AZURE + step.lines, "displayName": step.title, "env": environment} for step in steps]

    checking = {"HEADRACE_WORKSPACE": f"{SCRATCH}/workspace", "LIVE": workspace}
    merged = "and(succeeded(), eq(variables['Build.SourceBranch'], 'refs/heads/main'))"
    releasing = {"HEADRACE_WORKSPACE": workspace, "COMMIT": "$(Build.SourceVersion)"}
    deploying = named(deploy_steps(project), {"HEADRACE_WORKSPACE": workspace})
    made = {
        "trigger": ["main"],
        "pr": ["main"],
        "pool": {"vmImage": "ubuntu-latest"},
        "stages": [
            {
                "stage": "check",
                "jobs": [{"job": "check", "steps": [chosen, *named(check_steps(project), checking), _azure_thread()]}],
            },
            {
                "stage": "release",
                "dependsOn": "check",
                "condition": merged,
                "jobs": [{"job": "release", "steps": [chosen, *named(release_steps(project), releasing)]}],
            },
            {
                "stage": "deploy",
                "dependsOn": "release",
                "jobs": [
                    {
                        "deployment": "deploy",
                        "environment": "production",
                        "strategy": {"runOnce": {"deploy": {"steps": [{"checkout": "self"}, chosen, *deploying]}}},
                    }
                ],
            },
        ],
    }
    return "azure-pipelines.yml", made


def _azure_thread() -> dict[str, Any]:
    """The step that says the comparison on the change."""
    body = json.dumps("import json, sys; print(json.dumps({'comments': [{'content': sys.stdin.read()}]}))")
    thread = f"""\
if [ -s {SCRATCH}/comparison.md ]; then
  python -c {body} < {SCRATCH}/comparison.md > {SCRATCH}/thread.json
  curl --fail --silent --show-error --output /dev/null --header "Authorization: Bearer $TOKEN" \\
    --header "Content-Type: application/json" --data "@{SCRATCH}/thread.json" \\
    "$COLLECTION$PROJECT/_apis/git/repositories/$REPOSITORY/pullRequests/$PULL/threads?api-version=7.1"
fi
"""
    return {
        "bash": AZURE + thread,
        "displayName": "Say so",
        "condition": "and(succeeded(), eq(variables['Build.Reason'], 'PullRequest'))",
        "env": {
            "TOKEN": "$(System.AccessToken)",
            "COLLECTION": "$(System.CollectionUri)",
            "PROJECT": "$(System.TeamProject)",
            "REPOSITORY": "$(Build.Repository.ID)",
            "PULL": "$(System.PullRequest.PullRequestId)",
        },
    }


SYSTEMS: dict[str, Callable[[Project, str], tuple[str, dict[str, Any]]]] = {
    "github": _github,
    "gitlab": _gitlab,
    "azure": _azure,
}


class _Readable(yaml.SafeDumper):
    """Scripts as blocks, as people write them."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Readable.add_representer(str, _text)
_Readable.ignore_aliases = lambda _self, _data: True  # type: ignore[method-assign]
