"""Files for containers, clusters and clouds, read as data: engines for them are not needed.

What their own tools say of them, where a tool is on this machine; docs/containers.md,
docs/kubernetes.md and docs/terraform.md tell what was run by hand.
"""

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cli import settings_file
from cli.embedded.process import find_binary
from cli.identity.authority import Authority
from cli.identity.records import Kind
from cli.parts import ControlPlaneFile
from control_plane.core.bus_jwt import JetStreamLimits
from control_plane.http.routes_probes import ROUTES
from schemas.resources import bytes_needed
from swarm_node.config import NodeSettings
from tests.contract import seccomp_profile

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKER = DEPLOY / "docker"
KUBERNETES = DEPLOY / "kubernetes"
BASE = KUBERNETES / "base"
DRAIN = KUBERNETES / "components/drain"
OVERLAYS = sorted((KUBERNETES / "overlays").iterdir())
TERRAFORM = DEPLOY / "terraform"
PROVIDERS = ("digitalocean", "hetzner", "linode", "vultr")
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
CREDENTIALS = {"CREDENTIALS_DIRECTORY": "/run/credentials/test"}
OUTSIDE_PORTS = {53, 80, 443}
NATS_PORTS = {4222, 6222}
SECRETS = {"blazz-bus-identity", "blazz-nats-tls", "blazz-control-plane", "blazz-nodes"}
UNITS = {"MB": 2**20, "GB": 2**30}

Object = dict[str, Any]


def documents(path: Path) -> list[Object]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


def yaml_files() -> list[Path]:
    return sorted([*DEPLOY.rglob("*.yaml"), *DEPLOY.rglob("*.yml")])


def base_objects() -> list[Object]:
    listed = documents(BASE / "kustomization.yaml")[0]["resources"]
    return [one for name in listed for one in documents(BASE / name)]


def workloads() -> dict[str, Object]:
    kinds = {"StatefulSet", "Deployment"}
    return {one["metadata"]["name"]: one for one in base_objects() if one["kind"] in kinds}


def named(kind: str) -> dict[str, Object]:
    return {one["metadata"]["name"]: one for one in base_objects() if one["kind"] == kind}


def pod(workload: Object) -> Object:
    found: Object = workload["spec"]["template"]["spec"]
    return found


def compose(name: str = "compose.yaml") -> Object:
    return documents(DOCKER / name)[0]


def words_of(path: Path) -> str:
    """A file's text without its comments: those may name what must not be there."""
    lines = path.read_text().splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith(("#", "//")))


# Everything ------------------------------------------------------------------------------------


def texts() -> Iterator[Path]:
    folders = [DOCKER, KUBERNETES, TERRAFORM, DEPLOY / "cloud-init"]
    for folder in folders:
        # What setup.sh made on a developer's machine is no file of ours.
        yield from (p for p in folder.rglob("*") if p.is_file() and "secrets" not in p.parts)
    yield DEPLOY / "deploy-node.sh"


def test_yaml_parses() -> None:
    assert len(yaml_files()) > 10
    for path in yaml_files():
        assert documents(path) or path.name == "user-data.yaml", path


def test_no_file_holds_a_secret_or_lets_something_loose() -> None:
    secret = re.compile(r"PRIVATE KEY-----|\bS[UAO][A-Z2-7]{56}\b|blz_live_\w|\beyJ\w{20}")
    loose = re.compile(
        r"privileged: *true|SYS_ADMIN|--no-sandbox|hostPath:|hostNetwork: *true|hostPID: *true"
        r"|unconfined|:latest\b|kind: Secret\b|allowPrivilegeEscalation: *true",
        re.IGNORECASE,
    )
    for path in texts():
        text = words_of(path)
        assert not secret.search(text), path
        assert not loose.search(text), path


def test_all_name_one_version() -> None:
    tagged = re.compile(r"blazz:(\d[\w.]*)")
    for path in texts():
        assert set(tagged.findall(path.read_text())) <= {VERSION}, path
    for path in KUBERNETES.rglob("kustomization.yaml"):
        for image in documents(path)[0].get("images", []):
            assert image["newTag"] == VERSION, path
    example = (TERRAFORM / "examples/fleet/main.tf").read_text()
    assert re.findall(r'blazz_version\s*=\s*"(.*)"', example) == [VERSION]


# Settings and the bus -------------------------------------------------------------------------


@pytest.mark.parametrize("folder", [DOCKER / "config", BASE / "config"])
def test_the_parts_take_their_settings(folder: Path) -> None:
    node = settings_file.load(NodeSettings, folder / "node.toml", CREDENTIALS)
    control = settings_file.load(ControlPlaneFile, folder / "control-plane.toml", CREDENTIALS)
    assert node.bus.creds_file == "/run/credentials/test/node.creds"
    assert node.bus.servers == control.bus.servers
    assert node.timing == control.timing
    assert control.services.vault is not None
    assert control.http.port == 8080
    assert node.http_port == 9464
    nats = (folder / "nats.conf").read_text()
    number, unit = re.findall(r"max_file_store: (\d+)(MB|GB)", nats)[0]
    # Each server holds one copy of everything; a quarter more is room for what is being removed.
    assert int(number) * UNITS[unit] >= 1.2 * bytes_needed(control.store_scale)


@pytest.mark.parametrize(
    "config",
    [DOCKER / "config/nats.conf", BASE / "config/nats.conf", OVERLAYS[0] / "nats.conf"],
    ids=["docker", "base", "development"],
)
def test_the_bus_takes_its_file(config: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    authority.init("test", resolver_dir="/var/lib/blazz/nats/accounts", jetstream=JetStreamLimits())
    (tmp_path / "identity").mkdir()
    (tmp_path / "identity/nats-identity.conf").write_text(authority.server_include.read_text())
    certificate(tmp_path)
    mine = config.read_text().replace("/run/tls", str(tmp_path))
    mine = mine.replace("/var/lib/blazz/nats", str(tmp_path / "store"))
    (tmp_path / "nats.conf").write_text(mine)
    told = subprocess.run(
        [find_binary(None), "-t", "-c", tmp_path / "nats.conf"],
        env={"POD_NAME": "blazz-nats-0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr


def certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    (folder / "tls.crt").write_bytes(pem)
    (folder / "ca.crt").write_bytes(pem)
    (folder / "tls.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


# Containers ------------------------------------------------------------------------------------


def test_the_image_is_built_of_what_is_there_and_runs_as_nobody() -> None:
    text = (DOCKER / "Dockerfile").read_text()
    given = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    assert given[1] == "*"
    allowed = {line[1:] for line in given if line.startswith("!")}
    copied = [
        word
        for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)
        for word in line.split()[:-1]
    ]
    assert set(copied) == allowed
    for name in copied:
        assert (ROOT / name).exists(), name
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
    assert re.findall(r"^ARG DEBIAN=(.*)$", text, re.MULTILINE) == ["bookworm-slim"]
    assert "--require-hashes -r requirements.lock" in text
    assert "HEALTHCHECK" in text
    assert 'ENTRYPOINT ["tini", "--", "blazz"]' in text
    assert not re.search(r"^(ARG|ENV).*(TOKEN|PASSWORD|SECRET|KEY)", text, re.MULTILINE)


def test_the_seccomp_profile_allows_what_the_unit_allows_and_no_more() -> None:
    rules = json.loads(seccomp_profile.PROFILE.read_text())["syscalls"]
    allowed, namespaces, none = rules
    assert set(namespaces["names"]) == {"clone", "unshare"}
    assert namespaces["args"][0]["value"] == seccomp_profile.NAMESPACES_DENIED
    assert (none["names"], none["action"]) == (["clone3"], "SCMP_ACT_ERRNO")
    names = set(allowed["names"])
    assert {"chroot", "capset", "prctl", "execve"} <= names
    assert not names & {
        "mount", "setns", "ptrace", "bpf", "keyctl", "pivot_root", "reboot", "init_module",
        "clone3", "io_uring_setup", "userfaultfd", "unshare", "clone", "kexec_load",
    }  # fmt: skip
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze, which knows the unit's groups")
    extra = names - seccomp_profile.allowed_by_the_unit()
    assert not extra, "run `python -m tests.contract.seccomp_profile`"


def test_compose_is_whole() -> None:
    stack = compose()
    services = stack["services"]
    assert set(services) == {"nats", "control-plane", "node"}
    setup = (DOCKER / "setup.sh").read_text()
    for name, service in services.items():
        assert service["image"] == f"blazz:{VERSION}", name
        assert service["restart"] == "unless-stopped"
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
        assert "no-new-privileges:true" in service["security_opt"]
        assert {"max-size", "max-file"} == service["logging"]["options"].keys()
        assert service["healthcheck"]["test"]
        assert set(service.get("depends_on", {})) <= set(services)
        assert set(service["networks"]) <= set(stack["networks"])
        assert set(service.get("secrets", [])) <= set(stack["secrets"])
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            made = source == "./secrets/public"
            assert source in stack["volumes"] or made or (DOCKER / source).exists(), source
    for name, secret in stack["secrets"].items():
        assert secret["file"] == f"./secrets/{name}"
        assert name in setup
    node = services["node"]
    assert node["mem_limit"] == "2G"
    assert "seccomp=./seccomp.json" in node["security_opt"]
    assert stack["networks"]["bus"] == {"internal": True}
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_the_demo_is_sandboxed_too() -> None:
    demo = compose("compose.demo.yaml")["services"]["demo"]
    assert demo["command"] == ["demo"]
    assert "seccomp=./seccomp.json" in demo["security_opt"]
    assert demo["cap_drop"] == ["ALL"]


# Kubernetes ------------------------------------------------------------------------------------


def test_every_file_is_a_part_of_something_that_is_applied() -> None:
    used = set()
    for path in KUBERNETES.rglob("kustomization.yaml"):
        used.add(path)
        kust = documents(path)[0]
        files = [*kust.get("resources", []), *kust.get("components", [])]
        files += [patch["path"] for patch in kust.get("patches", []) if "path" in patch]
        for made in kust.get("configMapGenerator", []):
            files += [name.split("=")[-1] for name in made["files"]]
        for name in files:
            assert (path.parent / name).exists(), f"{path}: {name}"
            used.add((path.parent / name).resolve())
    every = {path for path in KUBERNETES.rglob("*") if path.is_file()}
    assert every <= used


def test_pods_are_locked_down() -> None:
    assert set(workloads()) == {"blazz-nats", "blazz-control-plane", "blazz-node"}
    for name, workload in workloads().items():
        spec = pod(workload)
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["topologySpreadConstraints"][0]["topologyKey"].endswith("/zone")
        kind = spec["securityContext"]["seccompProfile"]["type"]
        assert kind == ("Localhost" if name == "blazz-node" else "RuntimeDefault")
        sidecars = pod(documents(DRAIN / "node.yaml")[0])["containers"][1:]
        for container in [*spec["containers"], *sidecars]:
            locked = container["securityContext"]
            assert locked["allowPrivilegeEscalation"] is False
            assert locked["readOnlyRootFilesystem"] is True
            assert locked["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]
    for account in named("ServiceAccount").values():
        assert account["automountServiceAccountToken"] is False
    labels = named("Namespace")["blazz"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_objects_name_objects_that_are_there() -> None:
    accounts, services = named("ServiceAccount"), named("Service")
    maps = {one["name"] for one in documents(BASE / "kustomization.yaml")[0]["configMapGenerator"]}
    page = (ROOT / "docs/kubernetes.md").read_text()
    for name, workload in workloads().items():
        spec, labels = pod(workload), workload["spec"]["template"]["metadata"]["labels"]
        assert spec["serviceAccountName"] in accounts
        assert workload["spec"]["selector"]["matchLabels"] == labels
        assert services[name]["spec"]["selector"] == labels
        assert named("PodDisruptionBudget")[name]["spec"]["selector"]["matchLabels"] == labels
        if workload["kind"] == "StatefulSet":
            assert workload["spec"]["serviceName"] == name
        volumes = {volume["name"] for volume in spec["volumes"]}
        volumes |= {
            claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])
        }
        for container in spec["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        sources = [source for volume in spec["volumes"] for source in (volume, *projected(volume))]
        for source in sources:
            if "configMap" in source:
                assert source["configMap"]["name"] in maps
            if "secret" in source:
                secret = source["secret"].get("secretName") or source["secret"]["name"]
                assert secret in SECRETS
                assert f"secret generic {secret}" in page or f"`{secret}`" in page


def projected(volume: Object) -> list[Object]:
    found: list[Object] = volume.get("projected", {}).get("sources", [])
    return found


def test_policies_deny_all_and_open_ports_that_somebody_listens_on() -> None:
    policies = named("NetworkPolicy")
    assert policies["deny-all"]["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }
    node = tomllib.loads((BASE / "config/node.toml").read_text())["http_port"]
    control = tomllib.loads((BASE / "config/control-plane.toml").read_text())["http"]["port"]
    nats = (BASE / "config/nats.conf").read_text()
    assert {int(port) for port in re.findall(r'listen: "0.0.0.0:(\d+)"', nats)} == NATS_PORTS
    listened = {
        "blazz-node": {node},
        "blazz-control-plane": {control},
        "blazz-nats": NATS_PORTS,
    }
    everything = [*policies.values(), *documents(DRAIN / "network-policies.yaml")]
    for policy in everything:
        spec = policy["spec"]
        name = spec["podSelector"].get("matchLabels", {}).get("app.kubernetes.io/name")
        assert name is None or name in listened
        for rule in spec.get("ingress", []):
            assert {port["port"] for port in rule["ports"]} <= listened[name]
        for rule in spec.get("egress", []):
            to = {
                peer.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/name")
                for peer in rule["to"]
            }
            wanted = {port["port"] for port in rule["ports"]}
            inside = [listened[one] for one in to if one in listened]
            assert wanted <= (inside[0] if inside else OUTSIDE_PORTS), policy["metadata"]["name"]


def test_probes_ask_routes_that_are_there_on_ports_that_are_named() -> None:
    routes = {path for handler in ROUTES for path in handler.paths}
    for name, workload in workloads().items():
        for container in pod(workload)["containers"]:
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                asked = container[probe]["httpGet"]
                assert asked["port"] in ports
                if name != "blazz-nats":
                    assert asked["path"] in routes
            if name != "blazz-nats":
                # A bus that is away must get no process killed.
                assert container["livenessProbe"]["httpGet"]["path"] == "/livez"


def test_a_node_is_itself_again_and_has_time_to_leave() -> None:
    node = pod(workloads()["blazz-node"])
    env = {one["name"]: one for one in node["containers"][0]["env"]}
    assert env["BLAZZ_NODE_ID"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    mounts = {one["name"]: one for one in node["containers"][0]["volumeMounts"]}
    assert mounts["credentials"]["subPathExpr"] == "$(BLAZZ_NODE_ID).creds"
    stop_s = node["terminationGracePeriodSeconds"]
    drained = pod(documents(DRAIN / "node.yaml")[0])
    deadline_s = int({e["name"]: e for e in drained["containers"][1]["env"]}["DEADLINE_S"]["value"])
    # `blazz node drain` waits a minute more than its deadline, and the node's own stop comes after.
    assert drained["terminationGracePeriodSeconds"] > deadline_s + 60 + stop_s
    waits_s = int(re.findall(r"-lt (\d+)", json.dumps(drained["containers"][0]["lifecycle"]))[0])
    assert deadline_s + 60 < waits_s < drained["terminationGracePeriodSeconds"] - stop_s
    # The operator's key is in the container beside the node, and not in the node's.
    assert "drain-key" not in json.dumps(drained["containers"][0])
    assert "drain-key" in json.dumps(drained["containers"][1])


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on this machine")
@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_overlays_render(overlay: Path) -> None:
    told = subprocess.run(
        ["kubectl", "kustomize", overlay], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    objects = [one for one in yaml.safe_load_all(told.stdout) if one]
    images = set(re.findall(r"image: (.*)", told.stdout))
    assert len(images) == 1
    assert images.pop().endswith(f"blazz:{VERSION}")
    assert {one["metadata"]["namespace"] for one in objects if one["kind"] != "Namespace"} == {
        "blazz"
    }
    drained = [one for one in objects if one["metadata"]["name"] == "blazz-drain-in"]
    assert bool(drained) == (overlay.name == "production")


# Machines --------------------------------------------------------------------------------------


def test_every_provider_takes_and_gives_the_same() -> None:
    def variables(provider: str) -> str:
        text = (TERRAFORM / "modules" / provider / "variables.tf").read_text()
        return re.sub(r'default     = "(?!deploy).*"', "", text)

    def outputs(provider: str) -> str:
        text = (TERRAFORM / "modules" / provider / "outputs.tf").read_text()
        text = re.sub(r"in \w+\.node :", "in machines :", text)
        return re.sub(r"machine\.\w+", "machine.address", text)

    assert {path.name for path in (TERRAFORM / "modules").iterdir()} == {*PROVIDERS, "inventory"}
    assert len({variables(provider) for provider in PROVIDERS}) == 1
    assert len({outputs(provider) for provider in PROVIDERS}) == 1
    for provider in PROVIDERS:
        main = (TERRAFORM / "modules" / provider / "main.tf").read_text()
        assert f'provider = "{provider}"' in main
        assert '"blazz-${local.provider}-${local.region}-${number}"' in main


@pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on this machine")
def test_terraform_files_are_in_its_own_format() -> None:
    told = subprocess.run(
        ["terraform", "fmt", "-check", "-recursive", TERRAFORM],
        env={"TF_CLI_CONFIG_FILE": "/dev/null", "PATH": "/usr/local/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr


def test_machines_begin_with_a_user_python_and_no_swap() -> None:
    template = (DEPLOY / "cloud-init/user-data.yaml").read_text()
    words = {"hostname": "blazz-vultr-sgp-1", "user": "deploy", "ssh_authorized_keys": '["a b"]'}
    assert set(re.findall(r"\$\{(\w+)\}", template)) == words.keys()
    # Terraform would take these for its own.
    assert "%{" not in template
    for provider in PROVIDERS:
        given = (TERRAFORM / "modules" / provider / "main.tf").read_text()
        for word in words:
            assert re.search(rf"^\s+{word}\s+= ", given, re.MULTILINE), provider
    for word, value in words.items():
        template = template.replace(f"${{{word}}}", value)
    assert template.startswith("#cloud-config\n")
    data = yaml.safe_load(template)
    assert data["users"][0]["ssh_authorized_keys"] == ["a b"]
    assert data["users"][0]["lock_passwd"] is True
    assert data["ssh_pwauth"] is False
    assert data["disable_root"] is True
    assert data["swap"] == {"size": 0}
    assert {"python3", "python3-venv", "unattended-upgrades"} <= set(data["packages"])


# deploy-node.sh --------------------------------------------------------------------------------


def deploy_node(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DEPLOY / "deploy-node.sh", *words, "--no-start", "--dry-run"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def of_debian() -> bool:
    release = Path("/etc/os-release")
    return release.is_file() and bool(
        re.search(r'^VERSION_ID="1[23]"$', release.read_text(), re.MULTILINE)
    )


def test_it_says_all_that_is_missing_and_touches_nothing() -> None:
    told = deploy_node("vultr", "sgp", "0")
    assert told.returncode == 2
    for lack in ("a number from 1", "--wheel", "--creds", "--bus", "nothing was touched"):
        assert lack in told.stderr
    assert deploy_node("vultr", "sgp").returncode == 2


@pytest.mark.skipif(not of_debian(), reason="not Debian 12 or 13")
def test_it_takes_a_credential_of_this_very_node_alone(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    authority.init("test", resolver_dir="/x", jetstream=JetStreamLimits())
    creds = authority.issue(Kind.NODE, "blazz-vultr-sgp-1", ttl_s=60, out=tmp_path / "node.creds")
    wheel = tmp_path / f"blazz-{VERSION}-py3-none-any.whl"
    wheel.write_bytes(b"")
    given = ("--wheel", wheel, "--creds", creds.path, "--bus", "tls://10.0.0.2:4222")
    told = deploy_node("vultr", "sgp", "1", *given)
    assert told.returncode == 0, told.stderr
    assert f"would install Blazz {VERSION}" in told.stderr
    assert "would write /etc/blazz/credentials/node.creds (root:root, 0600)" in told.stderr
    other = deploy_node("vultr", "sgp", "2", *given)
    assert other.returncode == 2
    assert "missing: credentials of blazz-vultr-sgp-2" in other.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck on this machine")
def test_shell_scripts_are_clean() -> None:
    scripts = sorted(DEPLOY.rglob("*.sh"))
    told = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout
