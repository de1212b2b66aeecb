"""Does what `deploy/` offers work as it stands? Each configuration in it is checked, the sidecar's is run."""

import json
import os
import shlex
import subprocess
import tempfile
import unittest
import urllib.request
from pathlib import Path
from unittest import mock

import yaml
from huaweicloudsdkmpc.v1 import DeleteEditingJobRequest, MpcClient
from huaweicloudsdkmpc.v1.region.mpc_region import MpcRegion

from harness import BINARY, ROOT, Proxy, StandIn

DEPLOY = ROOT / "deploy"
MANIFESTS = {m["kind"]: m for m in yaml.safe_load_all((DEPLOY / "kubernetes/sidecar.yaml").read_text())}
POD = MANIFESTS["Deployment"]["spec"]["template"]["spec"]
[SIDECAR] = POD["initContainers"]
[APP] = POD["containers"]


class Sidecar(Proxy):
    """The proxy's container: its arguments, and its volumes as Kubernetes mounts them, under a folder."""

    def __init__(self, stand_in):
        super().__init__(stand_in, [argument.lstrip("/") for argument in SIDECAR["args"]])

    def prepare(self):
        # A test has neither the ports nor the cloud to itself.
        here = {
            "127.0.0.1:8080": "127.0.0.1:0",
            "0.0.0.0:9090": "127.0.0.1:0",
            "https://mpc.cn-north-4.myhuaweicloud.com": self.stand_in.url,
        }
        keys = {"access-key": self.stand_in.access_key, "secret-key": self.stand_in.secret_key}
        mount(self.folder, keys, here)


def mount(folder, keys, replaced=None):
    """Lays out what the proxy's container finds in its volumes."""
    content = {"config": MANIFESTS["ConfigMap"]["data"], "keys": keys}
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    for place in SIDECAR["volumeMounts"]:
        directory = folder / place["mountPath"].lstrip("/")
        directory.mkdir(parents=True)
        for name, text in content[place["name"]].items():
            for old, new in (replaced or {}).items():
                text = text.replace(old, new)
            (directory / name).write_text(text)
            mode = volumes[place["name"]].get("secret", {}).get("defaultMode", 0o644)
            (directory / name).chmod(mode)


def check(config):
    """`mpc-auth-proxy check`: its exit code, and what it complained about."""
    done = subprocess.run(
        [BINARY, "check", "--config", config], env={}, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


class Kubernetes(unittest.TestCase):
    def test_the_configuration_is_valid(self):
        with tempfile.TemporaryDirectory() as folder:
            mount(Path(folder), {"access-key": "AK", "secret-key": "SK"})
            self.assertEqual(check(Path(folder) / SIDECAR["args"][2].lstrip("/")), (0, ""))

    def test_only_the_proxy_has_the_keys(self):
        [keys] = [volume for volume in POD["volumes"] if "secret" in volume]
        self.assertEqual(keys["secret"]["defaultMode"], 0o400)
        self.assertIn(keys["name"], [mounted["name"] for mounted in SIDECAR["volumeMounts"]])
        self.assertEqual(APP.get("volumeMounts", []), [])
        self.assertNotIn("Secret", MANIFESTS)

    def test_the_sidecar_runs_answers_its_probes_and_serves_the_apps_sdk(self):
        with StandIn() as cloud, Sidecar(cloud) as proxy:
            [ops] = proxy.ops
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                get = SIDECAR[probe]["httpGet"]
                self.assertEqual(get["port"], "ops")
                with urllib.request.urlopen(ops + get["path"], timeout=10) as answer:
                    self.assertEqual(answer.status, 200)

            environment = {variable["name"]: variable["value"] for variable in APP["env"]}
            route = "HUAWEICLOUD_SDK_REGION_MPC_CN_NORTH_4"
            self.assertEqual(environment[route], "http://127.0.0.1:8080")
            environment[route] = proxy.urls["app"]
            cloud.put_job("100211")
            with mock.patch.dict(os.environ, environment):
                client = MpcClient.new_builder().with_region(MpcRegion.value_of("cn-north-4")).build()
            client.delete_editing_job(DeleteEditingJobRequest(job_id="100211"))
            self.assertFalse(cloud.has_job("100211"))
            [seen] = cloud.requests()
            self.assertIn(f"Access={cloud.access_key},", dict(seen["headers"])["authorization"])
            proxy.eventually("a record on standard output", lambda: proxy.read("stdout").endswith("\n"))
            self.assertEqual(json.loads(proxy.read("stdout"))["caller.id"], "editor-api")

    def test_the_port_of_the_probes_is_the_one_that_is_served(self):
        [port] = SIDECAR["ports"]
        ops = yaml.safe_load(MANIFESTS["ConfigMap"]["data"]["proxy.yaml"])["ops"]["bind"]
        self.assertEqual((port["name"], ops), ("ops", f"0.0.0.0:{port['containerPort']}"))

    def test_the_image_starts_what_the_sidecar_starts(self):
        lines = (DEPLOY / "docker/Dockerfile").read_text().splitlines()
        [command] = [json.loads(line.removeprefix("CMD ")) for line in lines if line.startswith("CMD ")]
        self.assertEqual(command, SIDECAR["args"][:3])
        user = SIDECAR["securityContext"]
        self.assertIn(f"USER {user['runAsUser']}:{user['runAsGroup']}", lines)


class Systemd(unittest.TestCase):
    def setUp(self):
        self.unit = (DEPLOY / "systemd/mpc-auth-proxy.service").read_text()
        self.socket = (DEPLOY / "systemd/mpc-auth-proxy.socket").read_text()
        self.proxy = (DEPLOY / "systemd/proxy.yaml").read_text()
        self.settings = yaml.safe_load(self.proxy)

    def value(self, key, unit=None):
        [line] = [line for line in (unit or self.unit).splitlines() if line.startswith(f"{key}=")]
        return line.removeprefix(f"{key}=")

    def test_the_configuration_is_valid(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            text = self.proxy
            # What systemd makes, below a folder of ours.
            for made in ("/run/credentials/mpc-auth-proxy.service", "/run/mpc-auth-proxy", "/var/lib/mpc-auth-proxy",
                         "/var/log/mpc-auth-proxy"):
                (folder / made.lstrip("/")).mkdir(parents=True)
                self.assertIn(f"{made}/", text)
                text = text.replace(f"{made}/", f"{folder}{made}/")
            for file in self.settings["credentials"]["prod"]["files"].values():
                (folder / file.lstrip("/")).write_text("value")
                (folder / file.lstrip("/")).chmod(0o400)
            (folder / "proxy.yaml").write_text(text)
            (folder / "policy.yaml").write_text((DEPLOY / "systemd/policy.yaml").read_text())
            self.assertEqual(check(folder / "proxy.yaml"), (0, ""))

    def test_the_unit_starts_and_reloads_the_proxy_on_it(self):
        config = ["--config", "/etc/mpc-auth-proxy/proxy.yaml"]
        self.assertEqual(shlex.split(self.value("ExecStart")), ["mpc-auth-proxy", "run", *config])
        self.assertEqual(shlex.split(self.value("ExecReload")), ["mpc-auth-proxy", "reload", *config])

    def test_what_the_configuration_names_is_what_the_units_make(self):
        [listener] = self.settings["listeners"]
        self.assertEqual(listener["bind"], f"systemd:{self.value('FileDescriptorName', self.socket)}")
        made = {"RuntimeDirectory": "/run", "StateDirectory": "/var/lib", "LogsDirectory": "/var/log"}
        folders = {key: f"{place}/{self.value(key)}" for key, place in made.items()}
        self.assertEqual(os.path.dirname(self.settings["admin"]["bind"]), f"unix:{folders['RuntimeDirectory']}")
        self.assertEqual(os.path.dirname(self.settings["freeze_file"]), folders["StateDirectory"])
        self.assertEqual(os.path.dirname(self.settings["audit"]["sink"]), folders["LogsDirectory"])
        loaded = [line.split("=")[1].split(":")[0] for line in self.unit.splitlines() if line.startswith("LoadCredential=")]
        files = self.settings["credentials"]["prod"]["files"]
        self.assertEqual(
            sorted(files.values()), [f"/run/credentials/mpc-auth-proxy.service/{name}" for name in sorted(loaded)]
        )


class Documents(unittest.TestCase):
    """Each block of commands is followed by a test, or needs what no test has."""

    FOLLOWERS = ("trials/booted.sh", "parts/monitoring.sh", "parts/release.sh")
    FOLLOWED = "".join((ROOT / "tests/deploy" / name).read_text() for name in FOLLOWERS)
    # Nobody has a cluster or a registry here: the chart's test and the image's carry out what they do.
    OTHERS = ("docker ", "helm ", "kubectl ")
    ELSEWHERE = {
        ("README.md", "Deploying", 1),  # `check` and `doctor`, on whatever there is
        ("README.md", "Kubernetes", 1),  # copies an example that the chart's test renders; the rest needs a cluster
    }

    def test_each_block_is_followed(self):
        for document in (DEPLOY / "README.md", ROOT / "docs/OPERATING.md"):
            section, count, block = None, 0, None
            for line in document.read_text().splitlines():
                if block is None and line.startswith("#"):
                    section, count = line.lstrip("# "), 0
                elif line == "```sh":
                    block, count = [], count + 1
                elif line == "```" and block is not None:
                    self.followed(document.name, section, count, block)
                    block = None
                elif block is not None:
                    block.append(line)

    def followed(self, document, section, number, block):
        if all(line.startswith((*self.OTHERS, " ")) for line in block):
            return
        if (document, section, number) not in self.ELSEWHERE:
            followed = f"follow {document} {shlex.quote(section)} {number}\n"
            self.assertIn(followed, self.FOLLOWED, f"nobody follows block {number} of {section} in {document}")


if __name__ == "__main__":
    unittest.main()
