"""What configs/deploy ships is what the tools take: containers, compose, systemd, and every command of ours in it."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from node.cli.main import app
from node.config.configuration import load_settings
from node.network_file import read_network
from node.settings import NodeRole
from tests.node.test_network_file import NETWORK

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "configs" / "deploy"
BIN = Path(sys.executable).parent
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
NODES = ("bootstrap", "coordinator", "miner")
CONTAINERFILE = DEPLOY / "container" / "Containerfile"
UNIT = DEPLOY / "systemd" / "cuckoo@.service"


def tool(name: str) -> str:
    """Find a tool that comes with the environment or the system; what needs it is skipped where it is not there."""
    found = shutil.which(name, path=f"{BIN}:/usr/bin:/usr/local/bin:/usr/sbin")
    if found is None:
        pytest.skip(f"{name} is not here")
    return found


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=DEPLOY, env=env)


def parsed(command: list[str]) -> str | None:
    """Read a command line as the program does, without doing it; gives what is wrong, if anything is."""
    group = typer.main.get_command(app)
    rest = command[1:]
    try:
        while True:
            context = group.make_context("cuckoo", list(rest), resilient_parsing=False)
            if not hasattr(group, "resolve_command"):
                return None
            words = [*context._protected_args, *context.args]
            _, group, rest = group.resolve_command(context, words)
            if group is None:
                return f"no command {words[0]}"
    except typer.Exit:  # --help, --version
        return None
    except typer.TyperException as error:
        return error.format_message()


def of_scripts() -> Iterator[str]:
    """The lines of the script and of the notes on which a command of ours begins, continued ones joined."""
    for path in (DEPLOY / "compose" / "setup.sh", DEPLOY / "README.md"):
        text = path.read_text().replace("\\\n", " ")
        for line in text.splitlines():
            for part in re.findall(r"(?<![\w/.-])cuckoo [a-z][a-z-]+ [^|`#)]*", line):
                yield re.sub(r"\s*(>.*|&&.*)?$", "", part.replace("$(", "").split(" >")[0].split("||")[0])


def commands() -> dict[str, list[str]]:
    """Each command of ours that a file of configs/deploy has, by where it is."""
    found: dict[str, list[str]] = {}
    for name in NODES:
        found[f"compose {name}"] = ["cuckoo", *COMPOSE["services"][name]["command"]]
    (line,) = re.findall(r"^ExecStart=(.*)$", UNIT.read_text(), re.MULTILINE)
    found["systemd"] = ["cuckoo", *shlex.split(line)[1:]]
    for number, line in enumerate(of_scripts()):
        # A word of the shell's stands for one value: "$owner" for an address, "$2" for an amount.
        words = [re.sub(r"\$\{?\w+\}?", "1", word) for word in shlex.split(line)]
        found[f"script {number}: {line[:60]}"] = words
    return found


@pytest.mark.parametrize("command", commands().values(), ids=commands().keys())
def test_commands__of_deployed_files__are_what_the_program_takes(command: list[str]):
    assert parsed(command) is None, command


def test_commands__found__are_many_and_a_wrong_one_is_seen():
    assert len(commands()) > 15
    assert "No such option" in str(parsed(["cuckoo", "node", "--configg", "x"]))
    assert parsed(["cuckoo", "nodes"]) is not None
    assert parsed(["cuckoo", "key", "make"]) is not None


@pytest.mark.parametrize("role", NODES)
def test_settings__of_containers__load_for_their_role(role: str, tmp_path: Path):
    NETWORK.write(tmp_path / "network.toml")
    text = (DEPLOY / "compose" / f"{role}.toml").read_text()
    assert text.count("/network/network.toml") == 1
    path = tmp_path / f"{role}.toml"
    path.write_text(text.replace("/network/network.toml", str(tmp_path / "network.toml")))
    settings = load_settings(path, {}, {})
    assert settings.role is NodeRole(role)
    assert settings.metrics.port == 9464, "where the health check of the image asks"
    assert str(settings.keystore) == "/data/key.json"
    assert settings.key.password_file is None, "it comes as a secret"
    ports = COMPOSE["services"][role].get("ports", [])
    listened = {str(settings.overlay.listen[0]).rpartition("/")[2], str(settings.http.port)}
    assert {port.rpartition(":")[2] for port in ports} <= listened
    if role == "coordinator":
        assert settings.requires_key, "others can reach it"


def test_network__of_the_trial__is_a_plan_that_can_be_deployed(tmp_path: Path):
    from node.deployment import read_plan

    path = tmp_path / "network.toml"
    path.write_text((DEPLOY / "compose" / "network.toml").read_text())
    read_plan(path)
    with pytest.raises(Exception, match="no contracts"):
        read_network(path)


def test_containerfile__linted__has_no_fault():
    linted = run(tool("hadolint"), "container/Containerfile")
    assert (linted.returncode, linted.stdout) == (0, "")


def test_containerfile__what_it_copies__is_there_and_not_ignored():
    text = CONTAINERFILE.read_text()
    ignored = (DEPLOY / "container" / "Containerfile.dockerignore").read_text().splitlines()
    lines = re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE)
    copied = {word for line in lines for word in line.split()}
    texts = {"pyproject.toml", "constraints.txt", "README.md", "LICENSE"}
    assert copied == {*texts, "protocol", "contracts", "configs", "node"}
    assert all((ROOT / name).exists() and f"!{name}" in ignored for name in copied)
    assert ignored[1] == "*"
    last = {stage: text.split(f" AS {stage}\n")[1] for stage in ("base", "node", "miner")}
    assert "USER 10001:10001" in last["base"].split("FROM ")[0]
    assert "USER root" not in text


def test_containerfile__where_volumes_come__is_a_folder_of_the_user():
    """An empty volume takes over whose the image's folder is; where there is none it is root's."""
    (line,) = re.findall(r"install -d -m 0700 -o 10001 -g 10001 (.*)$", CONTAINERFILE.read_text(), re.MULTILINE)
    mounted = {
        mount.rpartition(":ro")[0].rpartition(":")[2] if mount.endswith(":ro") else mount.rpartition(":")[2]
        for name in (*NODES, "setup")
        for mount in COMPOSE["services"][name]["volumes"]
        if not mount.startswith("./")
    }
    assert mounted == set(line.split())


def composed(*files: str, **environment: str) -> dict[str, Any]:
    """What compose makes of files."""
    flags = [word for file in files for word in ("-f", file)]
    said = run(tool("docker-compose"), *flags, "--profile", "trial", "config", "--format", "json", **environment)
    assert said.returncode == 0, said.stderr
    return json.loads(said.stdout)


def test_compose__alone_and_with_gpus__is_what_compose_takes():
    plain = composed("compose.yaml")
    assert set(plain["services"]) == {*NODES, "chain", "setup", "prometheus", "grafana"}
    assert "deploy" not in plain["services"]["miner"]
    with_gpu = composed("compose.yaml", "compose.gpu.yaml")
    assert with_gpu["services"]["miner"]["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]


def test_compose__folder_of_a_network__is_mounted_instead_of_the_trials():
    service = composed("compose.yaml", NETWORK_FOLDER="./mine")["services"]["coordinator"]
    (mount,) = [volume for volume in service["volumes"] if volume["target"] == "/network"]
    assert (mount["type"], mount["source"], mount["read_only"]) == ("bind", str(DEPLOY / "mine"), True)


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_compose__each_service__is_confined(name: str):
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    if name in NODES:
        assert service["user"] == "10001:10001"
        assert "healthcheck" not in service, "the image has one"
    else:
        assert "healthcheck" in service
    for mount in service.get("volumes", ()):
        if mount.startswith("./"):
            source, _, rest = mount.partition(":")
            assert (DEPLOY / source).exists()
            assert rest.endswith(":ro")


def test_compose__passwords__are_files_and_never_flags_or_variables():
    for name, service in COMPOSE["services"].items():
        for key, value in service.get("environment", {}).items():
            assert "PASSWORD" not in key or key.endswith("__FILE"), (name, key, value)
        assert "password" not in " ".join(service.get("command") or ()).lower()
    assert all(secret["file"].startswith("./secrets/") for secret in COMPOSE["secrets"].values())
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "/configs/deploy/secrets/" in ignored


def test_prometheus__targets__are_the_nodes_of_compose_at_their_port():
    settings = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (job,) = settings["scrape_configs"]
    assert job["job_name"] == "cuckoo", "as the alerts have it"
    assert job["static_configs"] == [{"targets": [f"{name}:9464" for name in NODES]}]
    assert settings["rule_files"] == ["alerts.yml"]


def test_grafana__provisioned__finds_its_prometheus_and_dashboards():
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "cuckoo.yml").read_text())["providers"]
    mounts = COMPOSE["services"]["grafana"]["volumes"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in mounts


def units(folder: Path) -> list[Path]:
    """The units as installed, with a program that is there."""
    shutil.copytree(DEPLOY / "systemd", folder, dirs_exist_ok=True)
    text = UNIT.read_text().replace("/opt/cuckoo/bin/cuckoo", str(BIN / "cuckoo"))
    (folder / UNIT.name).write_text(text)
    made = [folder / f"cuckoo@{role}.service" for role in NODES]
    for unit in made:
        unit.write_text(text)
    return made


def test_units__verified__have_no_fault(tmp_path: Path):
    analyze = tool("systemd-analyze")
    for unit in units(tmp_path):
        said = run(analyze, "verify", "--man=no", str(unit))
        assert (said.returncode, said.stderr) == (0, ""), unit.name


@pytest.mark.parametrize(("role", "most"), [("bootstrap", 15), ("coordinator", 15), ("miner", 17)])
def test_units__judged_by_exposure__are_confined(role: str, most: int, tmp_path: Path):
    analyze = tool("systemd-analyze")
    unit = units(tmp_path)[NODES.index(role)]
    said = run(analyze, "security", "--offline=true", f"--threshold={most}", "--no-pager", str(unit))
    assert said.returncode == 0, said.stdout + said.stderr


def test_units__password__is_a_credential():
    text = UNIT.read_text()
    assert "LoadCredential=cuckoo-password:" in text
    assert "User=cuckoo" in text
    assert "u cuckoo " in (DEPLOY / "systemd" / "cuckoo.sysusers").read_text()
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    assert "password" not in line


def test_script__of_the_trial__is_plain_shell():
    assert run("sh", "-n", "compose/setup.sh").returncode == 0
