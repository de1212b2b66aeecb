#!/usr/bin/env python3
"""Counts the instructions of one operation each, with callgrind, and compares two commits.

  instructions.py                     the working tree
  instructions.py HEAD~3              the same, beside a commit, which is built from a worktree of its own
  instructions.py --only decide       some of them

`head` recognises a request's head, `sign` signs a call, `decide` asks the policy, `call` is a whole call: the release
binary from the head to the answer and the record, start and end apart; `refusal` is one that the policy denies. The machine and its load make no difference;
hash tables begin anew in each process, which moves the figures by a few instructions. `decide` is also compared with
itself: with 10,000 rules and 1,000 callers it may take a tenth more than with 10 rules, and it is an error where it
takes more; rules that only trying them one after the other can tell apart (one pattern with many conditions, patterns
of jobs without a text of their own) are excepted. valgrind has no SHA instructions, so `sign` and `call` count for more
than they are on a machine that does. Needs valgrind. Cargo's profile can be changed by its own variables, for both commits.
"""
import argparse, json, os, re, shutil, signal, socket, socketserver, subprocess, sys, tempfile, threading, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "target/instructions"
SHAPES = ["own", "lengths", "patterns", "crossing", "everybody"]
# Rules that can only be told apart by comparing one after the other.
ALIKE = ["conditions", "digits"]
SMALL, LARGE = ["10", "1"], ["10000", "1000"]
DECISIONS = [(f"decide, {shape}, {rules} rules", ["decide", shape, rules, callers]) for shape in SHAPES + ALIKE
             for rules, callers in (SMALL, LARGE)]
OPERATIONS = [("head", ["head"]), ("sign", ["sign"]), *DECISIONS]
KINDS = ["head", "sign", "decide", "call", "refusal"]
TIMES, CALLS = 200, 1000
MOST = 1.10
PROXY_YAML = """version: 1
policy: policy.yaml
listeners: [ { name: app, bind: 127.0.0.1:0 } ]
projects:
  - { name: media-prod, id: 0123456789abcdef0123456789abcdef, endpoint: "http://127.0.0.1:%d", credential: prod }
credentials: { prod: { environment: {} } }
audit: { sink: /dev/null }
"""
POLICY_YAML = """version: 1
callers: { editor-api: { identify: [ { listener: app } ] } }
rules:
  - { id: a, effect: allow, callers: [editor-api], actions: ["mpc:editingTask:delete"], projects: [media-prod], jobs: ["1*"] }
"""
KEYS = {"HUAWEICLOUD_SDK_AK": "AKEXAMPLE00000000001", "HUAWEICLOUD_SDK_SK": "SkExampleKeyForBenchmarksOnly00000000001"}
REQUEST = b"DELETE /v2/media-prod/editing/jobs/%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: editor-api/1.0\r\nAccept: */*\r\n\r\n"
ALLOWED, DENIED = (b"100211", b" 204 "), (b"denied", b" 403 ")
ANSWER = b"HTTP/1.1 204 No Content\r\nx-request-id: a8f0ebeaa3ae4ab7881f6875b390f3c9\r\n\r\n"


def build(tree, target):
    """The release binary and the operations of a source tree. The second is none where it does not build there."""
    environment = dict(os.environ, CARGO_TARGET_DIR=str(target))
    cargo = lambda *words, **more: subprocess.run(["cargo", *words], cwd=tree, env=environment, text=True, **more)
    cargo("build", "--release", "--locked", "--quiet", check=True)
    words = ["bench", "--bench", "instructions", "--no-run", "--message-format=json", "--locked", "--quiet"]
    built = cargo(*words, stdout=subprocess.PIPE)
    found = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
    operations = [m["executable"] for m in found if m.get("target", {}).get("name") == "instructions" and m.get("executable")]
    return target / "release/mpc-auth-proxy", operations[0] if operations and built.returncode == 0 else None


def base(commit):
    """A worktree of another commit, with the operations of this one."""
    tree = OUT / "base"
    subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, stderr=subprocess.DEVNULL)
    subprocess.run(["git", "worktree", "add", "--force", "--detach", "--quiet", tree, commit], cwd=ROOT, check=True)
    shutil.copy(ROOT / "benches/instructions.rs", tree / "benches/instructions.rs")
    manifest = tree / "Cargo.toml"
    if 'name = "instructions"' not in manifest.read_text():
        manifest.write_text(manifest.read_text() + '\n[[bench]]\nname = "instructions"\nharness = false\n')
    return tree


def callgrind(argv, folder, *options):
    return ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", *options, *map(str, argv)]


def collected(text):
    return int(re.findall(r"Collected : (\d+)", text)[-1])


def operation(binary, words, folder):
    argv = callgrind([binary, *words, TIMES], folder, "--toggle-collect=*measured*")
    ran = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if ran.returncode != 0:
        raise SystemExit(f"{words}: {ran.stderr[-2000:]}")
    return collected(ran.stderr) / TIMES


class Upstream(socketserver.StreamRequestHandler):
    """Answers every request without looking at it."""

    def handle(self):
        for line in self.rfile:
            if line == b"\r\n":
                self.wfile.write(ANSWER)


def whole(binary, folder, job):
    """Of one call: what twice as many calls take more."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Upstream)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (folder / "proxy.yaml").write_text(PROXY_YAML % server.server_address[1])
    (folder / "policy.yaml").write_text(POLICY_YAML)
    once, twice = (session(binary, folder, [ALLOWED] + calls * [job]) for calls in (CALLS, 2 * CALLS))
    server.shutdown()
    return (twice - once) / CALLS


def session(binary, folder, calls):
    log = folder / "log"
    words = [binary, "run", "--config", folder / "proxy.yaml", "--no-sandbox"]
    # On one core, where it has one worker.
    argv = ["taskset", "-c", str(min(os.sched_getaffinity(0))), *callgrind(words, folder)]
    with open(log, "w") as stderr, open(folder / "records", "w") as stdout:
        process = subprocess.Popen(argv, env=os.environ | KEYS, stdout=stdout, stderr=stderr)
    try:
        address = listening(process, log)
        with socket.create_connection(address) as connection:
            answers = connection.makefile("rb")
            for job, expected in calls:
                connection.sendall(REQUEST % (job, b"%s:%d" % (address[0].encode(), address[1])))
                status, size = answers.readline(), 0
                assert expected in status, status
                while (line := answers.readline()) not in (b"\r\n", b""):
                    if line.startswith(b"content-length: "):
                        size = int(line[16:])
                answers.read(size)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        if process.poll() is None:
            process.kill()
    return collected(log.read_text())


def listening(process, log):
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        text = log.read_text()
        found = re.search(r'"address":"([\d.]+):(\d+)"', text) or re.search(r"address=\"?([\d.]+):(\d+)", text)
        if found and "serving" in text:
            return found[1], int(found[2])
        time.sleep(0.05)
    raise SystemExit(f"the proxy does not serve: {log.read_text()[-2000:]}")


def measure(binaries, only):
    binary, operations = binaries
    counts = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for title, words in OPERATIONS:
            if words[0] in only and operations:
                counts[title] = operation(operations, words, folder)
        for title, job in ("call", ALLOWED), ("refusal", DENIED):
            if title in only:
                counts[title] = whole(binary, folder, job)
    return counts


def report(counts, before):
    print(f"\n{'instructions of':<32}{'before':>12}{'now':>12}{'ratio':>8}" if before else f"\n{'instructions of':<32}{'now':>12}")
    for title, count in counts.items():
        if before is None:
            print(f"{title:<32}{count:>12,.0f}")
        elif title in before:
            print(f"{title:<32}{before[title]:>12,.0f}{count:>12,.0f}{count / before[title]:>8.3f}")
        else:
            print(f"{title:<32}{'-':>12}{count:>12,.0f}")


def growth(counts):
    """How many times as much a decision takes among 10,000 rules. Whether all are within the promise."""
    kept = True
    for shape in SHAPES + ALIKE:
        small, large = (counts.get(f"decide, {shape}, {rules} rules") for rules, _ in (SMALL, LARGE))
        if small and large:
            ratio = large / small
            kept &= ratio <= MOST or shape in ALIKE
            print(f"decide, {shape}: 10,000 rules and 1,000 callers take {ratio:.3f} times as much as 10 rules")
    return kept


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", nargs="?", help="a commit to compare with")
    parser.add_argument("--only", action="append", choices=KINDS, help="may be repeated")
    options = parser.parse_args()
    only = options.only or KINDS
    OUT.mkdir(parents=True, exist_ok=True)
    # Both are built in one, which has the dependencies; this one last.
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
    before = None
    if options.base:
        tree = base(options.base)
        try:
            before = measure(build(tree, target), only)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT)
    counts = measure(build(ROOT, target), only)
    report(counts, before)
    if not growth(counts):
        raise SystemExit(f"a decision takes more than {MOST} times as much in a large policy")


if __name__ == "__main__":
    main()
