"""The Containerfile and the compose files agree with the program, and with each other."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import angarium
from angarium.cli.main import COMMANDS
from angarium.settings import Settings, load, table
from tests.deploy.files import DEPLOY, ROOT, command, said, steps

FOLDER = DEPLOY / "container"
CONTAINERFILE = steps(FOLDER / "Containerfile")
COMPOSED = {
    path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("compose.*.yaml"))
}
OURS = [
    pytest.param(document, name, id=f"{file}-{name}")
    for file, document in COMPOSED.items()
    for name, service in document["services"].items()
    if service["image"].startswith("angarium:")
]
SECRETS = {
    "admin-key": "let-me-in-for-tests",
    "secret-key": base64.b64encode(bytes(32)).decode(),
    "store": "postgresql://angarium:secret@postgresql/angarium",
}
USER = "65532"


def _image_variables() -> dict[str, str]:
    """Return what the image's last stage puts into the environment."""
    words = " ".join(said(CONTAINERFILE, "ENV")[-1:]).split()
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _settings(service: Mapping[str, Any], folder: Path) -> Settings:
    """Return what a server in this service would read, its secrets in a folder of the test's."""
    for name in service["secrets"]:
        (folder / name).write_text(f"{SECRETS[name]}\n", encoding="utf-8")
    given = {**_image_variables(), **service["environment"]}
    here = {name: value.replace("/run/secrets", str(folder)) for name, value in given.items()}
    return load(environment=here, file=folder / "none.toml")


# -- the image ---------------------------------------------------------------------------------------------------------


def test_what_is_copied_into_the_image_is_there() -> None:
    sources = [word for text in said(CONTAINERFILE, "COPY") if "--from" not in text for word in text.split()[:-1]]
    assert sources
    assert [name for name in sources if not (ROOT / name).exists()] == []


def test_the_image_runs_a_command_that_there_is_without_a_shell() -> None:
    [program], words = (command(said(CONTAINERFILE, name)[0]) for name in ("ENTRYPOINT", "CMD"))
    assert program == "/opt/angarium/bin/angarium"
    assert words[0] in COMMANDS


def test_the_image_s_user_has_a_number_and_owns_where_the_store_is() -> None:
    assert said(CONTAINERFILE, "USER") == [f"{USER}:{USER}"]
    [folder] = said(CONTAINERFILE, "WORKDIR")[-1:]
    assert f"--from=made --chown={USER}:{USER} {folder} {folder}" in said(CONTAINERFILE, "COPY")


def test_the_image_s_variables_are_settings_and_it_listens_where_it_says() -> None:
    variables = _image_variables()
    names = [name for name in variables if name.startswith("ANGARIUM_")]
    assert {name.removeprefix("ANGARIUM_").lower() for name in names} <= set(table())
    [port] = said(CONTAINERFILE, "EXPOSE")
    assert variables["ANGARIUM_LISTEN"] == f"0.0.0.0:{port}"


def test_the_health_check_asks_where_the_server_listens() -> None:
    [text] = said(CONTAINERFILE, "HEALTHCHECK")
    python, flag, program = command(text.partition(" CMD ")[2])
    assert (python, flag) == ("/opt/angarium/bin/python", "-c")
    assert f"('127.0.0.1', {said(CONTAINERFILE, 'EXPOSE')[0]}, " in program
    assert "/healthz" in program
    compile(program, "HEALTHCHECK", "exec")


# -- the compose files -------------------------------------------------------------------------------------------------


def test_there_is_a_compose_file_for_each_store() -> None:
    assert list(COMPOSED) == ["compose.postgresql.yaml", "compose.sqlite.yaml"]


@pytest.mark.parametrize(("document", "name"), OURS)
def test_a_service_is_of_this_version_and_made_by_the_containerfile(document: Any, name: str) -> None:
    service = document["services"][name]
    assert service["image"] == f"angarium:{angarium.__version__}"
    build = service["build"]
    assert (FOLDER / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).samefile(FOLDER / "Containerfile")


@pytest.mark.parametrize(("document", "name"), OURS)
def test_a_service_may_only_read_and_has_no_rights(document: Any, name: str) -> None:
    service = document["services"][name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in service  # The image's own.


@pytest.mark.parametrize(("document", "name"), OURS)
def test_a_service_s_settings_can_be_read(document: Any, name: str, tmp_path: Path) -> None:
    service = document["services"][name]
    settings = _settings(service, tmp_path)
    assert (settings.admin_key, settings.secret_key) == (SECRETS["admin-key"], bytes(32))
    assert int(service["stop_grace_period"].removesuffix("s")) >= settings.stop_s + 15
    if "volumes" in service:
        assert settings.store == Settings().store
        [folder] = said(CONTAINERFILE, "WORKDIR")[-1:]
        assert [text.partition(":")[2] for text in service["volumes"]] == [folder]
    else:
        assert settings.store == SECRETS["store"]


@pytest.mark.parametrize("document", [pytest.param(each, id=name) for name, each in COMPOSED.items()])
def test_what_services_name_is_declared(document: Any) -> None:
    services = document["services"].values()
    secrets = {name for service in services for name in service.get("secrets", ())}
    volumes = {text.partition(":")[0] for service in services for text in service.get("volumes", ())}
    assert secrets == set(document["secrets"])
    assert volumes == set(document["volumes"])
    assert {name for service in services for name in service.get("depends_on", ())} <= set(document["services"])


def test_postgresql_has_one_api_and_two_workers(tmp_path: Path) -> None:
    services = COMPOSED["compose.postgresql.yaml"]["services"]
    roles = {name: _settings(services[name], tmp_path).role for name in ("api", "worker")}
    assert roles == {"api": "api", "worker": "worker"}
    assert services["worker"]["deploy"] == {"replicas": 2}
    assert "ports" not in services["worker"]


def test_ports_are_published_on_this_machine_alone() -> None:
    ports = [
        port
        for document in COMPOSED.values()
        for each in document["services"].values()
        for port in each.get("ports", ())
    ]
    assert ports == ["127.0.0.1:8080:8080"] * 2
