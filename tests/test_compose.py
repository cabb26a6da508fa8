"""docker-compose.yml: what listens, what is pinned, how nodes meet; docker itself where it is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docker-compose.yml"
KEYS = {"GEOSIM_QDRANT_API_KEY": "k" * 32, "GEOSIM_SERVE_API_KEY": "s" * 32}
NODES = ("qdrant-1", "qdrant-2", "qdrant-3")


def filled(value: Any, environment: Mapping[str, str]) -> Any:
    """Return a value with ``${NAME:-default}`` and ``${NAME:+text}`` as Compose fills them in."""
    if isinstance(value, Mapping):
        return {key: filled(one, environment) for key, one in value.items()}
    if isinstance(value, list):
        return [filled(one, environment) for one in value]
    if not isinstance(value, str):
        return value

    def fill(found: re.Match[str]) -> str:
        given = environment.get(found["name"], "")
        if found["kind"] == ":+":
            return found["text"] if given else ""
        return given or found["text"]

    return re.sub(r"\$\{(?P<name>\w+)(?P<kind>:[-+])(?P<text>[^}]*)\}", fill, value)


def services(**environment: str) -> dict[str, Any]:
    return dict(filled(yaml.safe_load(FILE.read_text("utf-8")), environment)["services"])


def environment_of(service: Mapping[str, Any]) -> dict[str, str]:
    given = service["environment"]
    return dict(one.split("=", 1) for one in given) if isinstance(given, list) else dict(given)


def test_without_a_profile_there_is_one_node() -> None:
    found = services()
    assert [name for name, one in found.items() if "profiles" not in one] == ["qdrant"]
    assert {str(one["profiles"]) for one in found.values() if "profiles" in one} == {"['cluster']"}
    assert found["qdrant"]["ports"] == ["127.0.0.1:6333:6333", "127.0.0.1:6334:6334"]
    assert "command" not in found["qdrant"]


def test_all_ports_listen_on_this_machine_and_none_twice() -> None:
    taken = [port for one in services().values() for port in one.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in taken)
    assert len({port.split(":")[1] for port in taken}) == len(taken)
    assert "ports" not in services()["serve"], "only the proxy leads to it"
    opened = services(GEOSIM_BIND="0.0.0.0")
    assert [n for n, one in opened.items() if "0.0.0.0" in str(one.get("ports"))] == ["caddy"]


def test_all_images_are_pinned_and_all_services_have_a_check_of_their_health() -> None:
    for name, one in services().items():
        assert "healthcheck" in one, name
        assert one["restart"] == "unless-stopped"
        if "build" not in one:
            assert re.search(r":v?\d+\.\d+\.\d+$", one["image"]), name
    (base,) = re.findall(r"^FROM (.+)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert re.search(r":\d+\.\d+", base)


def test_the_first_node_makes_the_cluster_and_the_others_join_it() -> None:
    found = services()
    commands = {name: found[name]["command"] for name in NODES}
    first = "http://qdrant-1:6335"
    for name, command in commands.items():
        options = dict(zip(command[1::2], command[2::2], strict=True))
        joined = {} if name == "qdrant-1" else {"--bootstrap": first}
        assert (command[0], options) == (
            "./entrypoint.sh",
            {"--uri": f"http://{name}:6335"} | joined,
        )
        assert environment_of(found[name])["QDRANT__CLUSTER__ENABLED"] == "true"
        if joined:
            assert found[name]["depends_on"] == {"qdrant-1": {"condition": "service_healthy"}}
    volumes = [one for name in NODES for one in found[name]["volumes"]]
    declared = yaml.safe_load(FILE.read_text("utf-8"))["volumes"]
    assert len({one.split(":")[0] for one in volumes} & declared.keys()) == len(volumes) == 6


def test_keys_come_from_the_environment_and_an_empty_one_is_none() -> None:
    with_keys, without = services(**KEYS), services()
    for name in ("qdrant", *NODES):
        key = "QDRANT__SERVICE__API_KEY"
        assert environment_of(with_keys[name])[key] == KEYS["GEOSIM_QDRANT_API_KEY"]
        assert key not in environment_of(without[name]), "a server would take '' for the key"
    served = environment_of(with_keys["serve"])
    assert {name: served[name] for name in KEYS} == KEYS
    addresses = [f"http://{name}:6333" for name in NODES]
    assert served["GEOSIM_QDRANT_URL"].split(",") == addresses
    assert "--host" in with_keys["serve"]["command"], "serve demands a key then"


def test_the_image_has_what_the_build_needs_and_runs_as_no_root() -> None:
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    copied = {source for line in lines if line.startswith("COPY ") for source in line.split()[1:-1]}
    let_in = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert copied == {line[1:] for line in let_in if line.startswith("!")}
    assert all((ROOT / source).exists() for source in copied)
    assert lines.index("USER geosim") < lines.index('ENTRYPOINT ["geosim"]')


@pytest.mark.parametrize("profile", [(), ("--profile", "cluster")])
def test_docker_reads_the_file(profile: tuple[str, ...]) -> None:
    docker = shutil.which("docker")
    command = [str(docker), "compose", *profile, "-f", str(FILE), "config", "--quiet"]
    there = [str(docker), "compose", "version"]
    if docker is None or subprocess.run(there, check=False, capture_output=True).returncode:
        pytest.skip("there is no docker compose")
    environment = {**os.environ, **KEYS}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
