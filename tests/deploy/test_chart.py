"""The chart, as Helm rendered it (`tests/deploy/chart/render`), agrees with the program and with the image."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import angarium
from angarium.cli.main import COMMANDS
from angarium.settings import Settings, load, table
from tests.deploy.files import DEPLOY, command, said, steps

CHART = DEPLOY / "helm" / "angarium"
FOLDER = Path(__file__).parent / "chart"
RENDERED = {path.name.partition(".")[0]: path for path in sorted(FOLDER.glob("*.rendered.yaml"))}
CONTAINERFILE = steps(DEPLOY / "container" / "Containerfile")
SECRETS = {
    "store": "postgresql://angarium:secret@db.example.com/angarium",
    "secret-key": base64.b64encode(bytes(32)).decode(),
    "admin-key": "let-me-in-for-tests",
}


def _read(name: str) -> dict[tuple[str, str], Any]:
    """Return what was rendered for one file of values, by kind and name."""
    documents = yaml.safe_load_all(RENDERED[name].read_text(encoding="utf-8"))
    return {(each["kind"], each["metadata"]["name"]): each for each in documents if each}


LEAST, MOST = _read("least"), _read("most")
PODS = [
    pytest.param(found[("Deployment", f"push-{role}")]["spec"]["template"]["spec"], role, id=f"{name}-{role}")
    for name, found in (("least", LEAST), ("most", MOST))
    for role in ("api", "worker")
]


def _container(pod: Any) -> Any:
    [container] = pod["containers"]
    return container


def _settings(pod: Any, folder: Path) -> Settings:
    """Return what a server in this pod would read, its Secret in a folder of the test's."""
    for name, text in SECRETS.items():
        (folder / name).write_text(text, encoding="utf-8")
    [mounted] = (each["mountPath"] for each in _container(pod)["volumeMounts"] if each["name"] == "secrets")
    given = {each["name"]: each["value"].replace(mounted, str(folder)) for each in _container(pod)["env"]}
    return load(environment=given, file=folder / "none.toml")


@pytest.mark.parametrize("path", [pytest.param(path, id=name) for name, path in RENDERED.items()])
def test_what_was_rendered_is_of_this_chart(path: Path) -> None:
    sums = "".join(
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  ./{file.relative_to(CHART).as_posix()}\n"
        for file in sorted(CHART.rglob("*"), key=lambda file: file.relative_to(CHART).as_posix())
        if file.is_file()
    )
    digest = hashlib.sha256(sums.encode()).hexdigest()
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    assert first == f"# chart: {digest}", "the chart has changed; render it again with tests/deploy/chart/render"


def test_the_chart_is_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert (chart["version"], chart["appVersion"]) == (angarium.__version__, angarium.__version__)
    image = _container(LEAST["Deployment", "push-api"]["spec"]["template"]["spec"])["image"]
    assert image == f"angarium:{angarium.__version__}"


@pytest.mark.parametrize(("pod", "role"), PODS)
def test_a_pod_runs_a_command_that_there_is_as_the_image_s_user(pod: Any, role: str) -> None:
    assert _container(pod)["args"][0] in COMMANDS
    context = pod["securityContext"]
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == said(CONTAINERFILE, "USER")[0]


@pytest.mark.parametrize(("pod", "role"), PODS)
def test_a_pod_may_only_read_and_has_no_rights(pod: Any, role: str) -> None:
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert _container(pod)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize(("pod", "role"), PODS)
def test_a_pod_s_settings_can_be_read_and_a_stop_has_its_time(pod: Any, role: str, tmp_path: Path) -> None:
    settings = _settings(pod, tmp_path)
    assert (settings.role, settings.store) == (role, SECRETS["store"])
    assert (settings.secret_key, settings.admin_key) == (bytes(32), SECRETS["admin-key"])
    assert pod["terminationGracePeriodSeconds"] >= settings.stop_s + 15


@pytest.mark.parametrize(("pod", "role"), PODS)
def test_probes_ask_where_the_server_listens(pod: Any, role: str, tmp_path: Path) -> None:
    container = _container(pod)
    [port] = container["ports"]
    assert port == {"name": "http", "containerPort": _settings(pod, tmp_path).listen.port}
    assert str(port["containerPort"]) == said(CONTAINERFILE, "EXPOSE")[0]
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert probes == {
        "startup": {"path": "/healthz", "port": "http"},
        "liveness": {"path": "/healthz", "port": "http"},
        "readiness": {"path": "/readyz", "port": "http"},
    }


def test_the_image_has_what_waits_before_an_api_ends() -> None:
    container = _container(MOST["Deployment", "push-api"]["spec"]["template"]["spec"])
    python, *rest = container["lifecycle"]["preStop"]["exec"]["command"]
    assert python == command(said(CONTAINERFILE, "HEALTHCHECK")[0].partition(" CMD ")[2])[0]
    assert rest == ["-c", "import time; time.sleep(10)"]
    assert "lifecycle" not in _container(MOST["Deployment", "push-worker"]["spec"]["template"]["spec"])


def test_values_become_settings_as_they_are_written(tmp_path: Path) -> None:
    settings = _settings(MOST["Deployment", "push-worker"]["spec"]["template"]["spec"], tmp_path)
    assert settings.events_in_memory == 1_000_000
    assert settings.log_level == "warning"
    assert settings.stop_s == 60
    assert str(settings.egress_allow[0].network) == "10.1.2.3/32"


def test_what_the_chart_sets_itself_cannot_be_given_twice() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    refused = schema["properties"]["settings"]["propertyNames"]["not"]["enum"]
    env = _container(LEAST["Deployment", "push-api"]["spec"]["template"]["spec"])["env"]
    own = {each["name"].removeprefix("ANGARIUM_").lower().removesuffix("_file") for each in env}
    assert sorted(refused) == sorted(own)
    assert own <= set(table())


def test_a_secret_is_made_of_values_or_one_that_exists_is_read() -> None:
    assert ("Secret", "push") not in LEAST
    assert set(MOST["Secret", "push"]["stringData"]) == set(SECRETS)
    for found, name in ((LEAST, "push-secrets"), (MOST, "push")):
        volumes = found["Deployment", "push-worker"]["spec"]["template"]["spec"]["volumes"]
        assert next(each for each in volumes if each["name"] == "secrets")["secret"]["secretName"] == name


@pytest.mark.parametrize("role", ["api", "worker"])
def test_all_of_a_role_find_each_other_by_its_labels(role: str) -> None:
    deployment, budget = (MOST[kind, f"push-{role}"]["spec"] for kind in ("Deployment", "PodDisruptionBudget"))
    service = MOST["Service", "push" if role == "api" else "push-worker"]["spec"]
    wanted = deployment["selector"]["matchLabels"]
    assert wanted.items() <= deployment["template"]["metadata"]["labels"].items()
    assert budget["selector"]["matchLabels"] == service["selector"] == wanted
    assert budget["maxUnavailable"] == 1
    assert deployment["replicas"] == {"api": 3, "worker": 4}[role]


def test_what_is_not_asked_for_is_not_rendered() -> None:
    assert {kind for kind, _ in MOST} - {kind for kind, _ in LEAST} == {"Secret", "Ingress", "ServiceMonitor"}
    labels = MOST["ServiceMonitor", "push"]["spec"]["selector"]["matchLabels"]
    for name in ("push", "push-worker"):
        assert labels.items() <= MOST["Service", name]["metadata"]["labels"].items()
