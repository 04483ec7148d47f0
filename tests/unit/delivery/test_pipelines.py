"""A pipeline is made of names that follow a rule; nothing that people write as they like stands in it."""

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from headrace.delivery.pipelines import SYSTEMS, pipeline
from headrace.kernel.errors import InvalidName, InvalidProject
from headrace.training.project import decode_project

TOML = """
[project]
name = "p"
[dataset.d]
load = "m:load"
[model.late]
dataset = "d"
target = "t"
train = "m:train"
[[model.late.test]]
kind = "overfit"
metric = "accuracy"
min = 0.9
[target.near]
kind = "process"
"""
FREE = st.text(max_size=60)


@pytest.mark.parametrize("system", SYSTEMS)
@given(name=FREE, purpose=FREE, owner=FREE, url=FREE)
def test_free_texts_of_a_project_stand_in_no_pipeline(tmp_path_factory, system, name, purpose, owner, url):
    project = decode_project(TOML, tmp_path_factory.getbasetemp())
    plain = pipeline(system, project, "3.11")
    section = project.models["late"]
    owners = msgspec.structs.replace(section.owners, accuracy=owner)
    hostile = msgspec.structs.replace(
        project,
        name=name,
        models={"late": msgspec.structs.replace(section, purpose=purpose, owners=owners)},
        targets={"near": msgspec.structs.replace(project.targets["near"], url=url)},
    )
    assert pipeline(system, hostile, "3.11") == plain


@pytest.mark.parametrize("system", SYSTEMS)
@given(name=st.text(min_size=1, max_size=30))
def test_a_name_that_follows_no_rule_is_refused_or_is_harmless(tmp_path_factory, system, name):
    project = decode_project(TOML, tmp_path_factory.getbasetemp())
    for changed in (
        msgspec.structs.replace(project, models={name: project.models["late"]}),
        msgspec.structs.replace(project, targets={name: project.targets["near"]}),
    ):
        try:
            text = pipeline(system, changed, "3.11").text
        except InvalidName:
            continue
        assert not set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789-_")
        assert len(text.splitlines()) == len(pipeline(system, project, "3.11").text.splitlines())


def test_each_model_and_each_target_has_its_steps(tmp_path):
    two = (
        TOML
        + '[model.early]\ndataset = "d"\ntarget = "t"\ntrain = "m:train"\n[model.early.deploy]\non = ["promoted"]\n'
    )
    document = yaml.safe_load(pipeline("github", decode_project(two, tmp_path), "3.12").text)
    deploy = [step["name"] for step in document["jobs"]["deploy"]["steps"] if "name" in step]
    assert deploy == ["Install", "Make late live", "Put late on near", "Make early live"], "the worker puts early there"
    check = [step["name"] for step in document["jobs"]["check"]["steps"] if "name" in step]
    assert "Test late" in check and "Test early" not in check


def test_a_project_file_with_such_a_name_is_refused(tmp_path):
    with pytest.raises(InvalidProject, match="cannot be the name of a model"):
        decode_project(TOML.replace("[model.late]", '[model."late; rm -rf /"]'), tmp_path)
