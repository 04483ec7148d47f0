"""The verbs that put versions where they answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from headrace import settings
from headrace.compiler.certificate import Form
from headrace.delivery.containers import container_form, runner_of
from headrace.delivery.context import subject_of
from headrace.delivery.packaging import Packaged, Wanted, package
from headrace.delivery.programs import Saying
from headrace.kernel.errors import Unavailable
from headrace.kernel.records import Certificate, Version
from headrace.kernel.routes import Rule
from headrace.registry.routing import derive
from headrace.workspace.scoring import Scoring


def wanted_image(tag: str, base: str, platform: str, builder: str, build: bool, push: bool, overwrite: bool) -> Wanted:
    """How an image is to be made, as it is said and as the settings say."""
    return Wanted(
        tag=tag,
        base=base,
        platform=platform,
        builder=builder,
        options=settings.read(settings.BUILD_OPTIONS),
        push_options=settings.read(settings.PUSH_OPTIONS),
        build=build,
        push=push,
        overwrite=overwrite,
    )


class Delivering(Scoring):
    """Images of versions."""

    def package(
        self,
        reference: str,
        folder: str | Path,
        *,
        tag: str = "",
        base: str = "",
        platform: str = "linux/amd64",
        builder: str = "",
        build: bool = True,
        push: bool = False,
        overwrite: bool = False,
        saying: Saying = lambda _: None,
    ) -> Packaged:
        """Write the build context of a version's image to a new folder, and build it where a builder works.

        Args:
            tag: the image's name; ``MODEL:N`` by default.
            base: the image with Python below it; ``python:X.Y-slim`` of training's Python by default.
            platform: ``linux/amd64`` or ``linux/arm64``.
            builder: docker, podman or buildah; the first that works by default.
            overwrite: a build context that stands in the folder gives way.
            saying: is told what is done, line by line.
        """
        version = self.version_store.get(reference)
        wanted = wanted_image(
            tag or f"{version.name}:{version.number}", base, platform, builder, build, push, overwrite
        )
        rule = derive(self.database).rules.get(version.name, Rule())
        subject = subject_of(version, self.version_store.folder(version), rule)
        packaged = package(subject, wanted, Path(folder), self.signer, saying)
        with self.audit_log.change() as change:
            facts = {"tag": packaged.tag, "digest": packaged.digest, "pushed": packaged.pushed}
            change.entry(settings.who(), "package", version.reference, **facts)
        return packaged

    def certify_image(self, reference: str, tag: str, builder: str = "") -> Certificate:
        """Run a version's certificate again, with a container of its image among the forms.

        Raises:
            Unavailable: nothing here runs images, or the container did not start.
        """
        version = self.version_store.get(reference)
        runner = runner_of(builder)
        if not runner:
            raise Unavailable("Nothing here runs images.", expected="docker or podman", todo="Install one of them.")
        return self.version_store.certify(reference, settings.who(), self._container(version, runner, tag))

    @contextmanager
    def _container(self, version: Version, runner: str, tag: str) -> Iterator[Mapping[str, Form]]:
        scorer = self.version_store.open(version)
        with container_form(runner, tag, scorer, settings.read(settings.RUN_OPTIONS)) as forms:
            yield forms
