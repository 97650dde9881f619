"""What is in deploy/: every name in it is one that the server has, and what can be run of it is run."""

from __future__ import annotations

import argparse
import json
import os
import re
import selectors
import shutil
import socket
import subprocess
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml

from antiphon import cli, log, settings
from antiphon.telemetry import METRICS
from jetstream import Nats
from postgres import Postgres
from serving import PATIENCE, Server, ServerFactory

DEPLOY = Path(__file__).parents[1] / "deploy"
VARIABLE = re.compile(r"\$\{(\w+)[^}]*\}")
# What the Prometheus client tells of every process.
OF_PROCESSES = {
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_max_fds",
}


def composed() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))


def manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")))


def deployments() -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in manifests() if one["kind"] == "Deployment"}


def served(arguments: list[str]) -> argparse.Namespace:
    """A command line as the server reads it; fails where the server would."""
    return cli._parser().parse_args(arguments)


# ---------------------------------------------------------------------------------------------------- compose


def test_the_compose_file_has_two_that_answer_two_that_work_and_what_they_need():
    services = composed()["services"]
    assert {name: service.get("scale", 1) for name, service in services.items()} == {
        "api": 2, "worker": 2, "balancer": 1, "postgres": 1, "nats": 1,
    }  # fmt: skip
    for name, service in services.items():
        assert service.get("depends_on", {}).keys() <= services.keys()
        assert {wait["condition"] for wait in service.get("depends_on", {}).values()} <= {"service_healthy"}
        assert "healthcheck" in service or name == "balancer", "whoever is waited for says when it is there"
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in composed()["volumes"] or (DEPLOY / source).exists()


@pytest.mark.parametrize("role", ["api", "worker"])
def test_the_compose_files_servers_are_started_with_flags_and_variables_that_there_are(
    role: str, monkeypatch: pytest.MonkeyPatch
):
    service = composed()["services"][role]
    for name, value in service["environment"].items():
        monkeypatch.setenv(name, VARIABLE.sub(f"a-secret-that-is-long-{name}", value))
    options = served([VARIABLE.sub("scripted", one) for one in service["command"]])
    chosen = cli._settings(options)
    chosen.check()
    assert chosen.role == role and chosen.database and chosen.nats and chosen.admin_key
    stops = chosen.drain + chosen.grace
    assert stops < int(service["stop_grace_period"].removesuffix("s"))
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (DEPLOY.parent / "src").rglob("*.py"))
    assert [name for name in service["environment"] if name.removeprefix("ANTIPHON_").lower() not in sources
            and name not in sources] == []  # fmt: skip


def test_no_secret_stands_in_a_file():
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    for name in ("POSTGRES_PASSWORD", "NATS_PASSWORD", "ANTIPHON_API_KEYS", "ANTIPHON_ADMIN_KEY"):
        assert f"${{{name}:?}}" in text, "without it nothing starts"
        assert f"{name}=%s" in text, "and the file says how it is made"


# ---------------------------------------------------------------------------------------------------- Kubernetes


def test_the_manifest_has_what_two_kinds_of_servers_need():
    kinds = sorted((one["kind"], one["metadata"]["name"]) for one in manifests())
    assert kinds == [
        ("ConfigMap", "antiphon"), ("Deployment", "api"), ("Deployment", "worker"), ("Namespace", "antiphon"),
        ("PodDisruptionBudget", "api"), ("PodDisruptionBudget", "worker"), ("Secret", "antiphon"),
        ("Service", "antiphon"),
    ]  # fmt: skip
    assert {one["metadata"].get("namespace") for one in manifests() if one["kind"] != "Namespace"} == {"antiphon"}


@pytest.mark.parametrize("role", ["api", "worker"])
def test_a_manifests_server_is_started_with_settings_that_there_are_and_stopped_in_time(
    role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    [config] = [one for one in manifests() if one["kind"] == "ConfigMap"]
    [secret] = [one for one in manifests() if one["kind"] == "Secret"]
    for name, value in secret["stringData"].items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "antiphon.toml"
    file.write_text(config["data"]["antiphon.toml"], encoding="utf-8")
    pod = deployments()[role]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    chosen = cli._settings(served([one.replace("/etc/antiphon", str(tmp_path)) for one in container["args"]]))
    chosen.check()
    assert chosen.role == role and chosen.database and chosen.nats and chosen.host == "0.0.0.0"
    assert chosen.drain + chosen.grace < pod["terminationGracePeriodSeconds"]
    ready = container["readinessProbe"]
    assert ready["periodSeconds"] * ready["failureThreshold"] < chosen.drain, "it is seen before it stops listening"
    assert ready["httpGet"]["path"] == "/readyz" and container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["ports"][0]["containerPort"] == settings.PORT
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_selectors_find_what_they_are_for():
    labels = {name: one["spec"]["template"]["metadata"]["labels"] for name, one in deployments().items()}
    for name, one in deployments().items():
        assert one["spec"]["selector"]["matchLabels"] == labels[name]
    [service] = [one for one in manifests() if one["kind"] == "Service"]
    found = [name for name, has in labels.items() if service["spec"]["selector"].items() <= has.items()]
    assert found == ["api"], "who asks is answered by those who answer"
    for budget in (one for one in manifests() if one["kind"] == "PodDisruptionBudget"):
        wanted = budget["spec"]["selector"]["matchLabels"]
        assert [name for name, has in labels.items() if wanted.items() <= has.items()] == [budget["metadata"]["name"]]


def within(given: Any, read: Any, path: str = "") -> Iterator[str]:
    """The places of what was given and not read."""
    if isinstance(given, dict):
        for name, value in given.items():
            yield from within(value, read.get(name) if isinstance(read, dict) else None, f"{path}.{name}")
    elif isinstance(given, list):
        for place, value in enumerate(given):
            yield from within(value, read[place] if isinstance(read, list) else None, f"{path}[{place}]")
    elif given != read:
        yield path


def test_kubectl_reads_all_that_the_manifest_says_of_pods():
    """It leaves out what the kinds do not have; so a misspelt field would not come back."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not on this machine")
    command = [kubectl, "set", "image", "--local", "--filename=-", "antiphon=antiphon:other", "--output=json"]
    for given in deployments().values():
        done = subprocess.run(command, input=yaml.safe_dump(given), capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        given["spec"]["template"]["spec"]["containers"][0]["image"] = "antiphon:other"  # unchanged, it says nothing
        assert list(within(given, json.loads(done.stdout))) == []


# ---------------------------------------------------------------------------------------------------- the image


def test_the_image_installs_extras_that_there_are():
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    wanted = re.findall(r"'\.\[([\w,]+)\]'", text)[0].split(",")
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(wanted) <= project["optional-dependencies"].keys()
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        assert all((DEPLOY.parent / name).exists() for name in source.split())


# ---------------------------------------------------------------------------------------------------- metrics


def named_in(expression: str) -> set[str]:
    found = set(re.findall(r"\b(?:antiphon|process)_\w+", expression))
    return {re.sub(r"_(bucket|count|sum)$", "", name) if name not in METRICS else name for name in found}


def expressions() -> Iterator[tuple[str, str]]:
    rules = yaml.safe_load((DEPLOY / "alerts.yaml").read_text(encoding="utf-8"))
    for rule in rules["groups"][0]["rules"]:
        assert rule["labels"]["severity"] in ("page", "ticket") and rule["annotations"]["summary"].endswith(".")
        yield rule["alert"], rule["expr"]
    board = json.loads((DEPLOY / "grafana.json").read_text(encoding="utf-8"))
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def test_alerts_and_the_dashboard_name_metrics_and_labels_that_there_are():
    for where, expression in expressions():
        assert expression.count("(") == expression.count(")"), where
        assert named_in(expression) <= METRICS.keys() | OF_PROCESSES, where
        known = {label for name in named_in(expression) & METRICS.keys() for label in METRICS[name].labels}
        used = set(re.findall(r"(\w+)\s*(?:=|!=|=~|!~)\s*\"", expression))
        used |= {label for group in re.findall(r"by \(([^)]*)\)", expression) for label in re.split(r",\s*", group)}
        assert used <= known | {"le", "instance", "job"}, where


def test_every_metric_and_alert_is_on_the_page_of_operations_and_no_other():
    page = (DEPLOY.parent / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|", page, re.MULTILINE)
    shown = {name: tuple(re.findall(r"`(\w+)`", labels)) for name, labels in rows if name.startswith("antiphon_")}
    assert shown == {name: metric.labels for name, metric in METRICS.items()}
    rules = yaml.safe_load((DEPLOY / "alerts.yaml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    assert re.findall(r"^\| `(Antiphon\w+)` \|", page, re.MULTILINE) == [rule["alert"] for rule in rules]


def test_the_dashboard_shows_every_metric():
    board = "\n".join(expression for _, expression in expressions())
    assert METRICS.keys() - named_in(board) == set()


# ---------------------------------------------------------------------------------------------------- the balancer


@contextmanager
def balanced(tmp_path: Path, *servers: Server) -> Iterator[int]:
    """HAProxy as it is configured, but for its port, in front of these; its port."""
    haproxy = shutil.which("haproxy")
    if haproxy is None:
        pytest.skip("haproxy is not on this machine")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = (DEPLOY / "haproxy.cfg").read_text(encoding="utf-8").replace("bind :8484", f"bind 127.0.0.1:{port}")
    lines = [f"    server s{place} 127.0.0.1:{one.port}" for place, one in enumerate(servers)]
    replaced = re.sub(r"^    server-template .*$", "\n".join(lines), text, flags=re.MULTILINE)
    file = tmp_path / "haproxy.cfg"
    file.write_text(replaced, encoding="utf-8")
    with subprocess.Popen([haproxy, "-db", "-f", str(file)], stderr=subprocess.DEVNULL) as process:
        try:
            yield port
        finally:
            process.terminate()


def test_the_balancers_file_is_valid():
    haproxy = shutil.which("haproxy")
    if haproxy is None:
        pytest.skip("haproxy is not on this machine")
    command = [haproxy, "-c", "-f", str(DEPLOY / "haproxy.cfg")]
    environment = os.environ | {"ANTIPHON_API": "127.0.0.1:8484"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr


def test_a_server_that_drains_gets_nothing_more_and_nobody_notices(
    server: ServerFactory, postgres: Postgres, nats: Nats, tmp_path: Path
):
    script = 'tokens_per_second = 20\n[[turns]]\nwhen = "long"\ntext = "%s"\n[[turns]]\ntext = "ok"\n' % ("word " * 40)
    shared = {"ANTIPHON_DATABASE": postgres.database(), "ANTIPHON_NATS": nats.url}
    one, two = (server(script, "--drain", "3", **shared) for _ in range(2))
    with balanced(tmp_path, one, two) as port:
        front = Front(port)
        front.wait()
        body = {"model": "scripted", "input": "long", "stream": True, "background": True}
        frames = front.frames("POST", "/v1beta/interactions", body)
        seen = list(islice(frames, 4))
        one.send(15)
        asked = 0
        while not one.ended:
            front.create("hello")  # fails where any answer is no 200
            asked += 1
        assert asked > 10
        seen += frames
        (_, created), *_ = log.decode(seen[0])
        if seen[-1] != log.DONE:  # it was the other's connection: resumed like any other
            id, last = created.interaction.id, log.number(seen[-1])
            seen += front.frames("GET", f"/v1beta/interactions/{id}?stream=true&last_event_id=evt_{last}")
        *whole, done = seen
        assert done == log.DONE
        assert [log.number(frame) for frame in whole] == list(range(1, len(whole) + 1))
        for path in ("/metrics", "/admin/keys", "/v1beta/metrics", "/v1/v1beta//admin/keys"):
            assert front.request("GET", path).status == 404, "what is the operators' is reached from within"


class Front(Server):
    """Whatever answers on a port, spoken to like a server."""

    def __init__(self, port: int) -> None:
        self.port = port

    def wait(self) -> int:
        """Wait until it answers."""
        until = time.monotonic() + PATIENCE
        with selectors.DefaultSelector() as pause:  # nothing is registered: it only waits
            while time.monotonic() < until:
                with suppress(OSError):
                    if self.request("GET", "/healthz").status == 200:
                        return 200
                pause.select(0.05)
        raise AssertionError("nothing answers there")
