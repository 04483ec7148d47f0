"""Putting a version on a target: plan, image, files, commands, and then the question whether it answers there as it
should. Where it does not, what stood there before is put back."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import shlex
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from headrace.audit.signing import Signer
from headrace.compiler.golden import stored_golden
from headrace.delivery import programs
from headrace.delivery.context import subject_of
from headrace.delivery.deployments import Deployment, Deployments
from headrace.delivery.endpoint import Endpoint
from headrace.delivery.packaging import Wanted, package
from headrace.delivery.planning import Plan, plan_of
from headrace.delivery.programs import Saying
from headrace.delivery.targets.rendering import Own, image_of, rendered
from headrace.delivery.targets.target import Command, Deployable, Rendered
from headrace.kernel.clock import Clock, parse_duration
from headrace.kernel.errors import DeploymentFailed, HeadraceError, NotTrusted, StorageUnavailable, Unavailable
from headrace.kernel.identifiers import new_id
from headrace.kernel.objects import write_whole
from headrace.kernel.places import Places
from headrace.kernel.records import Certificate, Version
from headrace.kernel.routes import CHECKING, Key, RouteDocument, Rule
from headrace.registry.versions import Versions
from headrace.runtimes.bundle import verify_bundle
from headrace.training.applying import Change
from headrace.training.code import DEPLOYED
from headrace.training.targets import TargetSection, kind_of


class Asked(NamedTuple):
    """A version that is to be put on a target; `root` is the folder of its project, `own` calls its functions."""

    version: Version
    target: str
    section: TargetSection
    root: Path
    own: Own
    who: str
    why: str


class Words(NamedTuple):
    """What the settings say: more words for what builds and sends images, and the key that endpoints are asked with."""

    build: str = ""
    push: str = ""
    key: str = ""


class Rooms(NamedTuple):
    """What deploying works with; `routes` gives the route document as it is now, `secret` that of captured columns."""

    places: Places
    versions: Versions
    deployments: Deployments
    signer: Signer
    clock: Clock
    routes: Callable[[], RouteDocument]
    secret: Callable[[], bytes]
    words: Callable[[], Words]


class Deployer:
    """Puts versions on targets."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    def plan(self, asked: Asked) -> Plan:
        """What a deployment would change, and by which commands; nothing is done.

        Raises:
            InvalidInput: the target lacks something.
        """
        return self._planned(asked, *self._rendered(asked, self._image(asked)))

    def _planned(self, asked: Asked, it: Deployable, made: Rendered) -> Plan:
        standing = self._rooms.deployments.standing(it.model, it.target)
        return plan_of(it, kind_of(asked.section), made, standing)

    def write(self, asked: Asked) -> Plan:
        """Write the files of a deployment, and run nothing: something else puts them there."""
        it, made = self._rendered(asked, self._image(asked))
        plan = self._planned(asked, it, made)
        self._lay_out(asked, it, made, {}, lambda _: None)
        return plan

    def drift(self, model: str) -> list[Change]:
        """The files of what stands on targets that are otherwise than they were written, where they can be reached."""
        found = []
        for deployment in self._rooms.deployments.current(model):
            standing = self._rooms.deployments.standing(model, deployment.target)
            folder = Path(deployment.folder)
            for name, text in (standing[1].files if standing and folder.is_dir() else {}).items():
                now = "" if not (folder / name).is_file() else (folder / name).read_text(errors="replace")
                if now != text:
                    said = "altered" if now else "gone"
                    what = f"{deployment.target}: {folder / name}"
                    found.append(Change(model=model, what=what, before=deployment.reference, after=said))
        return found

    def deploy(self, asked: Asked, saying: Saying, identity: str = "") -> Deployment:
        """Put a version on a target.

        Args:
            identity: of a deployment that was begun and interrupted.

        Raises:
            InvalidInput: the target lacks something.
            Unavailable: a program that it needs is not here, or the image could not be built; nothing was changed.
            DeploymentFailed: a command failed, or the endpoint does not answer as it should; what stood there before
                was put back, or why it could not be is told.
        """
        rooms, model = self._rooms, asked.version.name
        with rooms.deployments.alone(model, asked.target):
            it, made = self._rendered(asked, self._image(asked))
            _need_programs(made.put)
            if it.image and asked.section.build:
                it, made = self._rendered(asked, self._packaged(asked, saying))
            identity = identity or new_id()
            earlier = rooms.deployments.standing(model, asked.target)
            rooms.deployments.begin(identity, it, kind_of(asked.section), made, asked.who, asked.why)
            try:
                certificate = self._put(asked, it, made, earlier[1] if earlier else None, saying)
            except (HeadraceError, OSError) as raised:
                error = raised if isinstance(raised, HeadraceError) else _unwritten(raised, it.folder)
                text = self._put_back(it, made, earlier, asked, saying)
                rooms.deployments.end(identity, "failed", f"{error.text} {text}", {})
                raise DeploymentFailed(f"{error.text} {text}", expected=error.expected, todo=error.todo) from error
            return rooms.deployments.end(identity, "deployed", _said(made, certificate), _facts(certificate))

    def _image(self, asked: Asked) -> str:
        """The name of the image, with the digest that it has where the same version stands already."""
        version = asked.version
        name = image_of(asked.section, asked.target, version.name, version.number)
        standing = self._rooms.deployments.standing(version.name, asked.target)
        if standing and standing[0].version == version.number and standing[0].image.partition("@")[0] == name:
            return standing[0].image
        return name

    def _rendered(self, asked: Asked, image: str) -> tuple[Deployable, Rendered]:
        """What is put there; its number grows only where something else is put there than stands."""
        version, rooms = asked.version, self._rooms
        routes = rooms.routes()
        public = rooms.places.signing_public
        it = Deployable(
            model=version.name,
            version=version.number,
            digest=version.digest,
            target=asked.target,
            folder=str((asked.root / asked.section.folder.format(model=version.name)).absolute()),
            image=image,
            rules={name: rule for name, rule in routes.rules.items() if name == version.name},
            keys={
                **routes.keys,
                hashlib.sha256(self._key(asked).encode()).hexdigest(): Key("check", CHECKING, ("predict",)),
            },
            public=rooms.places.objects.latest(public).read_text() if public.exists() else "",
        )
        standing = rooms.deployments.standing(version.name, asked.target)
        if standing is not None:
            same = msgspec.structs.replace(it, serial=standing[1].serial)
            made = rendered(same, asked.section, asked.own)
            if made.files == standing[1].files:
                return same, msgspec.structs.replace(made, serial=same.serial)
        before = (rooms.deployments.count(version.name, asked.target), standing[1].serial if standing else 0)
        it = msgspec.structs.replace(it, serial=max(before) + 1)
        made = rendered(it, asked.section, asked.own)
        return it, msgspec.structs.replace(made, serial=it.serial)

    def _key(self, asked: Asked) -> str:
        """The key that a server is asked with which follows a route document of ours: the same one each time."""
        about = f"check {asked.version.name} {asked.target}".encode()
        return hmac.digest(self._rooms.secret(), about, "sha256").hex()

    def _endpoint(self, asked: Asked, made: Rendered) -> Endpoint:
        key = self._key(asked) if made.bundle else self._rooms.words().key
        return Endpoint(made.address, asked.version.name, key)

    def _packaged(self, asked: Asked, saying: Saying) -> str:
        """Build and send the image; gives its name with the digest that it has in its registry."""
        version, section, words = asked.version, asked.section, self._rooms.words()
        rule = self._rooms.routes().rules.get(version.name, Rule())
        subject = subject_of(version, self._rooms.versions.folder(version), rule)
        name = image_of(section, asked.target, version.name, version.number)
        wanted = Wanted(
            tag=name,
            base=section.base,
            platform=section.platform,
            options=words.build,
            push_options=words.push,
            push=True,
        )
        with tempfile.TemporaryDirectory(prefix="headrace-") as scratch:
            packaged = package(subject, wanted, Path(scratch) / "image", self._rooms.signer, saying)
        return f"{name}@{packaged.pushed}" if packaged.pushed else name

    def _put(
        self, asked: Asked, it: Deployable, made: Rendered, earlier: Rendered | None, saying: Saying
    ) -> Certificate | None:
        folder, before = Path(it.folder), earlier.files if earlier else {}
        bundle = self._lay_out(asked, it, made, before, saying)
        _run_all(made.put, folder, made.files, before, saying)
        if not made.address:
            return None
        saying(f"asking {made.address} for the golden rows")
        golden, scorer = stored_golden(bundle), self._rooms.versions.open(asked.version)
        endpoint = self._endpoint(asked, made)
        first = {name: values[:1] for name, values in golden.columns.items()}
        endpoint.wait_for(it.version, first, parse_duration(asked.section.wait).total_seconds())
        certificate = endpoint.certificate(golden, scorer, self._rooms.clock)
        if not certificate.passed:
            raise DeploymentFailed(
                f"{made.address} does not answer as {it.reference} does: {'; '.join(certificate.failures)}.",
                todo="See what stands between: another model of this name, or something that changes requests.",
            )
        if made.bundle:
            _prune_bundles(folder / made.bundle, earlier)
        return certificate

    def _lay_out(self, asked: Asked, it: Deployable, made: Rendered, before: dict[str, str], saying: Saying) -> Path:
        """Write what a target consists of to its folder; gives the version's bundle."""
        folder, bundle = Path(it.folder), self._rooms.versions.folder(asked.version)
        if made.bundle:
            _copy_bundle(bundle, it.digest, folder / made.bundle, saying)
            write_whole(Places(folder / asked.target).capture_key, self._rooms.secret(), private=True)
        saying(f"writing {folder}")
        _write_files(folder, made.files, before)
        return bundle

    def _put_back(
        self, it: Deployable, made: Rendered, earlier: tuple[Deployment, Rendered] | None, asked: Asked, saying: Saying
    ) -> str:
        """Put back what stood there before, and say what came of it."""
        folder = Path(it.folder)
        try:
            if earlier is None:
                saying(f"taking it away from {it.target}")
                _run_all(made.back, folder, {}, made.files, saying)
                _write_files(folder, {}, made.files)
                return "It was taken away again; nothing had stood there before."
            deployment, before = earlier
            saying(f"putting {deployment.reference} back")
            _write_files(folder, before.files, made.files)
            _run_all(before.put, folder, before.files, made.files, saying)
            if before.address:
                version = self._rooms.versions.get(deployment.reference)
                golden = stored_golden(self._rooms.versions.folder(version))
                first = {name: values[:1] for name, values in golden.columns.items()}
                self._endpoint(asked, before).wait_for(
                    deployment.version, first, parse_duration(asked.section.wait).total_seconds()
                )
        except (HeadraceError, OSError) as error:
            return f"What stood there before could not be put back: {error}"
        return f"{deployment.reference} was put back."


def _unwritten(error: OSError, folder: str) -> StorageUnavailable:
    return StorageUnavailable(
        f"{error.filename or folder} could not be written: {error.strerror or error}.",
        todo="See that the disk has room and the folder may be written, and deploy again.",
    )


def _need_programs(commands: tuple[Command, ...]) -> None:
    for words in (words for command in commands for words in (command.words, command.known, command.instead) if words):
        of_the_folder = "/" in words[0] and not Path(words[0]).is_absolute()  # it may be one of the files
        if not of_the_folder and shutil.which(words[0]) is None:
            raise Unavailable(
                f"{words[0]} is not on this machine.",
                todo=f"Install it; or say --write, and run it where it is: {shlex.join(words)}",
            )


def _run_all(
    commands: tuple[Command, ...], folder: Path, files: dict[str, str], before: dict[str, str], saying: Saying
) -> None:
    for command in commands:
        if command.changed and before.get(command.changed) in (None, files.get(command.changed)):
            continue
        known = bool(command.known) and programs.succeeds(command.known, folder)
        words = command.instead if known else command.words
        if words:
            saying(f"$ {shlex.join(words)}")
            if command.stays:
                programs.start(words, folder / "process.log", folder)
            else:
                programs.run(words, saying, "See what it says, and deploy again.", folder)


def _write_files(folder: Path, files: dict[str, str], before: dict[str, str]) -> None:
    """Write files, the last of them last, and remove those that stood there before and are no longer needed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DEPLOYED).touch()
    for name, text in files.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            write_whole(path, text.encode())
    for name in before.keys() - files.keys():
        (folder / name).unlink(missing_ok=True)


def _copy_bundle(bundle: Path, digest: str, target: Path, saying: Saying) -> None:
    """Copy a bundle to where it is not, or is no longer whole."""
    try:
        verify_bundle(target, digest)
    except (NotTrusted, OSError):
        saying(f"copying the bundle to {target}")
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f"{target.name}.{new_id()}.draft")
        shutil.copytree(bundle, draft)
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)


def _prune_bundles(bundle: Path, earlier: Rendered | None) -> None:
    """Remove bundles other than this one and that which stood there before."""
    kept = {bundle.name, Path(earlier.bundle).name if earlier else ""}
    for other in bundle.parent.iterdir():
        if other.name not in kept:
            with contextlib.suppress(OSError):
                shutil.rmtree(other)


def _said(made: Rendered, certificate: Certificate | None) -> str:
    if certificate is None:
        return "put there; nothing was asked, because no url is known"
    return f"{made.address} answers {certificate.rows} golden rows as it should"


def _facts(certificate: Certificate | None) -> dict[str, object]:
    return {} if certificate is None else {"golden_rows": certificate.rows, "agrees": certificate.passed}
