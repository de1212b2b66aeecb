"""The proxy and the stand-in cloud as processes, started as a user starts them."""

import hashlib
import json
import os
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import yaml
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkmpc.v1 import DeleteEditingJobRequest, MpcClient

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ["BINARY"]
PROJECT = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
PROJECT_NAME = "media-prod"
TOKEN = "the-token-of-batch-cleaner"
# What an SDK is given where the real key is the proxy's. It must not reach the cloud.
DUMMY_AK, DUMMY_SK = "DUMMYACCESSKEY", "dummy-secret-key"
# A pair that was made up for the proxy: what an SDK signs with it proves a caller.
LOCAL_AK, LOCAL_SK = "TRANSCODER0001", "made-up-for-this-proxy"

PROXY = """
version: 1
policy: policy.yaml
listeners:
  - {{ name: app, bind: 127.0.0.1:0 }}
  - {{ name: team, bind: 127.0.0.1:0, bearer: true }}
projects:
  - {{ name: {name}, id: {project}, endpoint: "{endpoint}", credential: prod }}
credentials:
  prod: {{ environment: {{}} }}
audit: {{ sink: audit.log }}
log: {{ format: json }}
"""

POLICY = """
version: 1
callers:
  editor-api:
    identify: [ { listener: app } ]
  batch-cleaner:
    identify: [ { bearer: { sha256_file: batch-cleaner.sha256 } } ]
  transcoder:
    identify: [ { sdk_signature: { access_key: TRANSCODER0001, secret_key_file: transcoder.sk } } ]
rules:
  - { id: editor-cancels, effect: allow, callers: [editor-api],
      actions: [mpc:editingTask:delete], projects: [media-prod], jobs: ["*"] }
  - { id: nobody-cancels-releases, effect: deny, callers: [editor-api],
      actions: [mpc:editingTask:delete], projects: [media-prod], jobs: ["release-*"] }
  - { id: cleaner-cancels-temporary-jobs, effect: allow, callers: [batch-cleaner],
      actions: [mpc:editingTask:delete], projects: [media-prod], jobs: ["tmp-*"] }
  - { id: transcoder-cancels, effect: allow, callers: [transcoder],
      actions: [mpc:editingTask:delete], projects: [media-prod], jobs: ["*"] }
"""


class Process:
    """A child process in a folder of its own, which ends with the `with` block."""

    def __init__(self, arguments, environment=None):
        self._folder = tempfile.TemporaryDirectory(prefix="mpc-auth-proxy-interop-")
        self.folder = Path(self._folder.name)
        self._arguments, self._environment = arguments, environment or {}

    def __enter__(self):
        self.prepare()
        with open(self.folder / "stdout", "wb") as out, open(self.folder / "stderr", "wb") as err:
            self._child = subprocess.Popen(
                [BINARY, *self._arguments], cwd=self.folder, env=self._environment, stdout=out, stderr=err
            )
        try:
            self.wait_until_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_):
        code = self._end()
        if code != 0:
            raise AssertionError(f"it stopped with code {code}")

    def prepare(self):
        """Writes the files that it reads."""

    def wait_until_ready(self):
        """Returns once it serves; finds out where."""
        raise NotImplementedError

    def read(self, name):
        path = self.folder / name
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def eventually(self, what, holds):
        """Returns once it holds."""
        deadline = time.monotonic() + 30
        while not holds():
            if self._child.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"never: {what}\n{self.read('stdout')}{self.read('stderr')}")
            time.sleep(0.01)

    def _end(self):
        self._child.terminate()
        try:
            return self._child.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self._child.wait()
        finally:
            self._folder.cleanup()


class StandIn(Process):
    """`mpc-auth-proxy testserver`, and the control endpoint it documents."""

    def __init__(self):
        super().__init__(["testserver", "--bind", "127.0.0.1:0", "--project", PROJECT])

    def wait_until_ready(self):
        self.eventually("it said how to use it", lambda: "Faults," in self.read("stdout"))
        printed = self.read("stdout")
        self.url = re.search(r"http://127\.0\.0\.1:\d+", printed).group()
        self.keys = dict(re.findall(r"export (HUAWEICLOUD_SDK_\w+)=(\S+)", printed))
        self.access_key = self.keys["HUAWEICLOUD_SDK_AK"]
        self.secret_key = self.keys["HUAWEICLOUD_SDK_SK"]
        self.pod_uri = re.search(r"export HC_CONTAINER_CREDENTIALS_FULL_URI=(\S+)", printed)[1]
        # The secrets by the name of the file they go into, and each source of credentials: its line, its fields.
        self.secrets = {name: text for text, name in re.findall(r"printf %s (\S+) > (\S+)", printed)}
        self.lines, self.sources = {}, {}
        for line in re.findall(r"^    test: .*\n(?:    keys: .*\n)?", printed, re.MULTILINE):
            [(name, fields)] = yaml.safe_load(line)["test"].items()
            self.lines[name], self.sources[name] = line, fields

    def put_job(self, job, state="WAITING"):
        self._control("PUT", f"jobs/{PROJECT}/{job}", {"state": state})

    def has_job(self, job):
        try:
            self._control("GET", f"jobs/{PROJECT}/{job}")
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    return False
                raise
        return True

    def requests(self):
        return self._control("GET", "requests")

    def forget_requests(self):
        self._control("DELETE", "requests")

    def set_faults(self, *faults):
        self._control("PUT", "faults", faults)

    def set_clock(self, offset_s):
        self._control("PUT", "clock", {"offset_s": offset_s})

    def set_lifetimes(self, **seconds):
        """How long what each service hands out from now on is in force; those left out do as usual."""
        self._control("PUT", "lifetimes", seconds)

    def set_metadata_mode(self, mode):
        self._control("PUT", "metadata", {"mode": mode})

    def rotate_metadata_key(self):
        self._control("DELETE", "metadata/key")

    def _control(self, method, what, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_test/{what}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None


class Proxy(Process):
    """`mpc-auth-proxy run` in front of a stand-in, with the stand-in's access key or another of its credentials."""

    def __init__(self, stand_in, arguments=("run", "--config", "proxy.yaml"), source=None, policy=POLICY):
        super().__init__(arguments, stand_in.keys)
        self.stand_in, self.source, self.policy = stand_in, source, policy

    def prepare(self):
        written = PROXY.format(name=PROJECT_NAME, project=PROJECT, endpoint=self.stand_in.url)
        if self.source is not None:
            pasted = self.stand_in.lines[self.source]
            written = written.replace("  prod: { environment: {} }\n", pasted).replace("credential: prod", "credential: test")
            for name, text in self.stand_in.secrets.items():
                (self.folder / name).write_text(text)
            self._environment = dict(
                self.stand_in.keys, HC_CONTAINER_CREDENTIALS_FULL_URI=self.stand_in.pod_uri,
                HC_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(self.folder / "pod-token"),
            )
        (self.folder / "proxy.yaml").write_text(written)
        (self.folder / "policy.yaml").write_text(self.policy)
        digest = hashlib.sha256(TOKEN.encode()).hexdigest()
        (self.folder / "batch-cleaner.sha256").write_text(digest)
        (self.folder / "transcoder.sk").write_text(LOCAL_SK)

    def wait_until_ready(self):
        self.eventually("it served", lambda: re.search('"serving".*\n', self.read("stderr")))
        # Up to the last line end: the line after it may still be being written.
        whole, _, _ = self.read("stderr").rpartition("\n")
        said = [json.loads(line) for line in whole.splitlines()]
        listening = [fields for fields in said if fields["message"] == "listening"]
        self.urls = {fields["listener"]: f"http://{fields['address']}" for fields in listening}
        self.ops = [f"http://{fields['address']}" for fields in said if fields["message"] == "ops listening"]

    def audit(self, at_least=0):
        """The audit records, once there are so many. A record is written just after its answer."""
        self.eventually(f"{at_least} audit records", lambda: self._lines().count("\n") >= at_least)
        return [json.loads(line) for line in self._lines().splitlines()]

    def _lines(self):
        """The audit log up to its last line end: the line after it may still be being written."""
        lines, end, _ = self.read("audit.log").rpartition("\n")
        return lines + end


def sdk(endpoint, access_key=DUMMY_AK, secret_key=DUMMY_SK, project=PROJECT):
    """An SDK client as the README makes it. The project is explicit: without it the SDK would ask IAM."""
    credentials = BasicCredentials(access_key, secret_key, project)
    return MpcClient.new_builder().with_credentials(credentials).with_endpoint(endpoint).build()


def cancel(client, job, headers=()):
    """Cancels a job; headers go where SDK users can put them."""
    invoker = client.delete_editing_job_invoker(DeleteEditingJobRequest(job_id=job))
    for name, value in headers:
        invoker.add_header(name, value)
    return invoker.invoke()
