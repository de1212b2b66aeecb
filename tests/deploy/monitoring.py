"""Do the dashboard and the alerts find what they ask for? A Prometheus scrapes the program while it meets what hurts.

Every query of the dashboard has to give data, and has the labels that it and its legend name. Every expression of the alerts
has to be one that Prometheus takes, over series that are there; those whose trouble can be made here have to find it.
"""

import contextlib
import json
import os
import re
import socket
import subprocess
import tempfile
import time
import urllib.parse
from pathlib import Path

import common
from common import ask, fail

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "deploy/monitoring"
BINARY = os.environ["BINARY"]
JOB = "/v2/media-prod/editing/jobs/100211"
PATIENCE = 30

PROXY = """
version: 1
policy: policy.yaml
listeners:
  - {{ name: app, bind: 127.0.0.1:{app} }}
  - {{ name: mesh, bind: 127.0.0.1:0, hosts: any, tls: {{ certificate: tls.crt, key: tls.key, client_ca: tls.crt }} }}
ops: {{ bind: 127.0.0.1:{ops} }}
admin: {{ bind: unix:admin.sock }}
projects:
  - {{ name: media-prod, id: 0a1b2c3d4e5f60718293a4b5c6d7e8f9, endpoint: "{cloud}", credential: prod, rate_limit: 30/min }}
  - {{ name: media-none, id: 1a1b2c3d4e5f60718293a4b5c6d7e8f9, endpoint: "{cloud}", credential: none }}
  - {{ name: media-gone, id: 2a1b2c3d4e5f60718293a4b5c6d7e8f9, endpoint: "http://127.0.0.1:{closed}", credential: prod }}
credentials:
  prod: {{ environment: {{}} }}
  none: {{ files: {{ access_key: ./none, secret_key: ./none }} }}
upstream: {{ attempt_timeout: 500ms, retries: {{ attempts: 1 }} }}
log: {{ format: json }}
"""

POLICY = """
version: 1
callers: { editor-api: { identify: [ { listener: app } ] }, mesh: { identify: [ { dns: mesh } ] } }
rules:
  - { id: editor-cancels, effect: allow, callers: [editor-api], actions: ['*'], projects: ['*'], jobs: ['1*'] }
  - { id: own, effect: allow, callers: [editor-api], actions: ['*'], projects: ['*'], jobs: ['2*'],
      condition: { StringMatch: { mpc:UserData: ['${proxy:Caller}/*'] } } }
  - { id: tried, effect: deny, callers: [editor-api], actions: ['*'], projects: ['*'], jobs: ['9*'], mode: observe }
"""

# Whose trouble is made below. That of the others takes hours, a full disk, or a key's lock: promtool's tests have them.
TROUBLES = {
    "NotReady", "CredentialMissing", "SignaturesRefused", "CertificateExpiring", "ReloadRefused", "ReloadPending", "Frozen",
    "Observing", "CallsFail", "OutcomeUnknown", "UpstreamUnreachable", "CircuitOpen", "ProjectQuota", "CloudQuota",
    "LookupsFail",
}


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def eventually(what, holds):
    """Whoever does not answer yet may soon."""
    def answered():
        with contextlib.suppress(OSError):
            return holds()

    return common.eventually(what, answered, PATIENCE)


class Program:
    """A process in the folder, which ends with the `with` block."""

    def __init__(self, folder, name, words, environment=None):
        self._out = (folder / f"{name}.log").open("w+b")
        self.log = folder / f"{name}.log"
        self._child = subprocess.Popen(words, cwd=folder, env=environment, stdout=self._out, stderr=self._out)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self._child.terminate()
        self._child.wait(timeout=30)
        self._out.close()
        if kind is not None:
            print(self.log.read_text()[-1500:])


class Prometheus(Program):
    def __init__(self, folder, ops):
        self.url = f"http://127.0.0.1:{free_port()}"
        (folder / "prometheus.yml").write_text(json.dumps({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(MONITORING / "rules.yaml")],
            "scrape_configs": [{"job_name": "mpc-auth-proxy", "static_configs": [{"targets": [f"127.0.0.1:{ops}"]}]}],
        }))
        words = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb",
                 f"--web.listen-address={self.url.removeprefix('http://')}", "--log.level=warn"]
        super().__init__(folder, "prometheus", words, dict(os.environ))

    def api(self, path, **parameters):
        status, text = ask(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        answer = json.loads(text)
        if status != 200 or answer["status"] != "success":
            fail(f"{path} {parameters}: {answer.get('error', text)}")
        return answer["data"]

    def series(self, expression):
        """What it is now: the labels and the value of each series."""
        return [(one["metric"], float(one["value"][1])) for one in self.api("query", query=expression)["result"]]


def dashboard():
    """The title, query and legend of everything that is shown."""
    board = json.loads((MONITORING / "dashboard.json").read_text())
    for note in board["annotations"]["list"]:
        yield "annotation", note["expr"], ""
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"], target["legendFormat"]


def variables():
    for variable in json.loads((MONITORING / "dashboard.json").read_text())["templating"]["list"]:
        if variable["type"] == "query":
            yield re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()


def filled_in(query):
    return query.replace("$__rate_interval", "1m").replace("$__interval", "1m").replace("$job", ".*").replace("$instance", ".+")


def selectors(query):
    return re.findall(r"mpc_auth_proxy_\w+(?:\{[^}]*\})?", query)


def labels(query, legend):
    """The labels that a query groups by or that its legend shows."""
    grouped = re.findall(r"by \(([^)]*)\)", query)
    return {name.strip() for group in grouped for name in group.split(",")} - {"le"} | set(re.findall(r"\{\{(\w+)\}\}", legend))


def certificate(folder):
    # Two days: it ends soon.
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=mesh", "-addext", "subjectAltName=DNS:mesh", "-keyout", "tls.key", "-out", "tls.crt"]
    subprocess.run(made, cwd=folder, check=True, capture_output=True)
    (folder / "tls.key").chmod(0o600)


def cloud_of(folder):
    """The stand-in cloud, its address and the keys that it takes."""
    cloud = Program(folder, "cloud", [BINARY, "testserver", "--bind", "127.0.0.1:0"], {})
    said = eventually("the stand-in cloud", lambda: "Faults," in (text := cloud.log.read_text()) and text)
    url = re.search(r"http://127\.0\.0\.1:\d+", said).group()
    return cloud, url, dict(re.findall(r"export (HUAWEICLOUD_SDK_\w+)=(\S+)", said))


def queue(cloud):
    ask(f"{cloud}/_test/jobs/0a1b2c3d4e5f60718293a4b5c6d7e8f9/100211", "PUT", b'{"state":"WAITING"}')


def trouble(cloud, app):
    """Calls of each kind, and what goes wrong with them. Done once it returns; repeated, so that counts rise."""
    def strike(fault, path=JOB, times=1):
        body = json.dumps([{"fault": fault, "times": 5 * times}]).encode()
        ask(f"{cloud}/_test/faults", "PUT", body)
        answered = [ask(app + path, "DELETE")[0] for _ in range(times)]
        ask(f"{cloud}/_test/faults", "PUT", b"[]")
        return answered

    def expect(expected, answered):
        if set(answered) != {expected}:
            fail(f"{answered} in place of {expected}")

    expect(401, strike("unauthorized"))
    expect(429, strike({"throttled": {"retry_after_s": 60}}))
    expect(503, strike("garbage", "/v2/media-prod/editing/jobs/200211"))
    expect(504, strike("hang"))
    expect(502, [ask(app + JOB.replace("media-prod", "media-gone"), "DELETE")[0]])
    expect(503, [ask(app + JOB.replace("media-prod", "media-none"), "DELETE")[0]])
    expect(403, [ask(app + "/v2/media-prod/editing/jobs/800211", "DELETE")[0]])
    # The job is gone. The answer is believed, and so the key is trusted again.
    expect(403, [ask(app + JOB, "DELETE")[0]])


def run(folder):
    ports = {"app": free_port(), "ops": free_port(), "closed": free_port()}
    certificate(folder)
    (folder / "policy.yaml").write_text(POLICY)
    cloud, url, keys = cloud_of(folder)
    (folder / "proxy.yaml").write_text(PROXY.format(cloud=url, **ports))
    with cloud, Program(folder, "proxy", [BINARY, "run", "--config", "proxy.yaml"], keys) as proxy:
        ops, app = f"http://127.0.0.1:{ports['ops']}", f"http://127.0.0.1:{ports['app']}"
        eventually("the proxy", lambda: ask(f"{ops}/livez")[0] == 200)
        with Prometheus(folder, ports["ops"]) as prometheus:
            # Until its storage is open it has no answer for anybody.
            eventually("Prometheus", lambda: ask(f"{prometheus.url}/-/ready")[0] == 200)
            eventually("a scrape", lambda: prometheus.series("up == 1"))
            asked(folder, prometheus, ops, (url, app))


def asked(folder, prometheus, ops, places):
    cloud, app = places
    queue(cloud)
    status, _ = ask(app + JOB, "DELETE")
    if status != 204:
        fail(f"a cancel is answered {status}")
    trouble(cloud, app)
    # Counts are noticed where they rise between two scrapes.
    first = time.time()
    eventually("scrapes of the first calls", lambda: len(prometheus.api("query", query="up[1m]")["result"][0]["values"]) > 2
               and prometheus.series(f"timestamp(up) > {first}"))
    trouble(cloud, app)
    while ask(app + JOB.replace("media-prod", "media-gone"), "DELETE")[0] != 503:
        pass
    while ask(app + JOB, "DELETE")[0] != 429:
        pass
    subprocess.run([BINARY, "freeze", "--config", "proxy.yaml"], cwd=folder, env={}, check=True, capture_output=True)
    (folder / "policy.yaml").write_text("version: 1\nrules: nonsense\n")
    subprocess.run([BINARY, "reload", "--config", "proxy.yaml"], cwd=folder, env={}, check=False, capture_output=True)
    metrics = ask(f"{ops}/metrics")[1]
    said = subprocess.run(["promtool", "check", "metrics"], input=metrics, capture_output=True, text=True, check=False)
    if said.returncode or said.stdout or said.stderr:
        fail(f"promtool check metrics: {said.stdout}{said.stderr}")
    last = time.time()
    eventually("a scrape of all of it", lambda: prometheus.series(f"timestamp(up) > {last} + 1"))
    print(f"    metrics: {len(metrics.splitlines())} lines, which promtool has nothing against")
    shown(prometheus)
    alerted(prometheus)


def shown(prometheus):
    count = 0
    for title, query, legend in dashboard():
        query = filled_in(query)
        found = prometheus.series(query)
        if not found and title != "annotation":
            fail(f"the dashboard's `{title}` shows nothing: {query}")
        for series, _ in found:
            if missing := labels(query, legend) - series.keys():
                fail(f"the dashboard's `{title}` asks for {missing}, which {series} has not")
        count += 1
    moved = ["Requests by outcome", "Requests by caller", "Answers by status", "Refusals by reason", "Decisions by rule",
             "Over a limit", "Latency", "Failed attempts by kind", "Lookups by outcome"]
    for title, query, _ in dashboard():
        if title in moved and not any(value > 0 for _, value in prometheus.series(filled_in(query))):
            fail(f"the dashboard's `{title}` shows nothing of the calls that were made: {query}")
    for selector, label in variables():
        if not all(label in series for series, _ in prometheus.series(filled_in(selector))):
            fail(f"the dashboard's variable `{label}` finds nothing")
    print(f"    dashboard: {count} queries, each with data and with its labels")


def alerted(prometheus):
    alerts = [rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]]
    found = set()
    for alert in alerts:
        name, query = alert["name"].removeprefix("MpcAuthProxy"), alert["query"]
        if alert["health"] != "ok":
            fail(f"the alert {name} is {alert['health']}: {alert.get('lastError')}")
        for selector in selectors(query):
            if not prometheus.series(f"last_over_time({selector}[1m])"):
                fail(f"the alert {name} asks for {selector}, which is not there")
        if prometheus.series(query):
            found.add(name)
    if found != TROUBLES:
        fail(f"not found: {TROUBLES - found}; found besides: {found - TROUBLES}")
    print(f"    alerts: {len(alerts)}, over series that are there; {len(found)} find the trouble that was made")


with tempfile.TemporaryDirectory(prefix="mpc-auth-proxy-monitoring-") as home:
    run(Path(home))
