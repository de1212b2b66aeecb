#!/usr/bin/env python3
"""Measures mpc-auth-proxy beside nginx, nginx with Lua, HAProxy and a minimal hyper proxy, on one machine.

  compare.py                          the release binary and every peer that is installed: plaintext upstream
  compare.py --tls                    the same to a TLS upstream
  compare.py --peers nginx --rounds 9
  compare.py --workers 2              the product with two workers beside itself with one, load on the same two cores
  compare.py --report FILE... [--plot FILE.svg]    the table (and the plot) of saved results

Every proxy does the same work: it accepts `DELETE /v2/{project}/editing/jobs/{job}` over keep-alive, forwards it over
keep-alive, returns the 204 and logs one line of JSON to a file. Those that sign also look the caller up and compute
SDK-HMAC-SHA256. Rounds are interleaved (a b c a b c ...) and medians are printed, with ratios to nginx of the same run.
A run during which other processes used more than --quiet-pct of a core is repeated, at most five times. "A refusal" is one
that the policy denies, of the product, for connections that each made one good call.

Memory that the machine never used is dear on a virtual one: the first write to a page of it takes some 10 µs. Before it
begins, --warm-mib of the page cache are written once, and each log is removed when its round is over, so that no proxy pays
for another's pages.

Needs Linux and two cores. Debian: nginx libnginx-mod-http-lua haproxy openssl. Tools are built on the first run. All
traffic stays on loopback, every run is bounded in time, and only processes started here are ended.
"""
import argparse, json, os, shutil, signal, socket, statistics, string, subprocess, sys, time, tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PEERS, OUT = HERE / "peers", ROOT / "target/compare"
TOOLS = OUT / "tools/release"
BINARY = ROOT / "target/release/mpc-auth-proxy"
LISTEN, PLAIN, TLS = "127.0.0.1:19100", "127.0.0.1:19080", "127.0.0.1:19443"
PROJECT, TOKEN = "0123456789abcdef0123456789abcdef", "tok-svc-a-6f1d2c3b4a59"
PRODUCT = "mpc-auth-proxy"
TLS_TEXT = {
    "NGINX_TLS": "proxy_ssl_server_name on; proxy_ssl_name mpc.example.test; proxy_ssl_verify on; "
    "proxy_ssl_trusted_certificate $CA; proxy_ssl_session_reuse on; proxy_ssl_protocols TLSv1.3;",
    "HAPROXY_TLS": "ssl verify required ca-file $CA sni str(mpc.example.test)",
    "CA_ARGUMENTS": "--ca $CA",
    "CA_SETTING": "ca_file: $CA",
}
PROXY_YAML = """version: 1
policy: policy.yaml
listeners: [ { name: app, bind: $LISTEN, hosts: any } ]
ops: { bind: 127.0.0.1:0 }
projects: [ { name: media-prod, id: $PROJECT, endpoint: $SCHEME://$UPSTREAM, credential: prod } ]
credentials: { prod: { environment: {} } }
upstream: { attempt_timeout: 10s, $CA_SETTING }
audit: { sink: $LOG }
"""
POLICY_YAML = """version: 1
callers: { svc-a: { identify: [ { listener: app } ] } }
rules:
  - { id: a, effect: allow, callers: [svc-a], actions: ["mpc:editingTask:delete"], projects: [media-prod], jobs: ["*"] }
  - { id: b, effect: deny, callers: [svc-a], actions: ["mpc:editingTask:delete"], projects: [media-prod], jobs: ["x*"] }
"""
KEYS = {"HUAWEICLOUD_SDK_AK": "AKPERFTEST0000000001", "HUAWEICLOUD_SDK_SK": "skPerfTest00000000000000000000000000001A"}
COLUMNS = [("cpu_us", "CPU µs a call", 1), ("refusal_us", "CPU µs a refusal", 1), ("rps", "calls/s", 0), ("p50", "p50 µs", 0), ("p99", "p99 µs", 0), ("start_ms", "start ms", 0),
           ("start_cpu_ms", "start CPU ms", 1), ("idle", "idle MiB", 1), ("loaded", "loaded MiB", 1), ("thousand", "1,000 connections MiB", 1)]
STARTED = []


def start(argv, cores=None, **options):
    process = subprocess.Popen((["taskset", "-c", cores] if cores else []) + [str(a) for a in argv], start_new_session=True, **options)
    STARTED.append(process)
    return process


def stop(process):
    if process.poll() is None:
        pids = tree(process.pid)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
            process.wait(5)
    if process in STARTED:
        STARTED.remove(process)


def tree(pid):
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        try:
            for task in Path(f"/proc/{found[-1]}/task").iterdir():
                todo += map(int, (task / "children").read_text().split())
        except OSError:
            pass
    return found


def cpu_ns(process):
    total = 0
    for pid in tree(process.pid):
        try:
            total += sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())
        except OSError:
            pass
    return total


def mib(process):
    """Anonymous memory of a process and its children; what they share is counted once."""
    total = 0
    for pid in tree(process.pid):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:"))
        except OSError:
            pass
    return total / 1024


def busy_s():
    """Seconds that all cores have worked since boot, or were taken away."""
    fields = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:]))
    return (sum(fields[0:3]) + sum(fields[5:8])) / os.sysconf("SC_CLK_TCK")


def certificates():
    folder = OUT / "certificates"
    if not (folder / "cert.pem").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ext").write_text("subjectAltName=DNS:mpc.example.test,IP:127.0.0.1\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n")
        key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
        for command in [f"req -x509 {key} -days 365 -subj /CN=test-ca -keyout ca.key -out ca.pem -addext keyUsage=critical,keyCertSign",
                        f"req {key} -subj /CN=mpc.example.test -keyout key.pem -out req.pem",
                        "x509 -req -in req.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 365 -extfile ext -out cert.pem"]:
            subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder


class Comparison:
    def __init__(self, options):
        self.options = options
        self.upstream_address = TLS if options.tls else PLAIN
        self.proxy_core, self.load_core = "0", "1"

    def peers(self):
        known = tomllib.loads((PEERS / "peers.toml").read_text())
        wanted = self.options.peers.split(",") if self.options.peers else ([] if self.options.workers > 1 else list(known))
        for name in wanted:
            if name not in known:
                sys.exit(f"no such peer: {name}; there are {', '.join(known)}")
            binary = known[name]["cmd"][0].replace("$TOOLS", str(TOOLS))
            if shutil.which(binary):
                yield name, known[name]
            else:
                print(f"{name}: left out, {binary} is not installed", file=sys.stderr)
        product = {"cmd": [str(self.options.binary), "run", "--config", "$RUN/proxy.yaml"], "env": KEYS,
                   "text": {"proxy.yaml": PROXY_YAML, "policy.yaml": POLICY_YAML}}
        yield PRODUCT, product
        if (workers := self.options.workers) > 1:
            yield f"{PRODUCT}-{workers}", product | {"cores": ",".join(map(str, range(workers)))}

    def values(self, run):
        certs = certificates()
        values = {"LISTEN": LISTEN, "UPSTREAM": self.upstream_address, "SCHEME": "https" if self.options.tls else "http", "LOG": f"{run}/logs/access.log",
                  "RUN": str(run), "PEERS": str(PEERS), "TOOLS": str(TOOLS), "CA": str(certs / "ca.pem"), "PROJECT": PROJECT}
        tls = {name: string.Template(text).substitute(values) if self.options.tls else "" for name, text in TLS_TEXT.items()}
        return values | tls

    def launch(self, name, peer):
        run = OUT / "run" / name
        shutil.rmtree(run, ignore_errors=True)
        # Not in the configuration's folder, which the product watches.
        (run / "logs").mkdir(parents=True)
        values = self.values(run)
        texts = {to: (PEERS / source).read_text() for source, to in peer.get("template", {}).items()} | peer.get("text", {})
        for file, text in texts.items():
            (run / file).write_text(string.Template(text).safe_substitute(values))
            # As on a machine that starts: the product waits until recently written files are stable.
            os.utime(run / file, (time.time() - 60,) * 2)
        fill = lambda part: string.Template(part).substitute(values)
        argv = [word for part in peer["cmd"] for word in (fill(part).split() if part.startswith("$CA_") else [fill(part)])]
        out = open(values["LOG"] if peer.get("log_is_stdout") else run / "stdout", "ab")
        began = time.monotonic()
        process = start(argv, peer.get("cores", self.proxy_core), stdout=out, stderr=open(run / "stderr", "ab"), stdin=subprocess.DEVNULL, cwd=run, env=os.environ | peer.get("env", {}))
        if not first_answer(process, began):
            tail = (run / "stderr").read_text(errors="replace")[-800:]
            stop(process)
            raise RuntimeError(f"{name}: no 204 within 20 s: {tail}")
        return process, (time.monotonic() - began) * 1000, run

    def load(self, *arguments):
        process = start([TOOLS / "loadgen", "--connect", LISTEN, *arguments], self.load_core, stdout=subprocess.PIPE, text=True)
        return process

    def quiet_load(self, proxy, upstream, *arguments):
        """One run of load on a quiet machine: its figures, the proxy's CPU seconds and what others used, in % of a core."""
        best = None
        for _ in range(5):
            busy, proxy_cpu, upstream_cpu, own = busy_s(), cpu_ns(proxy), cpu_ns(upstream), time.process_time()
            result = finish(self.load(*arguments))
            used = (cpu_ns(proxy) - proxy_cpu) / 1e9
            foreign = busy_s() - busy - used - (cpu_ns(upstream) - upstream_cpu) / 1e9 - result["cpu_s"] - (time.process_time() - own)
            foreign *= 100 / result["wall_s"]
            if best is None or foreign < best[2]:
                best = (result, used, foreign)
            if foreign <= self.options.quiet_pct:
                break
            time.sleep(1)
        return best

    def measure(self, name, peer, upstream):
        o = self.options
        process, start_ms, run = self.launch(name, peer)
        try:
            time.sleep(0.3)
            row = {"peer": name, "tls": o.tls, "workers": o.workers, "start_ms": start_ms, "start_cpu_ms": cpu_ns(process) / 1e6, "idle": mib(process)}
            finish(self.load("--conns", o.conns, "--secs", 1))
            result, cpu, row["foreign"] = self.quiet_load(process, upstream, "--conns", o.conns, "--secs", o.secs)
            calls = max(1, result["requests"])
            row |= {"rps": result["rps"], "cpu_us": cpu * 1e6 / calls, "failed": result["bad"] + result["errors"], "loaded": mib(process)}
            result, _, foreign = self.quiet_load(process, upstream, "--conns", 32, "--secs", 2, "--rate", o.rate)
            row |= {"p50": result["p50_us"], "p99": result["p99_us"], "foreign": max(foreign, row["foreign"])}
            row["failed"] += result["bad"] + result["errors"]
            if name.startswith(PRODUCT):
                result, cpu, foreign = self.quiet_load(process, upstream, "--conns", o.conns, "--secs", 2, "--refused")
                row |= {"refusal_us": cpu * 1e6 / max(1, result["bad"]), "foreign": max(foreign, row["foreign"])}
        finally:
            stop(process)
        process, _, run = self.launch(name, peer)
        try:
            idle = self.load("--idle", 1000, "--secs", 2)
            time.sleep(1.7)
            row["thousand"] = mib(process)
            finish(idle)
        finally:
            stop(process)
            Path(self.values(run)["LOG"]).unlink(missing_ok=True)
        return row

    def run(self):
        rows, peers = [], list(self.peers())
        certs = certificates()
        tls = ["--cert", certs / "cert.pem", "--key", certs / "key.pem"] if self.options.tls else []
        upstream = start([TOOLS / "upstream", "--listen", self.upstream_address, *tls], self.load_core)
        with open(self.options.out, "a") as out:
            for number in range(self.options.rounds):
                for name, peer in peers:
                    try:
                        row = self.measure(name, peer, upstream)
                    except RuntimeError as error:
                        print(error, file=sys.stderr)
                        continue
                    rows.append(row)
                    out.write(json.dumps(row) + "\n")
                    out.flush()
                    print(f"[{number + 1}/{self.options.rounds}] {name:15} {row['cpu_us']:6.1f} µs {row['rps']:8.0f}/s foreign {row['foreign']:.1f} % failed {row['failed']}", file=sys.stderr)
        return rows


def first_answer(process, began):
    request = f"DELETE /v2/{PROJECT}/editing/jobs/first HTTP/1.1\r\nHost: sidecar.local\r\nX-Caller-Token: {TOKEN}\r\n\r\n".encode()
    host, port = LISTEN.split(":")
    while time.monotonic() - began < 20 and process.poll() is None:
        try:
            with socket.create_connection((host, int(port)), 1) as connection:
                connection.settimeout(1)
                connection.sendall(request)
                if connection.recv(4096)[9:12] == b"204":
                    return True
        except OSError:
            pass
        time.sleep(0.0005)
    return False


def warm(mib):
    """Has the page cache use as much memory once, and gives it back."""
    path = OUT / "warm"
    try:
        with open(path, "wb") as file:
            for _ in range(mib):
                file.write(bytes(1 << 20))
    finally:
        path.unlink(missing_ok=True)


def finish(process):
    out, _ = process.communicate(timeout=120)
    STARTED.remove(process)
    if process.returncode:
        raise RuntimeError("the load generator failed")
    return json.loads(out)


def medians(rows):
    by_peer = {}
    for row in rows:
        by_peer.setdefault(row["peer"], []).append(row)
    return {name: {key: statistics.median(row.get(key, 0) for row in of) for key, _, _ in COLUMNS} | {"runs": len(of), "failed": sum(row["failed"] for row in of),
            "spread": 100 * (max(r["cpu_us"] for r in of) - min(r["cpu_us"] for r in of)) / statistics.median(r["cpu_us"] for r in of)} for name, of in by_peer.items()}


def report(rows):
    figures = medians(rows)
    base = figures.get("nginx", figures.get(PRODUCT))
    print(f"| proxy | runs | × {'nginx' if 'nginx' in figures else PRODUCT} | " + " | ".join(title for _, title, _ in COLUMNS) + " | spread % | failed |")
    print("|---" * (len(COLUMNS) + 5) + "|")
    for name, row in sorted(figures.items(), key=lambda item: item[1]["cpu_us"]):
        ratio = f"{row['cpu_us'] / base['cpu_us']:.2f}" if base else "-"
        print(f"| {name} | {row['runs']} | {ratio} | " + " | ".join(f"{row[key]:,.{digits}f}" if row[key] else "" for key, _, digits in COLUMNS) + f" | {row['spread']:.0f} | {row['failed']} |")


def plot(rows, path):
    """A bar chart of CPU a call, as SVG."""
    bars = [(("TLS upstream, " if tls else "plaintext upstream, ") + name, figures["cpu_us"], name == PRODUCT)
            for tls in (False, True) for name, figures in sorted(medians([r for r in rows if r["tls"] is tls]).items(), key=lambda item: item[1]["cpu_us"])]
    most = max(value for _, value, _ in bars)
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{len(bars) * 26 + 40}" font-family="sans-serif" font-size="13">',
             '<rect width="100%" height="100%" fill="#fff"/><text x="10" y="20" font-weight="bold">CPU µs a call, less is better</text>']
    for index, (name, value, ours) in enumerate(bars):
        y, width = 36 + index * 26, 440 * value / most
        lines.append(f'<text x="240" y="{y + 13}" text-anchor="end">{name}</text><rect x="250" y="{y}" width="{width:.0f}" height="18" fill="{"#c7000b" if ours else "#8a94a6"}"/>'
                     f'<text x="{256 + width:.0f}" y="{y + 13}">{value:.1f}</text>')
    Path(path).write_text("\n".join(lines + ["</svg>", ""]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--peers", default="")
    parser.add_argument("--binary", type=Path, default=BINARY)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--conns", type=int, default=64)
    parser.add_argument("--secs", type=float, default=3)
    parser.add_argument("--rate", type=int, default=4000)
    parser.add_argument("--warm-mib", type=int, default=4096)
    parser.add_argument("--quiet-pct", type=float, default=4)
    parser.add_argument("--out", type=Path, default=OUT / "results.jsonl")
    parser.add_argument("--report", nargs="+", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    if options.report:
        rows = [json.loads(line) for file in options.report for line in file.read_text().splitlines()]
        for tls in (False, True):
            if some := [row for row in rows if row["tls"] is tls]:
                print(f"\n{'TLS' if tls else 'Plaintext'} upstream:\n")
                report(some)
        if options.plot:
            plot(rows, options.plot)
        return
    if not options.binary.exists():
        sys.exit(f"{options.binary} is missing: cargo build --release")
    OUT.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", HERE / "tools/Cargo.toml", "--target-dir", OUT / "tools"], check=True)
    warm(options.warm_mib)
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda *_: sys.exit(1))
    try:
        report(Comparison(options).run())
    finally:
        for process in list(STARTED):
            stop(process)


main()
