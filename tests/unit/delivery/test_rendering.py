"""Targets as pure functions: whatever a name or an option holds, it stays one value of one line."""

import json
import shlex
import string

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from headrace.delivery.planning import plan_of
from headrace.delivery.targets.choosing import chosen
from headrace.delivery.targets.own import _rendered as given_by
from headrace.delivery.targets.process import _quoted
from headrace.delivery.targets.rendering import image_of, rendered
from headrace.delivery.targets.target import Command, Deployable, label
from headrace.kernel.errors import InvalidInput, InvalidProject, NotFound
from headrace.kernel.identifiers import check_name
from headrace.training.project import decode_project
from headrace.training.targets import KINDS, OwnTarget, TargetSection, kind_of

OPTIONS = {
    "process": {},
    "kubernetes": {"image": "r.example/{model}:{version}"},
    "kserve": {"image": "r.example/{model}:{version}"},
    "sagemaker": {"image": "r.example/x", "region": "eu-central-1", "role": "arn:aws:iam::123456789012:role/scoring"},
    "vertex": {"image": "r.example/x", "project": "p", "region": "europe-west3", "endpoint": "1"},
    "azureml": {"image": "r.example/x", "workspace": "w", "group": "g"},
}
MODELS = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,63}", fullmatch=True)
HOSTILE = st.text(
    st.sampled_from(string.ascii_letters + "\n\r\t\0 :{}[]#&*!|>'\"%@`$\\-_/=;\u2028\x85\u202e"),
    min_size=1,
    max_size=40,
)


def deployable(model="late", **more):
    fields = {"version": 3, "digest": "c" * 64, "target": "staging", "folder": "/srv/deploy", "image": "r.example/x:3"}
    return Deployable(model=model, **{**fields, **more})


@given(MODELS, MODELS)
def test_a_label_is_one_that_dns_takes_and_no_two_models_share_it(first, second):
    for most in (63, 50, 32):
        found = label(first, most)
        assert len(found) <= most and found[0].isalpha() and found[-1].isalnum()
        assert set(found) <= set(string.ascii_lowercase + string.digits + "-")
        assert (found == label(second, most)) == (first == second)


def test_an_ordinary_name_stays_as_it_is():
    assert label("late-arrival") == "late-arrival"


@given(st.sampled_from(sorted(OPTIONS)), MODELS, HOSTILE)
def test_no_folder_or_address_adds_a_line_or_a_field(kind, model, text):
    """What the project file leaves free (a folder, a url, the image's name) stays one value, wherever it is written."""
    section = msgspec.structs.replace(chosen(kind, {}, OPTIONS[kind]), url=text)
    plain = rendered(deployable(model), section, None)
    made = rendered(deployable(model, folder=f"/srv/{text}", image=f"r.example/{text}"), section, None)
    assert list(made.files) == list(plain.files)
    for name, written in made.files.items():
        assert shape(name, written) == shape(name, plain.files[name]), name
    assert [len(command.words) for command in made.put] == [len(command.words) for command in plain.put]


def shape(name, text):
    """What a file consists of, without its values."""
    if name.endswith(".service"):
        assert all(char.isprintable() or char == "\n" for char in text)
        return [line.partition("=")[0] for line in text.split("\n")]
    document = json.loads(text) if name.endswith(".json") else yaml.safe_load(text)

    def keys(value):
        if isinstance(value, dict):
            return {key: keys(one) for key, one in value.items()}
        if isinstance(value, list):
            return [keys(one) for one in value]
        if isinstance(value, str) and value.startswith("apiVersion:"):
            return keys(yaml.safe_load(value))
        return type(value).__name__

    found = keys(document)
    if name.endswith("overlays/staging/kustomization.yaml"):
        for image in found["images"]:
            for pinned in ("digest", "newTag"):
                image.pop(pinned, None)
    return found


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"own"}))
@given(field=st.data(), text=HOSTILE)
def test_an_option_is_checked_or_free(kind, field, text):
    """Names that stand in commands and manifests follow rules; what is said otherwise is refused with its name."""
    free = {"image", "base", "folder", "url", "context", "wait", "build"}
    names = [one.name for one in msgspec.structs.fields(KINDS[kind]) if one.name not in free]
    name = field.draw(st.sampled_from(names))
    try:
        section = chosen(kind, {}, {**OPTIONS[kind], name: text})
    except InvalidInput as error:
        assert name in error.text or "cannot be" in error.text
        return
    said = str(getattr(section, name))
    assert not set(said) & set("\n\r\t\0 '\"{}[]#&*!|>%`$\\;"), said


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=60))
def test_a_word_of_a_unit_is_one_line_that_reads_back(word):
    """As systemd reads it: C escapes in quotes, then specifiers and variables doubled."""
    quoted = _quoted(word)
    assert "\n" not in quoted and quoted.isprintable()
    inner = quoted[1:-1].replace("$$", "$").replace("%%", "%")
    read, i = bytearray(), 0
    while i < len(inner):
        if inner[i] == "\\" and inner[i + 1] == "x":
            read.append(int(inner[i + 2 : i + 4], 16))
            i += 4
        elif inner[i] == "\\":
            read += inner[i + 1].encode()
            i += 2
        else:
            assert inner[i] != '"'
            read += inner[i].encode()
            i += 1
    assert read.decode() == word


def test_the_same_deployment_is_the_same_to_the_byte():
    for kind, options in OPTIONS.items():
        section = chosen(kind, {}, options)
        assert rendered(deployable(), section, None) == rendered(deployable(), section, None)


def test_an_image_is_named_by_the_target():
    section = chosen("kubernetes", {}, OPTIONS["kubernetes"])
    assert image_of(section, "staging", "late", 3) == "r.example/late:3"
    assert image_of(chosen("process", {}, {}), "here", "late", 3) == ""
    with pytest.raises(InvalidInput, match="Target staging does not say what the image is called"):
        image_of(chosen("kubernetes", {}, {}), "staging", "late", 3)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("fe80::7", "http://[fe80::7]:8000"),
        ("scoring.example.com", "http://scoring.example.com:8000"),
    ],
)
def test_a_process_is_asked_where_it_listens(host, address):
    assert rendered(deployable(), chosen("process", {}, {"host": host}), None).address == address


def test_a_target_of_the_project_comes_before_a_kind_and_its_fields_may_be_said():
    known = {"staging": chosen("kubernetes", {}, {"namespace": "shop"})}
    assert chosen("staging", known, {"replicas": "3"}).replicas == 3
    assert chosen("staging", known, {}).namespace == "shop"
    assert {kind_of(chosen(kind, {}, options)) for kind, options in OPTIONS.items()} == set(OPTIONS)
    with pytest.raises(NotFound, match="no target 'moon'") as raised:
        chosen("moon", known, {})
    assert raised.value.expected.startswith("staging, process")


def test_a_plan_says_what_would_change_and_how():
    section: TargetSection = chosen("sagemaker", {}, OPTIONS["sagemaker"])
    made = rendered(deployable(), section, None)
    plan = plan_of(deployable(), "sagemaker", made, None)
    assert {file.what for file in plan.files} == {"new"} and plan.changes
    assert " && " in plan.commands[2] and " || " in plan.commands[2]
    assert shlex.split(plan.commands[3])[:2] == ["aws", "sagemaker"]


TOML = """
[project]
name = "p"
[dataset.d]
load = "m:load"
[model.late]
dataset = "d"
target = "t"
train = "m:train"
[target.staging]
kind = "kubernetes"
image = "r/{model}:{version}"
"""


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("[target.x]\nkind = 'moon'", r"line 14: \[target.x.kind\]: kind is 'moon'.*"),
        ("[target.x]\nkind = 'process'\nprot = 1", r"line 15.*unknown key 'prot'"),
        ("[target.x]\nkind = 'process'\nport = 'a'", r"line 15.*expected `int`"),
        ("[target.x]\nkind = 'process'\nwait = 'long'", r"line 15.*'long' is not a duration"),
        ("[target.x]\nkind = 'process'\nfolder = '{verson}'", r"line 15.*'verson' cannot be filled in"),
        ("[target.x]\nkind = 'vertex'", r"missing required field `project`"),
        ("[target.'A B']\nkind = 'process'", r"'A B' cannot be the name of a target"),
        ("[model.late.deploy]\ntargets = ['moon']", r"unknown target 'moon'"),
        ("[model.late.deploy]\non = ['full moon']", r"Invalid enum value 'full moon'|invalid enum value"),
    ],
)
def test_a_project_file_that_is_wrong_about_targets_says_where(tmp_path, more, said):
    with pytest.raises(InvalidProject, match=said):
        decode_project(TOML + more, tmp_path)


def test_a_policy_has_the_targets_that_it_names_and_no_others(tmp_path):
    text = TOML + "[target.other]\nkind = 'process'\n[model.late.deploy]\non = ['promoted']\ntargets = ['staging']\n"
    policy = decode_project(text, tmp_path).policy("late")
    assert list(policy.targets) == ["staging"]
    again = msgspec.convert(msgspec.to_builtins(policy), type(policy))
    assert again == policy, "it is read back as what it was"


@pytest.mark.parametrize(
    "wrong",
    [
        {"files": {"../x": ""}},
        {"files": {"/x": ""}},
        {"files": {"": ""}},
        {"files": {"a\0b": ""}},
        {"files": {"x": 1}},
        {"put": [[]]},
        {"put": ["rm -rf /"]},
        {"more": 1},
    ],
)
def test_what_a_projects_own_target_gives_is_held_to_rules(wrong):
    with pytest.raises(InvalidProject):
        given_by(wrong, OwnTarget(function="m:f"), "paper")


def test_a_projects_own_target_has_its_files_in_its_folder():
    made = given_by(
        {"files": {"a/b.txt": "x"}, "put": [["true"]], "address": "http://x"}, OwnTarget(function="m:f"), "p"
    )
    assert made.files == {"p/a/b.txt": "x"} and made.put == (Command(words=("true",)),) and made.address == "http://x"
    assert check_name("p", "target") == "p"
