"""What targets are described by is what their readers take: held against published schemas and definitions, rendered by
kustomize, verified by systemd and promtool, and for SageMaker run by its own command line on a stand-in of the service."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.clients import PYTHON, absent, complaints

from headrace.delivery.containers import free_port
from headrace.delivery.targets.choosing import chosen
from headrace.delivery.targets.rendering import rendered
from headrace.delivery.targets.target import Deployable
from headrace.delivery.watching import alert_rules, dashboard

pytestmark = pytest.mark.servers
IMAGE = "registry.example.com/team/late-arrival:3@sha256:" + "ab" * 32
SAGEMAKER = {"region": "eu-central-1", "role": "arn:aws:iam::123456789012:role/scoring"}
VERTEX = {"project": "flights-17", "region": "europe-west3", "endpoint": "4711"}
AZURE = {"workspace": "ml", "group": "flights"}
OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.85.0"


def deployable(folder, model="late-arrival", target="staging", **more):
    return Deployable(model=model, version=3, digest="c0ffee" + "0" * 58, target=target, folder=str(folder), **more)


def written(folder, kind, options, model="late-arrival", image=IMAGE):
    """The files of a target in a folder, and what it consists of."""
    made = rendered(deployable(folder, model, image=image), chosen(kind, {}, options), None)
    for name, text in made.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return made


def need(program):
    found = shutil.which(program) or shutil.which(
        program, path=os.pathsep.join((str(Path.home() / "go/bin"), "/usr/sbin"))
    )
    if found is None:
        absent(program, f"{program} is not installed")
    return found


@pytest.mark.parametrize(
    "model", ["late-arrival", "late_arrival_of_everything_that_flies_from_the_airports_of_new_y", "7"]
)
def test_manifests_are_what_kubernetes_takes(tmp_path, model):
    written(tmp_path, "kubernetes", {"prometheus_operator": "true", "cpu": "2", "context": "here"}, model)
    files = [path for path in sorted((tmp_path / "base").iterdir()) if path.name != "kustomization.yaml"]
    assert len(files) == 6
    assert complaints("kubernetes", *files) == []
    built = subprocess.run(
        [need("kustomize"), "build", tmp_path / "overlays/staging"], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    objects = {one["kind"]: one for one in yaml.safe_load_all(built.stdout)}
    assert len(objects) == 8 and {one["metadata"]["namespace"] for one in objects.values()} == {"default"}
    pods = objects["Deployment"]["spec"]["template"]
    (container,) = pods["spec"]["containers"]
    assert container["image"] == "registry.example.com/team/late-arrival@sha256:" + "ab" * 32
    assert container["resources"] == {"requests": {"cpu": "2", "memory": "512Mi"}, "limits": {"memory": "512Mi"}}
    labels, annotations = pods["metadata"]["labels"], pods["metadata"]["annotations"]
    assert annotations["headrace.io/version"] == f"{model}@3" and labels["app.kubernetes.io/version"] == "3"
    for selector in (
        objects["Deployment"]["spec"]["selector"]["matchLabels"],
        objects["Service"]["spec"]["selector"],
        objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    assert (
        objects["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"]
        == objects["Deployment"]["metadata"]["name"]
    )
    assert objects["HorizontalPodAutoscaler"]["spec"]["metrics"][0]["resource"]["name"] == "cpu"
    own = [one for kind, one in objects.items() if kind not in ("ServiceMonitor", "PrometheusRule")]
    (tmp_path / "built.yaml").write_text(yaml.safe_dump_all(own))
    assert complaints("kubernetes", tmp_path / "built.yaml") == []


def test_what_the_prometheus_operator_reads_is_what_it_defines(tmp_path):
    go = need("go")
    written(tmp_path, "kubernetes", {})
    done = subprocess.run([go, "mod", "download", "-json", OPERATOR], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    defined = Path(json.loads(done.stdout)["Dir"]) / "example/prometheus-operator-crd"
    for file, plural in (("servicemonitor", "servicemonitors"), ("rules", "prometheusrules")):
        definition = defined / f"monitoring.coreos.com_{plural}.yaml"
        assert complaints("custom", f"{tmp_path}/monitoring/{file}.yaml:{definition}") == []


def test_an_inference_service_is_what_kserve_takes(tmp_path):
    written(tmp_path, "kserve", {"namespace": "models", "replicas": "0"})
    assert complaints("kserve", tmp_path / "staging/inferenceservice.yaml") == []


def test_requests_to_the_clouds_are_what_they_take(tmp_path):
    written(tmp_path / "aws", "sagemaker", SAGEMAKER)
    here = tmp_path / "aws/staging"
    operations = {"model": "CreateModel", "endpoint-config": "CreateEndpointConfig", "endpoint": "CreateEndpoint"}
    assert complaints("sagemaker", *(f"{here / name}.json:{operation}" for name, operation in operations.items())) == []
    written(tmp_path / "google", "vertex", VERTEX)
    here, schema = tmp_path / "google/staging", "GoogleCloudAiplatformV1"
    asked = {"upload": f"{schema}UploadModelRequest", "deploy": f"{schema}DeployModelRequest"}
    assert complaints("vertex", *(f"{here / name}.json:{request}" for name, request in asked.items())) == []
    written(tmp_path / "azure", "azureml", AZURE)
    here = tmp_path / "azure/staging"
    assert complaints("azureml", here / "endpoint.yml", here / "deployment.yml") == []


def test_each_check_finds_what_is_wrong(tmp_path):
    """A check that finds nothing anywhere would prove nothing."""
    written(tmp_path, "kserve", {})
    file = tmp_path / "staging/inferenceservice.yaml"
    file.write_text(file.read_text().replace("minReplicas", "minReplica"))
    assert complaints("kserve", file) == ["$.spec.predictor.minReplica: unknown"]
    written(tmp_path, "sagemaker", SAGEMAKER)
    file = tmp_path / "staging/endpoint-config.json"
    file.write_text(file.read_text().replace("ml.m5.large", "ml.nope"))
    assert len(complaints("sagemaker", f"{file}:CreateEndpointConfig")) == 1
    written(tmp_path, "vertex", VERTEX)
    file = tmp_path / "staging/upload.json"
    file.write_text(file.read_text().replace("predictRoute", "route"))
    assert complaints("vertex", f"{file}:GoogleCloudAiplatformV1UploadModelRequest")
    written(tmp_path, "azureml", AZURE)
    file = tmp_path / "staging/deployment.yml"
    file.write_text(file.read_text().replace("instance_count", "instances"))
    assert complaints("azureml", file)
    written(tmp_path, "kubernetes", {})
    file = tmp_path / "base/service.yaml"
    file.write_text(file.read_text().replace("targetPort", "target"))
    assert complaints("kubernetes", file)
    file = tmp_path / "dashboard.json"
    file.write_text(json.dumps({**dashboard(), "pannels": []}))
    assert complaints("grafana", file) == ["$.pannels: unknown"]


AWS = """
import json, os, subprocess, sys, time, urllib.request
port = sys.argv[1]
server = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", port], stdout=2, stderr=subprocess.DEVNULL)
try:
    until = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api", timeout=5).close()
            break
        except OSError:
            if time.monotonic() > until or server.poll() is not None:
                raise
            time.sleep(0.1)
    said = []
    for commands in json.loads(sys.argv[2]):
        for command in commands:
            known = command["known"] and subprocess.run(command["known"], stdout=2, stderr=2).returncode == 0
            words = command["instead"] if known else command["words"]
            if words:
                done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                said.append([words[4], done.returncode, done.stderr.strip()])
    shown = ["aws", "sagemaker", "--region", "eu-central-1", "describe-endpoint", "--endpoint-name", "late-arrival"]
    said.append(json.loads(subprocess.run(shown, stdout=subprocess.PIPE, check=True).stdout)["EndpointConfigName"])
finally:
    server.terminate()
    server.wait()
print(json.dumps(said))
"""


def test_the_commands_for_sagemaker_are_run_by_its_own_command_line(tmp_path):
    """First where nothing is, then again, then a new version over it (moto stands for the service)."""
    if not PYTHON.exists():
        absent("clients", "the environment of other people's clients is absent")
    first = written(tmp_path, "sagemaker", SAGEMAKER)
    later = rendered(
        deployable(tmp_path, image=IMAGE).__class__(
            model="late-arrival", version=4, digest="b" * 64, target="later", folder=str(tmp_path), image=IMAGE
        ),
        chosen("sagemaker", {}, SAGEMAKER),
        None,
    )
    for name, text in later.files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    commands = [
        [
            {"words": command.words, "known": command.known, "instead": command.instead}
            for command in made.put
            if "wait" not in command.words
        ]
        for made in (first, first, later)
    ]
    port = str(free_port())
    done = subprocess.run(
        [PYTHON, "-c", AWS, port, json.dumps(commands)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{PYTHON.parent}{os.pathsep}{os.environ['PATH']}",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
        },
    )
    assert done.returncode == 0, done.stderr[-3000:]
    *said, stands = json.loads(done.stdout.splitlines()[-1])
    made = [[name, code] for name, code, _ in said if name != "update-endpoint"]
    expected = ["create-model", "create-endpoint-config", "create-endpoint", "create-model", "create-endpoint-config"]
    assert made == [[name, 0] for name in expected]
    assert stands == "late-arrival-3-c0ffee00"
    updates = [text for name, _, text in said if name == "update-endpoint"]
    assert len(updates) == 2, "where an endpoint stands it is updated"
    assert all("when calling the UpdateEndpoint operation" in text for text in updates), "it was sent; moto lacks it"


def test_the_unit_is_what_systemd_takes(tmp_path):
    analyze = need("systemd-analyze")
    folder = tmp_path / 'a "place" of 100% $HOME; new'
    folder.mkdir()
    for options in ({}, {"scope": "system", "account": "daemon", "host": "::1"}):
        written(folder, "process", options, image="")
        unit = next((folder / "staging").glob("*.service"))
        done = subprocess.run([analyze, "verify", "--man=no", unit], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_alert_rules_are_what_prometheus_takes(tmp_path):
    promtool = need("promtool")
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(alert_rules()))
    checked = subprocess.run(
        [promtool, "check", "rules", tmp_path / "alerts.yml"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0 and "7 rules found" in checked.stdout, checked.stderr
    series = "headrace_requests_total{model='late',consumer='shop',status='%s'}"
    (tmp_path / "test.yml").write_text(
        yaml.safe_dump(
            {
                "rule_files": ["alerts.yml"],
                "evaluation_interval": "1m",
                "tests": [
                    {
                        "interval": "1m",
                        "input_series": [
                            {"series": series % "200", "values": "0+100x30"},
                            {"series": series % "500", "values": "0+10x30"},
                            {"series": "headrace_route_generation{instance='a'}", "values": "3x30"},
                            {"series": "headrace_route_generation{instance='b'}", "values": "3x10 4x20"},
                            {"series": "headrace_dropped_captures_total", "values": "0x30"},
                        ],
                        "alert_rule_test": [
                            {
                                "eval_time": "20m",
                                "alertname": "HeadraceErrors",
                                "exp_alerts": [
                                    {
                                        "exp_labels": {"severity": "critical", "model": "late"},
                                        "exp_annotations": {"summary": "late fails 9.091% of its requests"},
                                    }
                                ],
                            },
                            {
                                "eval_time": "20m",
                                "alertname": "HeadraceRoutesDiffer",
                                "exp_alerts": [
                                    {
                                        "exp_labels": {"severity": "warning"},
                                        "exp_annotations": {
                                            "summary": "Scoring processes follow different states of the routes for "
                                            "five minutes"
                                        },
                                    }
                                ],
                            },
                            {"eval_time": "20m", "alertname": "HeadracePredictionsLost", "exp_alerts": []},
                            {"eval_time": "20m", "alertname": "HeadraceNobodyAnswers", "exp_alerts": []},
                        ],
                    }
                ],
            }
        )
    )
    tested = subprocess.run(
        [promtool, "test", "rules", "test.yml"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_the_dashboard_is_what_grafana_knows(tmp_path):
    (tmp_path / "dashboard.json").write_text(json.dumps(dashboard()))
    assert complaints("grafana", tmp_path / "dashboard.json") == []
