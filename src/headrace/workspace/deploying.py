"""The verbs that test versions and put them on targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from headrace import settings
from headrace.delivery.deploying import Asked
from headrace.delivery.deployments import Deployment
from headrace.delivery.planning import Plan
from headrace.delivery.programs import Saying
from headrace.delivery.targets.choosing import chosen
from headrace.delivery.targets.own import own
from headrace.kernel.errors import NotFound
from headrace.kernel.identifiers import new_id
from headrace.kernel.records import ModelTestResult, ModelTests
from headrace.training.policies import kept_policy
from headrace.training.project import FILE, read_project
from headrace.training.testing import Rooms as TestingRooms
from headrace.training.testing import run_tests
from headrace.workspace.delivering import Delivering


class Deploying(Delivering):
    """Versions under test and on targets."""

    def plan_deployment(
        self, reference: str, target: str, *, project: str | Path = ".", options: Mapping[str, str] | None = None
    ) -> Plan:
        """What `deploy` would change, and by which commands; nothing is done."""
        return self.deployer.plan(self._asked(reference, target, project, options or {}, ""))

    def deploy(
        self,
        reference: str,
        target: str,
        *,
        project: str | Path = ".",
        options: Mapping[str, str] | None = None,
        why: str = "asked for",
        saying: Saying = lambda _: None,
    ) -> Deployment:
        """Put a version on a target, and see that it answers there as it should; else what stood there is put back.

        Args:
            target: a table ``[target.NAME]`` of the project, or a kind of target.
            project: the folder of the project; what stands in it is relative to it.
            options: fields of the target that are said here.
            saying: is told what is done, line by line.
        """
        return self.deployer.deploy(self._asked(reference, target, project, options or {}, why), saying)

    def write_deployment(
        self, reference: str, target: str, *, project: str | Path = ".", options: Mapping[str, str] | None = None
    ) -> Plan:
        """Write the files of a deployment and run nothing: something else puts them where they belong."""
        return self.deployer.write(self._asked(reference, target, project, options or {}, ""))

    def start_deployment(self, reference: str, targets: Sequence[str], reason: str = "asked for") -> str:
        """Start putting a version on targets of its project as a durable run, one after the other; gives its id."""
        return self.starter.deploy(self.version(reference), list(targets), settings.who(), reason, new_id())

    def deployments(self, model: str | None = None, limit: int = 50) -> list[Deployment]:
        """The newest deployments first."""
        return self.deployment_store.list(model, limit)

    def test(
        self,
        reference: str,
        *,
        project: str | Path | None = None,
        saying: Callable[[ModelTestResult], None] = lambda _: None,
    ) -> ModelTests:
        """Run the tests that a project declares of its model against a version, and keep what came of them.

        Args:
            project: the folder whose tests and functions are taken; those that the version was made with where None.
            saying: is told each result.
        """
        version = self.version(reference)
        policy = (
            read_project(Path(project)).policy(version.name) if project else kept_policy(self.database, version.name)
        )
        if policy is None:
            raise NotFound(
                f"{version.name} was not made by a project, so nothing is declared of it.",
                todo="Put the training into a project: headrace init DIR.",
            )
        rooms = TestingRooms(self.version_store, self.snapshots, self.clock)
        code = Path(project) if project else None
        tests = run_tests(rooms, version, policy, settings.who(), saying, code)
        self.tested.add(tests)
        return tests

    def tests(self, reference: str) -> ModelTests | None:
        """What came of the last tests of a version; None where there were none."""
        version = self.version(reference)
        return self.tested.newest(version.name, version.number)

    def _asked(self, reference: str, target: str, project: str | Path, options: Mapping[str, str], why: str) -> Asked:
        root = Path(project)
        known = read_project(root).targets if (root / FILE).exists() else {}
        section, version = chosen(target, known, options), self.version_store.get(reference)
        return Asked(version, target, section, root, partial(own, code=root), settings.who(), why)
