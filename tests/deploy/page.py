"""Is the status page whole in a browser, whatever texts of others are on it?

Chromium is driven over its pipe (`--remote-debugging-pipe`: JSON with a NUL after it), so that nothing listens. Nothing may be
logged, refused by the page's policy, thrown or opened; axe finds no fault, light or dark; without scripts all of it is there.
With PICTURE=docs/status-page.png it takes the picture of the documentation.
"""

import base64
import contextlib
import json
import os
import re
import select
import subprocess
import sys
import time
import urllib.parse
from importlib.resources import files
from pathlib import Path

import common
from common import ask, fail

BINARY = os.environ["BINARY"]
PICTURE = os.environ.get("PICTURE")
EVIL = "\"'></td><script>alert(1)</script><img src=x onerror=alert(1)>\u202e\u2066"
NAME = "<img src=x onerror=alert(1)><b>"
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text()
PATIENCE = 60

PROXY = """
version: 1
policy: '{policy}'
listeners: [ {{ name: app, bind: 127.0.0.1:0 }} ]
ops: {{ bind: 127.0.0.1:0 }}
admin: {{ bind: unix:admin.sock }}
projects:
  - {{ name: media-prod, id: 0a1b2c3d4e5f60718293a4b5c6d7e8f9, endpoint: "{cloud}", credential: prod }}
  - {{ name: media-test, id: 1a1b2c3d4e5f60718293a4b5c6d7e8f9, endpoint: "{cloud}", credential: test }}
credentials: {{ prod: {{ environment: {{}} }}, test: {credential} }}
audit: {{ sink: '{sink}' }}
log: {{ format: json }}
"""

POLICY = """
version: 1
callers: {{ editor-api: {{ identify: [ {{ listener: app }} ] }}, packager: {{ identify: [ {{ unix: {{ uid: 4242 }} }} ] }} }}
rules:
  - {{ id: own-jobs, effect: allow, callers: [editor-api], actions: ['mpc:editingTask:*'], projects: [media-prod], jobs: ['*'] }}
  - {{ id: no-releases, effect: deny, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['release-*'], reason: {reason} }}
  - {{ id: tried, effect: allow, callers: [packager], actions: ['mpc:editingTask:view'], projects: ['*'], jobs: ['*'], mode: observe }}
"""


def eventually(what, holds):
    return common.eventually(what, holds, PATIENCE)


@contextlib.contextmanager
def program(folder, name, arguments, environment):
    """A process in the folder, and the file of all that it prints."""
    log = folder / f"{name}.txt"
    with log.open("wb") as out:
        child = subprocess.Popen([BINARY, *arguments], cwd=folder, env=environment, stdout=out, stderr=out)
    try:
        yield log
    finally:
        child.terminate()
        child.wait(timeout=30)


class Browser:
    """One page of a Chromium, and what it complained about."""

    def __init__(self, folder):
        (to, self._to), (self._from, back) = os.pipe(), os.pipe()
        words = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server", "--no-first-run",
                 "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe",
                 f"--user-data-dir={folder}/chromium", "about:blank"]

        def place():
            # The browser reads from 3 and writes to 4.
            os.dup2(to, 103)
            os.dup2(back, 104)
            os.dup2(103, 3)
            os.dup2(104, 4)

        self._log = (folder / "chromium.txt").open("wb")
        self._child = subprocess.Popen(words, preexec_fn=place, close_fds=False, stdout=self._log, stderr=self._log)
        os.close(to)
        os.close(back)
        self._read, self._id, self._session, self._loaded = b"", 0, None, 0
        self.complaints, self.seen = [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(f"{domain}.enable")

    def close(self):
        self._child.terminate()
        self._child.wait(timeout=30)
        self._log.close()

    def call(self, method, **parameters):
        self._id += 1
        message = {"id": self._id, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        answer = self.until(lambda message: message.get("id") == self._id)
        if "error" in answer:
            fail(f"{method}: {answer['error']}")
        return answer["result"]

    def until(self, wanted):
        end = time.monotonic() + PATIENCE
        while True:
            message = self._next(end)
            self._note(message)
            if wanted(message):
                return message

    def _next(self, end):
        while b"\0" not in self._read:
            if not select.select([self._from], [], [], max(0.0, end - time.monotonic()))[0]:
                fail("the browser says nothing")
            if not (more := os.read(self._from, 1 << 20)):
                fail("the browser has ended")
            self._read += more
        line, _, self._read = self._read.partition(b"\0")
        return json.loads(line)

    def _note(self, message):
        method, said = message.get("method"), message.get("params", {})
        if method == "Log.entryAdded":
            self.complaints.append(f"log: {said['entry']['text']}")
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(f"console: {said['args']}")
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(f"exception: {said['exceptionDetails']}")
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append(f"a script of others ran: {said['message']}")
        elif method == "Page.loadEventFired":
            self._loaded += 1
        elif method == "Network.requestWillBeSent":
            self.seen.append(said["request"]["url"])

    def open(self, url):
        # Else a URL that differs in its fragment alone would load nothing.
        for place in ("about:blank", url):
            before = self._loaded
            self.call("Page.navigate", url=place)
            # It may have come before the answer.
            if self._loaded == before:
                self.until(lambda _: self._loaded > before)

    def value(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            fail(f"{expression[:80]}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def media(self, scheme):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def key(self, key, code, text=""):
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def picture(self, path):
        for height in (800, self.value("document.documentElement.scrollHeight")):
            self.call("Emulation.setDeviceMetricsOverride", width=1250, height=height, deviceScaleFactor=1, mobile=False)
        taken = self.call("Page.captureScreenshot", format="png")
        Path(path).write_bytes(base64.b64decode(taken["data"]))


@contextlib.contextmanager
def proxy(folder, hostile):
    """The address of a proxy's page and of its listener, after a few calls."""
    folder.mkdir()
    policy = f"{NAME}.yaml" if hostile else "policy.yaml"
    reason = json.dumps(EVIL if hostile else "releases stay, ticket MEDIA-1411")
    (folder / policy).write_text(POLICY.format(reason=reason))
    source = f"{{ files: {{ access_key: './{NAME}', secret_key: ./sk }} }}" if hostile else "{ environment: {} }"
    with program(folder, "cloud", ["testserver", "--bind", "127.0.0.1:0"], {}) as cloud:
        said = eventually("the stand-in cloud", lambda: "Faults," in (text := cloud.read_text()) and text)
        keys = dict(re.findall(r"export (HUAWEICLOUD_SDK_\w+)=(\S+)", said))
        url = re.search(r"http://127\.0\.0\.1:\d+", said).group()
        sink = f"{NAME}.log" if hostile else "audit.log"
        (folder / "proxy.yaml").write_text(PROXY.format(policy=policy, cloud=url, credential=source, sink=sink))
        with program(folder, "proxy", ["run", "--config", "proxy.yaml"], keys) as log:
            eventually("the proxy", lambda: '"serving"' in log.read_text())
            lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
            at = {line.get("listener", "ops"): f"http://{line['address']}" for line in lines
                  if line["message"] in ("listening", "ops listening")}
            for job in ("waiting-1", "waiting-2", "release-1"):
                ask(f"{at['app']}/v2/media-prod/editing/jobs/{job}", "DELETE")
            if hostile:
                ask(f"{at['app']}/'onmouseover='alert(1)")
                ask(f"{at['app']}/v2/media-prod/editing/jobs/1", "DELETE", headers={"Host": "'onmouseover='alert(1)"})
                words = [BINARY, "freeze", "--config", "proxy.yaml", "--reason", EVIL[:100]]
                subprocess.run(words, cwd=folder, env={}, check=True, capture_output=True)
                (folder / policy).write_text(f'version: 1\nrules: [ {{ "{NAME}": 1 }} ]\n')
                words = [BINARY, "reload", "--config", "proxy.yaml"]
                subprocess.run(words, cwd=folder, env={}, check=False, capture_output=True)
            yield at


def question(caller, job, facts=""):
    return "/?" + urllib.parse.urlencode({"caller": caller, "action": "mpc:editingTask:delete", "project": "media-prod",
                                          "job": job, "facts": facts}) + "#answer"


def accessible(browser, what, origin):
    quiet(browser, what, origin)
    browser.call("Runtime.evaluate", expression=AXE)
    found = browser.value("axe.run().then(r => [r.passes.length, ...r.violations.map(v => v.id + ': ' + v.nodes.map(n => n.html).join(' '))])")
    if found[0] < 20 or found[1:]:
        fail(f"axe finds on the page, {what}: {found}")
    # It tries styles of its own on the page, which the page's policy refuses.
    browser.complaints.clear()


def quiet(browser, what, origin):
    """The page did nothing that it should not have, so far."""
    if browser.complaints:
        fail(f"{what}: {browser.complaints}")
    outside = [url for url in browser.seen if not url.startswith((origin, "about:", "data:"))]
    if outside:
        fail(f"{what}: it fetched {outside}")


def hostile(browser, at):
    asked = question(EVIL, EVIL, EVIL)
    browser.open(at["ops"] + asked)
    accessible(browser, "with hostile texts", at["ops"])
    marked = browser.value("document.querySelectorAll('img, b, main script, [onerror], [onmouseover]').length")
    if marked:
        fail(f"{marked} elements of others' making are on the page")
    text = browser.value("document.body.innerText")
    for shown in ("<script>alert(1)</script>", NAME, "\\u{202e}", "frozen", "refused"):
        if shown not in text:
            fail(f"the page does not show {shown}: {text}")
    # And once more as the script brings it.
    updated(browser)
    if browser.value("document.querySelectorAll('img, b, main script, [onerror], [onmouseover]').length"):
        fail("an update makes texts of others markup")
    quiet(browser, "with hostile texts", at["ops"])


def updated(browser):
    before = browser.value("document.getElementById('since').textContent")
    eventually("an update", lambda: browser.value("document.getElementById('since').textContent") != before)


def live(browser, at):
    for scheme in ("dark", "light"):
        browser.media(scheme)
        browser.open(at["ops"] + "/")
        accessible(browser, scheme, at["ops"])
        back = browser.value("getComputedStyle(document.body).backgroundColor")
        if (sum(map(int, re.findall(r"\d+", back)[:3])) < 200) != (scheme == "dark"):
            fail(f"its background is {back} where people want it {scheme}")
    ask(f"{at['app']}/v2/media-prod/editing/jobs/release-77", "DELETE")
    eventually("the new decision", lambda: "release-77" in browser.value("document.getElementById('decisions').innerText"))
    # The keyboard alone: the first stop leads to the content, the second is the button, and what has the focus shows it.
    browser.open(at["ops"] + "/")
    stops = []
    for _ in range(12):
        browser.key("Tab", 9)
        stops.append(browser.value("document.activeElement.className + document.activeElement.id"))
        if browser.value("getComputedStyle(document.activeElement).outlineStyle") == "none":
            fail(f"nothing shows that {stops[-1]} has the focus")
        if stops[-1] == "pause":
            browser.key("Enter", 13, "\r")
            if browser.value("document.getElementById('pause').getAttribute('aria-pressed')") != "true":
                fail("the keyboard does not pause it")
    if stops[:2] != ["skip", "pause"] or "caller" not in stops:
        fail(f"the keyboard goes to {stops}")
    quiet(browser, "as it is", at["ops"])


def pictured(browser, at, path):
    browser.media("light")
    browser.open(at["ops"] + question("editor-api", "release-7"))
    browser.picture(path)


def without_scripts(browser, at):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(at["ops"] + question("editor-api", "release-7"))
    document = browser.call("DOM.getDocument")["root"]["nodeId"]
    body = browser.call("DOM.querySelector", nodeId=document, selector="body")["nodeId"]
    html = browser.call("DOM.getOuterHTML", nodeId=body)["outerHTML"]
    for shown in ("deny: rule `no-releases`", "release-1", "own-jobs", "in force", "Would this be allowed?"):
        if shown not in html:
            fail(f"without scripts it does not show {shown}")
    if not re.search(r'<button id="pause"[^>]* hidden', html):
        fail("without scripts it offers what only they can do")
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    quiet(browser, "without scripts", at["ops"])


def main(work):
    for name in (name for name in os.environ if name.lower().endswith("_proxy") and name.lower() != "no_proxy"):
        del os.environ[name]
    browser = Browser(work)
    try:
        with proxy(work / "plain", False) as at:
            live(browser, at)
            without_scripts(browser, at)
            if PICTURE:
                pictured(browser, at, PICTURE)
        with proxy(work / "hostile", True) as at:
            browser.seen.clear()
            hostile(browser, at)
    finally:
        browser.close()
    print("    the status page: live, dark and light, by keyboard, without scripts, and with hostile texts: nothing to complain about")


main(Path(sys.argv[1]))
