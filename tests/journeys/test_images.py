"""From a version to an image that answers wherever a container does: built, certified, tampered with, stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import sklearn
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from tests import containers
from tests.clients import absent
from tests.conftest import EXAMPLE_ROWS, call, eventually, headrace_command
from tests.faults.load import ROW, Clients
from tests.servers import shared_servers

import headrace
from headrace.delivery.builders import build_command
from headrace.delivery.containers import free_port
from headrace.delivery.programs import run
from headrace.kernel.errors import Unavailable

pytestmark = [
    pytest.mark.servers,
    pytest.mark.timing,
    pytest.mark.embedded,
    pytest.mark.timeout(600),
]
FIRST_ANSWER_SECONDS = 2.0
MOST_MEGABYTES = 200


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A workspace with a compiled version, and its image, made by the command line."""
    base = containers.need_base()
    folder = tmp_path_factory.mktemp("images")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADRACE_BUILD_OPTIONS", containers.BUILD)
        patch.setenv("HEADRACE_RUN_OPTIONS", containers.RUN)
        ws = headrace.open(folder / "ws")
        example = EXAMPLE_ROWS.to_pandas()
        fitted = make_pipeline(
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), HistGradientBoostingClassifier()
        )
        ws.register("late", fitted.fit(example, example["minutes"].fillna(0) > 30), example=example)
        yield ws, base, folder
        ws.close()


@pytest.fixture(scope="module")
def image(made):
    _, base, folder = made
    words = (
        "package",
        "late@1",
        str(folder / "context"),
        "--builder",
        "buildah",
        "--base",
        base,
        "--certify",
        "--json",
    )
    done = headrace_command("--workspace", str(folder / "ws"), *words)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout)
    return said["packaged"], said["certificate"]


def url_of(port):
    return f"http://127.0.0.1:{port}"


def ready(port):
    try:
        with urllib.request.urlopen(f"{url_of(port)}/ready", timeout=2) as response:
            return response.status == 200
    except OSError:
        return False


def test_the_certificate_has_the_container_among_its_forms(made, image):
    ws, *_ = made
    packaged, certificate = image
    found = [form for form in certificate["forms"] if form["form"] == "container"]
    assert certificate["passed"]
    assert [form["batch_size"] for form in found] == [1, 37, found[-1]["rows"]]
    assert {form["between_forms"] for form in found} == {0.0}, "bit-identical with our own"
    assert ws.version("late@1").certificate.forms[-1].form == "container"
    entry = next(entry for entry in ws.audit() if entry.action == "package")
    assert entry.detail["digest"] == packaged["digest"]


def test_the_same_version_gives_the_same_digest_and_little_over_its_base(made, image, capsys):
    ws, base, folder = made
    packaged, _ = image
    before = os.umask(0o077)
    try:
        again = ws.package("late@1", folder / "again", tag="late:again", base=base, builder="buildah")
    finally:
        os.umask(before)
    assert again.digest == packaged["digest"]
    size = (int(containers.inspected("late:1", "{{.Size}}")) - int(containers.inspected(base, "{{.Size}}"))) / 1e6
    layers = int(containers.inspected("late:1", "{{len .RootFS.Layers}}"))
    with capsys.disabled():
        print(f"\nthe image has {size:.0f} MB over its base, in {layers - 1} layers")
    assert size < MOST_MEGABYTES
    assert containers.inspected("late:1", "{{.Config.User}}") == "65532:65532"


def test_it_answers_within_two_seconds_of_its_start(image):
    port = free_port()
    began = time.monotonic()
    with containers.running("late:1", env={"PORT": str(port)}):
        eventually(lambda: ready(port))
        status, said = call("POST", f"{url_of(port)}/predict", ROW)
        seconds = time.monotonic() - began
    assert (status, said["version"]) == (200, 1)
    assert seconds < FIRST_ANSWER_SECONDS


def of_row(**more):
    return {**ROW, **more}


PLATFORMS = {
    "plain": ({}, "PORT", "GET /ready", "POST /predict", of_row(), "predictions"),
    "sagemaker": (
        {},
        "SAGEMAKER_BIND_TO_PORT",
        "GET /ping",
        "POST /invocations",
        {"dataframe_records": [ROW]},
        "predictions",
    ),
    "vertex": (
        {"AIP_HEALTH_ROUTE": "/alive", "AIP_PREDICT_ROUTE": "/ask"},
        "AIP_HTTP_PORT",
        "GET /alive",
        "POST /ask",
        {"instances": [ROW]},
        "predictions",
    ),
    "azureml": ({}, "PORT", "GET /health", "POST /models/late/predict", of_row(), "predictions"),
    "kserve": (
        {},
        "PORT",
        "GET /v2/health/ready",
        "POST /v2/models/late/infer",
        {
            "inputs": [
                {"name": "minutes", "shape": [1], "datatype": "FP64", "data": [12.0]},
                {"name": "carrier", "shape": [1], "datatype": "BYTES", "data": ["UA"]},
            ]
        },
        "outputs",
    ),
}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_it_answers_as_each_platform_asks(image, platform):
    env, variable, health, path, body, key = PLATFORMS[platform]
    port = free_port()
    with containers.running("late:1", env={**env, variable: str(port)}):
        method, at = health.split()
        eventually(lambda: ready(port))
        with urllib.request.urlopen(urllib.request.Request(url_of(port) + at, method=method), timeout=5) as response:
            assert response.status == 200
        method, at = path.split()
        status, said = call(method, url_of(port) + at, body)
    assert status == 200, said
    assert said[key]


def test_its_health_check_says_whether_it_is_ready(image):
    port = free_port()
    probe = [sys.executable, "-m", "headrace.entrypoints.scoring.probe"]
    around = {**os.environ, "HEADRACE_BUNDLE": "/opt/headrace/bundle", "PORT": str(port)}
    assert subprocess.run(probe, env=around, check=False).returncode == 1
    with containers.running("late:1", env={"PORT": str(port)}):
        eventually(lambda: ready(port))
        assert subprocess.run(probe, env=around, check=False).returncode == 0


def test_without_a_platform_it_answers_where_most_of_them_look(image):
    with containers.running("late:1"):
        eventually(lambda: ready(8080))
        assert call("POST", f"{url_of(8080)}/invocations", {"dataframe_records": [ROW]})[0] == 200


def test_nobody_is_root_in_it_and_nothing_can_be_written(image):
    look = (
        "import os, subprocess, sys\n"
        "said = [os.getuid()]\n"
        "for place in ('/opt/headrace/bundle/x', '/tmp/x', '/x'):\n"
        "    try: open(place, 'w'); said.append('written')\n"
        "    except OSError: said.append('refused')\n"
        "print(said)"
    )
    command = ["podman", "run", "--rm", "--read-only", "--read-only-tmpfs=false", *containers.RUN.split()]
    done = subprocess.run(
        [*command, "--entrypoint", "python3", "late:1", "-c", look], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "[65532, 'refused', 'refused', 'refused']", done.stderr


@pytest.mark.parametrize("part", ["manifest.json", "compiled/plan.json"])
def test_a_bundle_that_was_tampered_with_never_answers(image, part):
    change = f"p = '/opt/headrace/bundle/{part}'; t = open(p).read(); open(p, 'w').write(t.replace('1', '2', 1))"
    tag = containers.derived("late:1", change)
    port = free_port()
    with containers.running(tag, env={"PORT": str(port)}) as process:
        eventually(lambda: process.poll() is not None or ready(port))
        assert not ready(port)
        said = process.stderr.read()
    assert process.returncode not in (0, None)
    assert "was altered" in said


def test_a_stop_answers_every_request_that_was_sent(image):
    port = free_port()
    with containers.running("late:1", env={"PORT": str(port)}) as process:
        eventually(lambda: ready(port))
        with Clients(port, 8) as clients:
            eventually(lambda: len(clients.answered) > 500)
            signalled = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            eventually(lambda: len(clients.refused) == 8)
        lost = [f for f in clients.failed if f.before or f.opened < signalled or "IncompleteRead" in f.error]
        assert lost == []
        assert {reply.status for reply in clients.answered} == {200}


def test_one_that_is_killed_answers_again(image):
    port = free_port()
    for _ in range(2):
        with containers.running("late:1", env={"PORT": str(port)}) as process:
            eventually(lambda: ready(port))
            assert call("POST", f"{url_of(port)}/predict", ROW)[0] == 200
            process.kill()


def test_a_model_that_is_not_compiled_brings_the_packages_of_its_training(made):
    ws, base, folder = made
    example = EXAMPLE_ROWS.select("minutes").drop_nulls().to_pandas()
    fitted = GaussianProcessClassifier().fit(example.head(40), example["minutes"].head(40) > 30)
    version = ws.register("unchanged", fitted, example=example)
    assert version.runtime == "reference"
    packaged = ws.package("unchanged@1", folder / "unchanged", base=base, builder="buildah")
    assert f"scikit-learn=={sklearn.__version__}" in (folder / "unchanged" / "needed.txt").read_text().split()
    certificate = ws.certify_image("unchanged@1", packaged.tag, "buildah")
    assert certificate.passed, certificate.failures
    assert {form.between_forms for form in certificate.forms if form.form == "container"} == {0.0}


def test_packages_that_are_not_those_of_training_end_the_build(made, image, tmp_path):
    *_, folder = made
    shutil.copytree(folder / "context", tmp_path / "context")
    (tmp_path / "context" / "needed.txt").write_text("python==3.11\nnumpy==1.0\n")
    command = build_command("buildah", tmp_path / "context", "late:other", "linux/amd64", containers.BUILD)
    with pytest.raises(Unavailable, match=r"late@1 was trained with numpy 1\.0; here is \d"):
        run(command, lambda _: None, "")


def test_what_builds_it_is_said_where_nothing_does(made, tmp_path):
    _, base, folder = made
    done = headrace_command(
        *("--workspace", str(folder / "ws"), "package", "late@1", str(tmp_path / "context"), "--base", base),
        env={"PATH": str(Path(sys.executable).parent)},
    )
    assert done.returncode == 0, done.stderr
    assert "docker build --tag late:1" in done.stdout
    assert (tmp_path / "context" / "Containerfile").exists()


@pytest.fixture(scope="module")
def following(made):
    """The image without a version."""
    _, base, folder = made
    tag = "headrace-scoring:test"
    words = ("--follow", str(folder / "following"), "--tag", tag, "--builder", "buildah", "--base", base, "--json")
    done = headrace_command("package", *words)
    assert done.returncode == 0, done.stderr[-3000:]
    packaged = json.loads(done.stdout)["packaged"]
    assert packaged["version"] == "" and packaged["digest"].startswith("sha256:")
    return tag


def test_an_image_without_a_version_follows_what_is_live_in_object_storage(made, following, tmp_path):
    """It knows no database; a promotion, a key and its captures go through the storage alone."""
    example = EXAMPLE_ROWS.to_pandas()
    port, there = free_port(), {"PORT": "", "HEADRACE_PORT": ""}
    with pytest.MonkeyPatch.context() as patch, shared_servers(tmp_path) as servers:
        for name, value in {**servers.environment, "HEADRACE_CACHE": str(tmp_path / "cache")}.items():
            patch.setenv(name, value)
        address = servers.fresh()
        ws = headrace.open(address)
        try:
            for depth in (2, 3):
                model = make_pipeline(
                    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
                    HistGradientBoostingClassifier(max_depth=depth),
                )
                ws.register("late", model.fit(example, example["minutes"].fillna(0) > 30), example=example)
            ws.promote("late@1")
            key = ws.create_key("shop", ["predict"])[1]
            env = {**servers.environment, "HEADRACE_WORKSPACE": address.partition("objects=")[2]}
            env = {**env, **there, "HEADRACE_PORT": str(port)}
            mounts = ("--mount", "type=tmpfs,dst=/var/lib/headrace,chown=true", "--tmpfs", "/tmp")
            with containers.running(following, env=env, mounts=("--tmpfs", "/tmp")) as process:  # nothing can be kept
                assert process.wait(60) == 5
                assert "/var/lib/headrace" in process.stderr.read()
            with containers.running(following, env=env, mounts=mounts) as process:
                eventually(lambda: ready(port) or process.poll() is not None)
                assert process.poll() is None, process.communicate()
                assert asked(port)[0] == 401
                assert asked(port, key)[1]["version"] == 1
                ws.promote("late@2")
                reply = eventually(lambda: (said := asked(port, key)[1])["version"] == 2 and said)
                loop = ws.loop()
                eventually(lambda: loop.turn() or ws.tables.find(f"{reply['id']}.0")[0].height)
            assert ws.trace(f"{reply['id']}.0")["version"] == 2
        finally:
            ws.close()


def asked(port, key=""):
    headers = {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {})}
    request = urllib.request.Request(f"{url_of(port)}/models/late/predict", json.dumps(ROW).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_sagemaker_brings_a_model_of_its_own_and_says_how_large_a_batch_is(made, following):
    """The bundle lies in /opt/ml/model, where SageMaker unpacks what ModelDataUrl names; its digest is said beside it."""
    ws, *_ = made
    version = ws.version("late@1")
    env = {
        "HEADRACE_BUNDLE": "/opt/ml/model",
        "HEADRACE_DIGEST": version.digest,
        "HEADRACE_UNGUARDED": "1",
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "20",
    }
    mounts = ("--volume", f"{ws.version_store.folder(version)}:/opt/ml/model:ro", "--tmpfs", "/tmp")
    for digest, answers in ((version.digest, True), ("0" * 64, False)):
        port = free_port()
        more = {**env, "HEADRACE_DIGEST": digest, "SAGEMAKER_BIND_TO_PORT": str(port)}
        with containers.running(following, "serve", env=more, mounts=mounts) as process:
            eventually(lambda at=port, one=process: ready(at) or one.poll() is not None)
            assert (process.poll() is None) == answers
            if not answers:
                continue
            status, said = call("GET", f"{url_of(port)}/execution-parameters")
            assert (status, said["BatchStrategy"]) == (200, "MULTI_RECORD")
            body = json.dumps({"dataframe_records": [ROW]}).encode()
            status, said = call("POST", f"{url_of(port)}/invocations", body + b" " * (18 << 20))
            assert status == 200 and len(said["predictions"]) == 1
            try:
                refused = call("POST", f"{url_of(port)}/invocations", body + b" " * (21 << 20))[0]
            except urllib.error.URLError:  # it was refused before all of it was sent
                refused = 413
            assert refused == 413


REGISTRY = "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {root}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n"
SHIP = """
def ship(deployment):
    return {"files": {"image.txt": deployment["image"]}, "put": [["test", "-s", deployment["target"] + "/image.txt"]]}
"""


def test_a_deployment_builds_sends_and_names_the_image_by_its_digest(made, tmp_path):
    """A real registry; the target is the project's own, and is told the image as the registry has it."""
    program = shutil.which("docker-registry") or absent("docker-registry", "docker-registry is not installed")
    ws, base, _ = made
    port = free_port()
    (tmp_path / "registry.yml").write_text(REGISTRY.format(root=tmp_path / "registry", port=port))
    (tmp_path / "ship.py").write_text(SHIP)
    (tmp_path / "headrace.toml").write_text(
        '[project]\nname = "shipped"\n\n[target.paper]\nkind = "own"\nfunction = "ship:ship"\n'
        f'image = "127.0.0.1:{port}/team/{{model}}:{{version}}"\nbase = "{base}"\n'
    )
    with (
        (tmp_path / "registry.log").open("wb") as log,
        subprocess.Popen([program, "serve", tmp_path / "registry.yml"], stdout=log, stderr=log) as registry,
        pytest.MonkeyPatch.context() as patch,
    ):
        try:
            patch.setenv("HEADRACE_BUILD_OPTIONS", containers.BUILD)
            patch.setenv("HEADRACE_PUSH_OPTIONS", "--tls-verify=false")
            said = []
            done = ws.deploy("late@1", "paper", project=tmp_path, saying=said.append)
            image = (tmp_path / "deploy/late/paper/image.txt").read_text()
            assert done.image == image and done.status == "deployed"
            name, _, digest = image.partition("@")
            assert name == f"127.0.0.1:{port}/team/late:1"
            accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
            url = f"http://127.0.0.1:{port}/v2/team/late/manifests/1"
            with urllib.request.urlopen(urllib.request.Request(url, headers=accept), timeout=30) as response:
                assert response.headers["Docker-Content-Digest"] == digest
            plan = ws.plan_deployment("late@1", "paper", project=tmp_path)
            assert not plan.changes, "the same version is the same image"
            registry.terminate()
            registry.wait(30)
            with pytest.raises(Unavailable, match="ended with") as raised:
                ws.deploy("late@1", "paper", project=tmp_path)
            assert "The image was built" in raised.value.todo
            assert [one.status for one in ws.deployments("late")] == ["deployed"], "nothing was touched"
        finally:
            registry.kill()


def test_a_container_keeps_its_predictions_where_it_is_told_to(made, image, tmp_path):
    """In a folder, from which a workspace takes them, or on standard output; what may not be written down is not."""
    ws, *_ = made
    kept = tmp_path / "kept"
    kept.mkdir()
    kept.chmod(0o777)
    port, body = free_port(), {"rows": [ROW, {**ROW, "carrier": "AA"}]}
    mounts = ("--volume", f"{kept}:/predictions")
    with containers.running("late:1", env={"PORT": str(port), "HEADRACE_CAPTURE": "/predictions"}, mounts=mounts):
        eventually(lambda: ready(port))
        reply = call("POST", f"{url_of(port)}/predict", body)[1]
        inbox = kept / "predictions/inbox"
        eventually(lambda: list(inbox.glob("*.seg")))
    ws.places.predictions_inbox.mkdir(parents=True, exist_ok=True)
    for segment in inbox.glob("*.seg"):
        shutil.copy(segment, ws.places.predictions_inbox / segment.name)
    ws.loop().turn()
    assert ws.trace(f"{reply['id']}.1")["input"]["carrier"] == "AA"

    port = free_port()
    with containers.running("late:1", env={"PORT": str(port), "HEADRACE_CAPTURE": "-"}) as process:
        eventually(lambda: ready(port))
        reply = call("POST", f"{url_of(port)}/predict", body)[1]
        lines = [json.loads(process.stdout.readline()) for _ in range(2)]
        assert call("POST", f"{url_of(port)}/predict", {"minutes": "many"})[0] == 422
    assert [line["id"] for line in lines] == [f"{reply['id']}.{i}" for i in range(2)]
    assert lines[1]["input"] == {"minutes": 12.0, "carrier": "AA"} and lines[1]["version"] == 1
    assert lines[1]["prediction"] == reply["predictions"][1]["prediction"]
