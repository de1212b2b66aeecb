"""Is the chart what it says? Rendered by Helm's own library, validated by the schemas of each Kubernetes, and every configuration
in it read by `mpc-auth-proxy check`.

    BLESS=1 …       writes deploy/kubernetes/ anew from the chart
"""

import base64
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import cloudcoil.models.prometheus_operator.v1 as operator
import helm_python as helm
import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/mpc-auth-proxy"
# Without links, of which Helm's library says each time that it follows them.
COPY = tempfile.TemporaryDirectory()
unittest.addModuleCleanup(COPY.cleanup)
LOADED = shutil.copytree(CHART, Path(COPY.name) / CHART.name)
PLAIN = ROOT / "deploy/kubernetes"
BINARY = os.environ["BINARY"]
# The manifests for those without Helm, and the values that they are made from.
EXAMPLES = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*-values.yaml"))}
OPERATOR = "monitoring.coreos.com/v1"


def values(name):
    return yaml.safe_load(EXAMPLES[name].read_text())


def render(given, name="mpc-auth-proxy"):
    """The manifests' text, without the notes."""
    with helm.Chart.load(LOADED) as chart:
        rendered = chart.render(given, name=name, namespace="media")
    texts = [text.strip() for path, text in sorted(rendered.items()) if path.endswith(".yaml")]
    return "\n---\n".join(text for text in texts if text) + "\n"


def manifests(given):
    return [manifest for manifest in yaml.safe_load_all(render(given)) if manifest]


def kinds(given):
    return {manifest["kind"]: manifest for manifest in manifests(given)}


def pod(given):
    found = kinds(given)
    return (found.get("Deployment") or found["Job"])["spec"]["template"]["spec"]


def proxy_of(spec):
    everybody = spec.get("initContainers", []) + spec["containers"]
    [proxy] = [container for container in everybody if container["name"] == "mpc-auth-proxy"]
    return proxy


def lay_out(folder, given):
    """What the proxy's container finds in its volumes. Returns the path of its configuration."""
    spec = pod(given)
    content = {"config": kinds(given)["ConfigMap"]["data"]}
    content["keys"] = {name: f"{name}-0123456789" for name in ("access-key", "secret-key", "security-token")}
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    for mounted in proxy_of(spec)["volumeMounts"]:
        directory = folder / mounted["mountPath"].lstrip("/")
        directory.mkdir(parents=True)
        if mounted["name"] == "tls":
            certificate(directory)
        for name, text in content.get(mounted["name"], {}).items():
            (directory / name).write_text(text)
            (directory / name).chmod(0o400 if "secret" in volumes[mounted["name"]] else 0o644)
    return folder / proxy_of(spec)["args"][2].lstrip("/")


def certificate(directory):
    """As a Secret of type kubernetes.io/tls has it."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "90",
         "-subj", "/CN=mpc-auth-proxy", "-addext", "subjectAltName=DNS:mpc-auth-proxy.media.svc",
         "-keyout", directory / "tls.key", "-out", directory / "tls.crt"],
        check=True, capture_output=True,
    )
    (directory / "tls.key").chmod(0o400)


def check(given):
    """`mpc-auth-proxy check` on what is rendered: its exit code, and what it complained about."""
    with tempfile.TemporaryDirectory() as folder:
        config = lay_out(Path(folder), given)
        text = config.read_text()
        for bound in re.findall(r"unix:(/\S+)/admin.sock", text):
            text = text.replace(bound, folder + bound)
        config.write_text(text)
        environment = {"HC_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.23.254/v1/credentials",
                       "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(Path(folder) / "token")}
        (Path(folder) / "token").write_text("token")
        (Path(folder) / "token").chmod(0o400)
        done = subprocess.run([BINARY, "check", "--config", config], env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


class Manifests(unittest.TestCase):
    def test_the_plain_manifests_are_what_the_chart_makes(self):
        for name, path in EXAMPLES.items():
            first, *_ = path.read_text().splitlines()
            written = (
                f"{first}\n# Made from deploy/helm/mpc-auth-proxy by `ci/{path.name}`; replace what stands in CAPITALS, and the\n"
                f"# project. For the namespace `media`.\n{render(values(name))}"
            )
            plain = PLAIN / f"{name}.yaml"
            if os.environ.get("BLESS"):
                plain.write_text(written)
            self.assertEqual(plain.read_text(), written, f"{plain}: BLESS=1 writes it anew")
        self.assertEqual(sorted(path.stem for path in PLAIN.glob("*.yaml")), sorted(EXAMPLES))

    def test_every_kubernetes_since_the_first_that_the_chart_is_for_takes_them(self):
        versions = kubernetes_validate.utils.all_versions()
        self.assertEqual(versions[0], "1.25.0")
        for name in EXAMPLES:
            for manifest in manifests(values(name)):
                if manifest["apiVersion"] == OPERATOR:
                    continue
                for version in versions:
                    # What an older one does not know it drops: see `native`.
                    strict = "initContainers" not in str(manifest) or tuple(map(int, version.split("."))) >= (1, 28)
                    kubernetes_validate.validate(manifest, version, strict=strict)

    def test_the_prometheus_operator_takes_them(self):
        found = [manifest for name in EXAMPLES for manifest in manifests(values(name)) if manifest["apiVersion"] == OPERATOR]
        self.assertTrue(found)
        for manifest in found:
            self.assertEqual(self.as_the_operator_reads_it(manifest), manifest)

    def as_the_operator_reads_it(self, manifest):
        """What it does not know is not there any more, and what has another type is an error."""
        read = getattr(operator, manifest["kind"]).model_validate(manifest)
        return json.loads(read.model_dump_json(by_alias=True, exclude_unset=True))

    def test_wrong_manifests_are_found(self):
        deployment = kinds(values("gateway"))["Deployment"]
        deployment["spec"]["template"]["spec"]["terminationGracePeriodSecond"] = 1
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(deployment, "1.31.0", strict=True)
        monitor = kinds(values("gateway"))["PodMonitor"]
        monitor["spec"]["podMetricsEndpoints"][0]["intervall"] = "30s"
        self.assertNotEqual(self.as_the_operator_reads_it(monitor), monitor)

    def test_helm_has_nothing_to_say(self):
        for name in [None, *EXAMPLES]:
            report = helm.lint(LOADED, values(name) if name else {}, strict=True)
            said = [message for message in report["messages"] if message["severity"] > 1]
            self.assertEqual((said, report["errors"]), ([], []), name)

    def test_every_configuration_is_valid(self):
        for name in EXAMPLES:
            self.assertEqual(check(values(name)), (0, ""), name)

    def test_the_defaults_are_a_gateway_that_lacks_only_the_keys_of_the_cluster(self):
        code, said = check({})
        self.assertEqual(code, 78)
        self.assertIn("jwks.json", said)
        self.assertRegex(said, r"\n1 error, 0 warnings")


class Values(unittest.TestCase):
    def refused(self, given, *words):
        with self.assertRaises(helm.HelmError) as raised:
            with helm.Chart.load(LOADED) as chart:
                chart.validate_schema(given)
                chart.render(given, name="mpc-auth-proxy", namespace="media")
        for word in words:
            self.assertIn(word, str(raised.exception))

    def test_what_is_not_a_value_is_refused(self):
        self.refused({"mode": "daemonset"}, "mode")
        self.refused({"image": {"tags": "x"}}, "tags")
        self.refused({"image": {"digest": "sha256:1"}}, "digest")
        self.refused({"gatway": {}}, "gatway")
        self.refused({"gateway": {"port": 0}}, "port")
        self.refused({"projects": []}, "projects")
        self.refused({"projects": [{"name": "p", "id": "i", "endpoint": "mpc.example"}]}, "endpoint")
        self.refused({"app": {"name": "Editor API"}}, "name")

    def test_there_is_one_source_of_the_key(self):
        self.refused({"credential": {"secret": ""}}, "exactly one of")
        self.refused({"credential": {"podIdentity": True}}, "exactly one of")
        source = {"oidc_sts": {"sts_endpoint": "https://sts.example", "provider_urn": "p", "agency_urn": "a", "id_token_file": "t"}}
        config = kinds({"credential": {"secret": "", "source": source}})["ConfigMap"]["data"]["proxy.yaml"]
        self.assertEqual(yaml.safe_load(config)["credentials"], {"prod": source})

    def test_the_keys_of_the_cluster_are_set_as_deploy_readme_says(self):
        [key] = re.findall(r"--set-file '(\S+)=jwks.json'", (ROOT / "deploy/README.md").read_text())
        self.assertEqual(helm.parse_set_string(f"{key}=x"), {"files": {"jwks.json": "x"}})

    def test_a_job_without_a_native_sidecar_says_what_it_runs(self):
        self.refused({"mode": "job", "sidecar": {"native": False}}, "app.command")

    def test_what_proxy_yaml_can_say_wins(self):
        given = {**values("sidecar"), "proxy": {"drain": {"timeout": "5s"}, "audit": {"write_ahead": True}}}
        config = yaml.safe_load(kinds(given)["ConfigMap"]["data"]["proxy.yaml"])
        self.assertEqual((config["drain"], config["audit"]), ({"timeout": "5s"}, {"write_ahead": True}))
        self.assertEqual(check(given), (0, ""))

    def test_each_value_has_its_place_in_the_schema(self):
        schema = json.loads((CHART / "values.schema.json").read_text())
        defaults = yaml.safe_load((CHART / "values.yaml").read_text())

        def compare(place, schema, given):
            if not schema.get("additionalProperties", True) and isinstance(given, dict) and given:
                self.assertEqual(set(given), set(schema["properties"]) - {"global", "claims", "minAvailable"}, place)
                for name in given:
                    compare(f"{place}.{name}", schema["properties"][name], given[name])

        compare("values", schema, defaults)


class Pods(unittest.TestCase):
    def test_only_the_proxys_container_has_the_keys(self):
        for name in EXAMPLES:
            spec = pod(values(name))
            secrets = {volume["name"] for volume in spec["volumes"] if "secret" in volume}
            for container in spec.get("initContainers", []) + spec["containers"]:
                mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
                if container["name"] != "mpc-auth-proxy":
                    self.assertEqual(mounted & secrets, set(), name)
                for variable in container.get("env", []):
                    self.assertNotIn("valueFrom", variable)
            self.assertFalse(spec["automountServiceAccountToken"])
            self.assertEqual([m["kind"] for m in manifests(values(name)) if m["kind"] == "Secret"], [])

    def test_it_has_no_more_than_it_needs(self):
        for name in EXAMPLES:
            proxy = proxy_of(pod(values(name)))
            context = proxy["securityContext"]
            self.assertEqual(
                (context["runAsUser"], context["runAsNonRoot"], context["readOnlyRootFilesystem"],
                 context["allowPrivilegeEscalation"], context["capabilities"]),
                (65532, True, True, False, {"drop": ["ALL"]}),
            )
            self.assertIn("memory", proxy["resources"]["limits"])
            self.assertNotIn("cpu", proxy["resources"]["limits"])
            self.assertNotIn("unsafe_listen", render(values(name)))

    def test_a_native_sidecar_stands_before_the_service_and_another_beside_it(self):
        for name, native in (("sidecar", True), ("job", True), ("job-before-1-29", False)):
            spec = pod(values(name))
            [app] = [container for container in spec["containers"] if container["name"] != "mpc-auth-proxy"]
            self.assertEqual([c["name"] for c in spec.get("initContainers", [])], ["mpc-auth-proxy"] if native else [])
            self.assertEqual(proxy_of(spec).get("restartPolicy"), "Always" if native else None)
            self.assertEqual("admin.sock" in str(app.get("command")), not native)

    def test_the_probes_ask_the_port_that_is_served(self):
        for name in EXAMPLES:
            proxy = proxy_of(pod(values(name)))
            ports = {port["name"]: port["containerPort"] for port in proxy["ports"]}
            config = yaml.safe_load(kinds(values(name))["ConfigMap"]["data"]["proxy.yaml"])
            self.assertEqual(config["ops"]["bind"], f"0.0.0.0:{ports['ops']}")
            for kind, path in (("startupProbe", "/startupz"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
                if kind in proxy:
                    self.assertEqual(proxy[kind]["httpGet"], {"path": path, "port": "ops"})

    def test_pod_identity_needs_no_secret(self):
        spec = pod(values("gateway-pod-identity"))
        self.assertEqual([volume["name"] for volume in spec["volumes"]], ["config", "tls"])

    def test_what_proxy_yaml_says_rolls_the_pods_and_a_policy_does_not(self):
        def annotation(given):
            return kinds(given)["Deployment"]["spec"]["template"]["metadata"]["annotations"]["checksum/proxy.yaml"]

        given = values("gateway")
        before = annotation(given)
        given["policy"]["rules"][0]["id"] = "another"
        self.assertEqual(annotation(given), before)
        given["proxy"] = {"drain": {"timeout": "10s"}}
        self.assertNotEqual(annotation(given), before)


class Gateway(unittest.TestCase):
    def setUp(self):
        self.found = kinds(values("gateway"))
        self.spec = self.found["Deployment"]["spec"]
        self.config = yaml.safe_load(self.found["ConfigMap"]["data"]["proxy.yaml"])

    def test_the_service_leads_to_the_listener(self):
        [port] = self.found["Service"]["spec"]["ports"]
        ports = {port["name"]: port["containerPort"] for port in proxy_of(self.spec["template"]["spec"])["ports"]}
        [listener] = self.config["listeners"]
        self.assertEqual(listener["bind"], f"0.0.0.0:{ports[port['targetPort']]}")
        self.assertIn("mpc-auth-proxy.media.svc", listener["hosts"])
        self.assertEqual((listener["bearer"], sorted(listener["tls"])), (True, ["certificate", "key"]))

    def test_everything_selects_its_pods(self):
        labels = self.spec["template"]["metadata"]["labels"]
        selectors = [
            self.spec["selector"]["matchLabels"],
            self.found["Service"]["spec"]["selector"],
            self.found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
            self.found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
            self.found["PodMonitor"]["spec"]["selector"]["matchLabels"],
            *(c["labelSelector"]["matchLabels"] for c in self.spec["template"]["spec"]["topologySpreadConstraints"]),
        ]
        for selector in selectors:
            self.assertTrue(selector and selector.items() <= labels.items(), selector)
        self.assertEqual(self.found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"],
                         self.found["Deployment"]["metadata"]["name"])
        # The autoscaler's number, and not the Deployment's.
        self.assertNotIn("replicas", self.spec)

    def test_the_network_policy_opens_what_is_served_and_no_more(self):
        policy = self.found["NetworkPolicy"]["spec"]
        ports = {port["name"] for port in proxy_of(self.spec["template"]["spec"])["ports"]}
        self.assertEqual({rule["ports"][0]["port"] for rule in policy["ingress"]}, ports)
        self.assertTrue(all(rule["from"] for rule in policy["ingress"]))
        self.assertEqual(policy["policyTypes"], ["Ingress", "Egress"])
        given = values("gateway")
        given["gateway"] = {"networkPolicy": {"from": [], "metricsFrom": []}}
        self.assertEqual(kinds(given)["NetworkPolicy"]["spec"]["ingress"], [])

    def test_it_may_stop_for_as_long_as_it_drains(self):
        seconds = sum(int(self.config["drain"][part].removesuffix("s")) for part in ("delay", "timeout"))
        self.assertGreater(self.spec["template"]["spec"]["terminationGracePeriodSeconds"], seconds)

    def test_the_alerts_are_those_of_deploy_monitoring(self):
        rules = yaml.safe_load((ROOT / "deploy/monitoring/rules.yaml").read_text())
        self.assertEqual(self.found["PrometheusRule"]["spec"], rules)
        self.assertTrue(rules["groups"])

    def test_what_scrapes_asks_the_port_of_metrics(self):
        [endpoint] = self.found["PodMonitor"]["spec"]["podMetricsEndpoints"]
        self.assertEqual((endpoint["port"], endpoint["path"]), ("ops", "/metrics"))


class RunningGateway(unittest.TestCase):
    """The gateway's container on this machine, with a cluster's key that is made for it."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def start(self, given, before=None):
        """Starts the container `before` which something is done in its process, and waits until it serves."""
        config = lay_out(self.folder, given)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        text = config.read_text().replace("0.0.0.0:8443", f"127.0.0.1:{self.port}").replace("127.0.0.1:8080", "127.0.0.1:0")
        config.write_text(text.replace("0.0.0.0:9090", "127.0.0.1:0").replace("delay: 5s", "delay: 0s"))
        arguments = [argument.replace("/etc", f"{self.folder}/etc") for argument in proxy_of(pod(given))["args"]]
        with open(self.folder / "records", "w") as records, open(self.folder / "log", "w") as log:
            proxy = subprocess.Popen([BINARY, *arguments], env={}, stdout=records, stderr=log, preexec_fn=before)
        self.addCleanup(proxy.wait)
        self.addCleanup(proxy.kill)
        end = time.monotonic() + 30
        while '"serving"' not in self.log():
            self.assertTrue(proxy.poll() is None and time.monotonic() < end, self.log())
            time.sleep(0.01)
        return proxy

    def log(self):
        return (self.folder / "log").read_text()

    def records(self):
        return [json.loads(line) for line in (self.folder / "records").read_text().splitlines()]

    def token(self, account):
        """As the API server signs it, by ES256."""
        def part(value):
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            return base64.urlsafe_b64encode(data).rstrip(b"=")

        claims = {
            "iss": "https://kubernetes.default.svc.cluster.local", "aud": ["mpc-auth-proxy"], "exp": int(time.time()) + 600,
            "kubernetes.io": {"namespace": "media", "serviceaccount": {"name": account, "uid": "u"}},
        }
        signed = part({"alg": "ES256", "kid": "k"}) + b"." + part(claims)
        made = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.folder / "cluster.key"], input=signed, check=True,
                              capture_output=True).stdout
        # DER has two integers, a JWS 32 bytes of each.
        first = made[4:4 + made[3]]
        second = made[6 + made[3]:]
        signature = b"".join(number[-32:].rjust(32, b"\0") for number in (first, second))
        return (signed + b"." + part(signature)).decode()

    def jwks(self):
        key = self.folder / "cluster.key"
        subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key], check=True)
        public = subprocess.run(["openssl", "ec", "-in", key, "-pubout", "-outform", "DER"], check=True, capture_output=True).stdout
        x, y = (base64.urlsafe_b64encode(half).rstrip(b"=").decode() for half in (public[-64:-32], public[-32:]))
        return json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "alg": "ES256", "use": "sig", "x": x, "y": y}]})

    def call(self, *headers):
        name = f"mpc-auth-proxy.media.svc:{self.port}"
        [authority] = self.folder.glob("etc/*/tls/tls.crt")
        done = subprocess.run(
            ["curl", "--silent", "--cacert", authority, "--resolve", f"{name}:127.0.0.1", "--write-out", "%{http_code}",
             "--output", "/dev/null", *headers, "-X", "DELETE", f"https://{name}/v2/elsewhere/editing/jobs/1"],
            capture_output=True, text=True, check=False, timeout=60)
        return done.stdout

    def test_callers_are_proved_by_their_service_accounts(self):
        proxy = self.start({**values("gateway"), "files": {"jwks.json": self.jwks()}})
        bearer = "Authorization: Bearer "
        self.assertEqual(self.call(), "401", self.log())
        self.assertEqual(self.call("-H", bearer + self.token("editor-api")), "403")
        self.assertEqual(self.call("-H", bearer + self.token("another")), "401")
        proxy.terminate()
        self.assertEqual(proxy.wait(timeout=30), 0)
        told = [(record["caller.id"], record["caller.identified_by"]) for record in self.records()]
        self.assertEqual(told, [(None, None), ("editor-api", "service_account"), (None, None)])

    def within(self, name):
        """What puts a process into a memory cgroup with the limit of the proxy's container, and that cgroup's file of a name."""
        limit = proxy_of(pod(values(name)))["resources"]["limits"]["memory"]
        for root, limited in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
            cgroup = Path(root) / f"mpc-auth-proxy-{os.getpid()}-{name}"
            try:
                cgroup.mkdir()
                (cgroup / limited).write_text(str(int(limit.removesuffix("Mi")) << 20))
            except OSError:
                continue
            self.addCleanup(cgroup.rmdir)
            return lambda: (cgroup / "cgroup.procs").write_text(str(os.getpid())), cgroup
        self.skipTest("no memory cgroup can be made here")

    def test_the_memory_of_a_gateway_is_enough_for_its_limits(self):
        before, cgroup = self.within("gateway")
        self.start({**values("gateway"), "files": {"jwks.json": self.jwks()}}, before)
        self.assertNotIn("too little memory", self.log())
        [authority] = self.folder.glob("etc/*/tls/tls.crt")
        context = ssl.create_default_context(cafile=authority)
        connections = []
        for _ in range(500):
            plain = socket.create_connection(("127.0.0.1", self.port))
            connection = context.wrap_socket(plain, server_hostname="mpc-auth-proxy.media.svc")
            self.addCleanup(connection.close)
            connection.sendall(b"DELETE /v2/media-prod/editing/jobs/1 HTTP/1.1\r\nHost: mpc-auth-proxy.media.svc\r\n\r\n")
            connections.append(connection)
        for connection in connections:
            self.assertTrue(connection.recv(4096).startswith(b"HTTP/1.1 401 "))
        peak = next(cgroup / name for name in ("memory.max_usage_in_bytes", "memory.peak") if (cgroup / name).exists())
        # A quarter of the limit, for an eighth of the connections.
        self.assertLess(int(peak.read_text()), 32 << 20)

    def test_the_memory_of_a_sidecar_is_enough_for_what_deploy_readme_says(self):
        before, _ = self.within("sidecar")
        self.start(values("sidecar"), before)
        [line] = [line for line in map(json.loads, self.log().splitlines()) if "too little memory" in line["message"]]
        self.assertEqual((line["connections"], line["in_flight"]), (1600, 640))


class EndingJob(unittest.TestCase):
    """A Job's containers on this machine, without a native sidecar: the proxy ends with the work."""

    def run_job(self, work):
        given = values("job-before-1-29")
        given["app"]["command"] = ["/bin/sh", "-c", work]
        spec = pod(given)
        [app] = [container for container in spec["containers"] if container["name"] != "mpc-auth-proxy"]
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            config = lay_out(folder, given)
            text = config.read_text()
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            for old, new in (("/run/mpc-auth-proxy", f"{folder}/run/mpc-auth-proxy"), ("127.0.0.1:8080", "127.0.0.1:0"),
                             ("0.0.0.0:9090", f"127.0.0.1:{port}")):
                self.assertIn(old, text)
                text = text.replace(old, new)
            config.write_text(text)
            command = [word.replace("/run/mpc-auth-proxy", f"{folder}/run/mpc-auth-proxy").replace(":9090", f":{port}")
                       for word in app["command"]]
            arguments = [argument.replace("/etc", f"{folder}/etc") for argument in proxy_of(spec)["args"]]
            with open(folder / "log", "w") as log:
                proxy = subprocess.Popen([BINARY, *arguments], env={}, stdout=log, stderr=log)
            try:
                code = subprocess.run(command, timeout=60, check=False, capture_output=True).returncode
                return code, proxy.wait(timeout=30), (folder / "log").read_text()
            finally:
                proxy.kill()
                proxy.wait()

    def test_the_proxy_ends_with_the_work_and_the_job_as_the_work_does(self):
        for work, expected in (("true", 0), ("exit 7", 7)):
            code, proxy, log = self.run_job(work)
            self.assertEqual((code, proxy), (expected, 0), log)


if __name__ == "__main__":
    unittest.main()
