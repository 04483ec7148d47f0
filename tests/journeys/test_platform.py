"""The whole of Headrace as it is written for one machine and for a cluster: the processes of the compose file run here and
do their work together; the chart is what Helm and Kubernetes take."""

import json
import os
import shutil
import signal
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import yaml
from tests import containers
from tests.clients import absent, complaints
from tests.composed import composed
from tests.conftest import EXAMPLES, eventually, headrace_command
from tests.faults.load import workers_of

pytestmark = [
    pytest.mark.servers,
    pytest.mark.embedded,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("platform"),  # what is written is large, and made once
]
ROW = {"plan": "basic", "months": 3, "calls": 4}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The files for one machine, with what the image is built of."""
    folder = tmp_path_factory.mktemp("platform") / "here"
    done = headrace_command("platform", str(folder), "--package", "scikit-learn", "--package", "pandas")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def running(written, tmp_path_factory):
    with composed(written, tmp_path_factory.mktemp("composed")) as services:
        yield services


def asked(url, key="", document=None):
    headers = {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {})}
    body = None if document is None else json.dumps(document).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def key_of(services, consumer, scope):
    made = services.run("setup", "keys", "create", "--consumer", consumer, "--scope", scope, "--json")
    assert made.returncode == 0, made.stderr
    return json.loads(made.stdout)["key"]


def test_a_model_goes_all_the_way_on_it_and_scoring_goes_on_without_the_others(running, tmp_path):
    assert running.run("setup", "people", "add", "anna", "--role", "admin").returncode == 0
    admin, shop = key_of(running, "ops", "admin"), key_of(running, "shop", "predict")
    scoring, console = running.url("scoring"), running.url("console")
    assert asked(f"{console}/api/models")[0] == 401, "nobody is let in without a key"
    assert asked(f"{console}/api/models", admin) == (200, [])

    project = tmp_path / "project"
    shutil.copytree(EXAMPLES / "starter", project)
    ran = running.run("setup", "run", "churn", "--project", str(project), "--json")
    assert ran.returncode == 0, ran.stdout + ran.stderr[-3000:]
    assert json.loads(ran.stdout)["version"]["number"] == 1, "the worker of the set-up made it"
    status, live = asked(f"{console}/api/models/churn/versions/1/promote", admin, {"why": "the first"})
    assert status == 200 and "live" in live["aliases"]

    reply = eventually(lambda: (said := asked(f"{scoring}/models/churn/predict", shop, ROW))[0] == 200 and said[1], 60)
    assert reply["version"] == 1
    assert asked(f"{scoring}/models/churn/predict", "", ROW)[0] == 401
    traced = f"{console}/api/predictions/{reply['id']}.0"
    found = eventually(lambda: (said := asked(traced, admin))[0] == 200 and said[1], 60)
    assert found["version"] == 1 and found["input"]["plan"] == "basic"

    def counted():
        query = urllib.parse.urlencode({"query": 'sum(headrace_requests_total{model="churn",status="200"})'})
        status, said = asked(f"{running.url('prometheus')}/api/v1/query?{query}")
        return status == 200 and said["data"]["result"] and float(said["data"]["result"][0]["value"][1]) >= 1

    eventually(counted, 60)
    rules = asked(f"{running.url('prometheus')}/api/v1/rules")[1]["data"]["groups"][0]["rules"]
    assert len(rules) == 7 and {rule["health"] for rule in rules} <= {"ok", "unknown"}
    assert running.run("setup", "audit", "--verify").returncode == 0
    stop_the_rest(running)
    for _ in range(20):  # what answers needs the storage alone
        assert asked(f"{scoring}/models/churn/predict", shop, ROW)[0] == 200


def stop_the_rest(running):
    """End the worker and the database, as their containers would be ended."""
    running.running["worker"].send_signal(signal.SIGTERM)
    running.running["worker"].wait(60)
    database = running.running["postgres"]
    for number in workers_of(database.pid) or {database.pid}:  # as root a program stands between
        os.kill(number, signal.SIGINT)
    database.wait(60)


def test_it_is_written_once_more_and_its_secrets_stay(written):
    before = (written / ".env").read_text()
    assert (written / ".env").stat().st_mode & 0o777 == 0o600
    done = headrace_command("platform", str(written), "--json")
    assert done.returncode == 0 and (written / ".env").read_text() == before
    assert ".env" not in json.loads(done.stdout)["files"]
    compose = (written / "compose.yaml").read_text()
    for line in before.splitlines():
        name, sign, value = line.partition("=")
        assert not sign or name in ("CONSOLE_PORT", "SCORING_PORT") or value not in compose
    other = written.parent / "other"
    other.mkdir()
    (other / "something").touch()
    done = headrace_command("platform", str(other))
    assert done.returncode == 4 and "holds something else" in done.stderr


def test_the_compose_file_is_what_docker_reads(written):
    assert complaints("published", f"{written}/compose.yaml:compose-spec") == []
    services = yaml.safe_load((written / "compose.yaml").read_text())["services"]
    assert all(port.startswith("127.0.0.1:") for one in services.values() for port in one.get("ports", []))
    promtool = shutil.which("promtool") or absent("promtool", "promtool is not installed")
    checked = subprocess.run(
        [promtool, "check", "config", "--syntax-only", written / "prometheus/prometheus.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert complaints("grafana", written / "grafana/dashboards/scoring.json") == []


def test_the_image_is_built_and_is_the_program(written):
    base = containers.need_base()
    context = written / "image"
    text = (context / "Containerfile").read_text()
    first = text.split("FROM ")[1].split(" ")[0]
    (context / "Containerfile").write_text(text.replace(first, base))
    tag = "localhost/headrace-platform-test"
    try:
        command = ["buildah", "build", *containers.BUILD.split(), "--timestamp", "0", "--tag", tag, str(context)]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stderr[-2000:]
    finally:
        (context / "Containerfile").write_text(text)
    run = [
        "podman",
        "run",
        "--rm",
        *containers.RUN.split(),
        "--read-only",
        "--tmpfs",
        "/tmp",
        "--tmpfs",
        "/var/lib/headrace",
    ]
    said = subprocess.run([*run, tag, "--version"], capture_output=True, text=True, check=False)
    assert said.returncode == 0 and "headrace, version" in said.stdout, said.stderr
    doctor = subprocess.run([*run, tag, "doctor", "--json"], capture_output=True, text=True, check=False)
    assert json.loads(doctor.stdout), doctor.stderr
    user = containers.inspected(tag, "{{.Config.User}}")
    assert user == "65532:65532"


@pytest.mark.parametrize(
    "said",
    [
        (),
        ("scoring.monitor.enabled=true", "scoring.monitor.keySecret=prometheus", "keysSecret=keys"),
        (
            "scoring.replicas=12",
            "scoring.workspace=s3://models/headrace",
            "imagePullSecrets[0].name=pull",
            "serviceAccount.annotations.role=x",
        ),
    ],
)
def test_the_chart_is_what_helm_and_kubernetes_take(tmp_path, said):
    helm = shutil.which("helm") or shutil.which("helm", path=str(Path.home() / "go/bin")) or absent("helm", "no helm")
    image = "registry.example.com:5000/team/headrace:1.2.3"
    done = headrace_command("platform", str(tmp_path / "p"), "--as", "helm", "--no-image", "--image", image)
    assert done.returncode == 0, done.stderr
    chart = tmp_path / "p/chart"
    linted = subprocess.run([helm, "lint", "--strict", chart], capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout
    words = [word for one in said for word in ("--set", one)]
    made = subprocess.run([helm, "template", "main", chart, *words], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    objects = [one for one in yaml.safe_load_all(made.stdout) if one]
    own = [one for one in objects if "monitoring.coreos.com" not in one["apiVersion"]]
    (tmp_path / "objects.yaml").write_text(yaml.safe_dump_all(own))
    assert complaints("kubernetes", tmp_path / "objects.yaml") == []
    kinds = [one["kind"] for one in objects]
    assert kinds.count("Deployment") == 3 and ("PrometheusRule" in kinds) == bool(said and "monitor" in said[0])
    for one in objects:
        if one["kind"] == "Deployment":
            pod = one["spec"]["template"]
            assert one["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
            (container,) = pod["spec"]["containers"]
            assert container["image"] == image and container["securityContext"]["readOnlyRootFilesystem"]
    wrong = subprocess.run(
        [helm, "template", "main", chart, "--set", "scoring.replica=3"], capture_output=True, text=True, check=False
    )
    assert wrong.returncode != 0 and "replica" in wrong.stderr, "a value that nothing reads is refused"


def test_a_package_that_is_not_there_is_said(tmp_path):
    done = headrace_command("platform", str(tmp_path / "p"), "--package", "no-such-package")
    assert done.returncode == 2 and "'no-such-package' is not installed here" in done.stderr
