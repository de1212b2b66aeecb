//! loadgen: one-thread epoll load generator; loopback TCP or Unix socket only.
//!   loadgen --connect 127.0.0.1:19100|unix:/path [--conns 64] [--secs 4] [--rate R]
//!           [--project P] [--token T]  prints one JSON line
//!   loadgen ... --idle N --secs 2      opens N connections, one request each, then holds them
//!   loadgen ... --refused              each connection's requests but its first are for jobs `x...`, which the policy denies
//! --rate 0 (default): closed loop, one request in flight a connection.
//! --rate R: open loop at R requests/s; latency counts from the moment a request was due, so a
//! stalled proxy is charged for the requests it delayed (no coordinated omission).
use compare_tools::*;
use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::time::Instant;

struct Conn {
    fd: RawFd,
    len: usize,
    busy: bool,
    begun: bool,
    due: u64,
    buf: Box<[u8; 4096]>,
}

struct Gen {
    req: Vec<u8>,
    at: usize,
    x: u64,
}
impl Gen {
    fn new(a: &Args) -> Self {
        let p = a.get("--project").unwrap_or("0123456789abcdef0123456789abcdef");
        let t = a.get("--token").unwrap_or("tok-svc-a-6f1d2c3b4a59");
        let mut req = format!("DELETE /v2/{p}/editing/jobs/").into_bytes();
        let at = req.len();
        req.extend_from_slice(format!("00000000000000000000000000000000 HTTP/1.1\r\nHost: sidecar.local\r\nUser-Agent: loadgen/1\r\nAccept: */*\r\nContent-Type: application/json\r\nX-Caller-Token: {t}\r\n\r\n").as_bytes());
        Self { req, at, x: 0x1234_5678_9abc_def1 ^ std::process::id() as u64 }
    }
    /// The next request. The job of one to be refused begins with `x`.
    fn next(&mut self, refused: bool) -> &[u8] {
        for half in 0..2 {
            self.x ^= self.x << 13;
            self.x ^= self.x >> 7;
            self.x ^= self.x << 17;
            let mut v = self.x;
            for d in self.req[self.at + half * 16..self.at + half * 16 + 16].iter_mut() {
                *d = b"0123456789abcdef"[(v & 15) as usize];
                v >>= 4;
            }
        }
        if refused {
            self.req[self.at] = b'x';
        }
        &self.req
    }
}

/// Removes one complete answer from the front of `c`: its status, or `None` if incomplete.
fn take(c: &mut Conn) -> Option<u16> {
    let b = &c.buf[..c.len];
    let head = memchr::memmem::find(b, b"\r\n\r\n")? + 4;
    let status = if head > 12 {
        (b[9] - b'0') as u16 * 100 + (b[10] - b'0') as u16 * 10 + (b[11] - b'0') as u16
    } else {
        0
    };
    let mut total = head;
    if status != 204 {
        let lower = b[..head].to_ascii_lowercase();
        if let Some(i) = memchr::memmem::find(&lower, b"content-length:") {
            total +=
                std::str::from_utf8(&lower[i + 15..]).ok()?.lines().next()?.trim().parse::<usize>().ok()?;
        } else if memchr::memmem::find(&lower, b"transfer-encoding: chunked").is_some() {
            total += memchr::memmem::find(&b[head..], b"0\r\n\r\n")? + 5;
        }
    }
    if c.len < total {
        return None;
    }
    c.buf.copy_within(total..c.len, 0);
    c.len -= total;
    Some(status)
}

fn main() {
    let a = Args::new();
    let to = a.get("--connect").expect("--connect").to_string();
    let secs = a.num("--secs", 4.0).min(600.0);
    let rate = a.num("--rate", 0.0);
    let refused = a.has("--refused");
    let mut g = Gen::new(&a);
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };

    let idle = a.num("--idle", 0.0) as usize;
    let nconns = if idle > 0 { idle } else { a.num("--conns", 64.0) as usize };
    let ep = Epoll::new().unwrap();
    let mut conns: Vec<Conn> = Vec::with_capacity(nconns);
    let mut free: VecDeque<usize> = VecDeque::new();
    for i in 0..nconns {
        let fd = connect(&to).expect("connect");
        ep.add(fd, i as u64, libc::EPOLLIN).unwrap();
        conns.push(Conn { fd, len: 0, busy: false, begun: false, due: 0, buf: Box::new([0; 4096]) });
        free.push_back(i);
    }
    let t0 = Instant::now();
    let now = || t0.elapsed().as_nanos() as u64;
    let end = (secs * 1e9) as u64;
    let mut lat: Vec<u32> = Vec::with_capacity(1 << 22);
    let mut statuses = [0u64; 600];
    let (mut errors, mut reconnects, mut sent) = (0u64, 0u64, 0u64);
    let period = if rate > 0.0 { 1e9 / rate } else { 0.0 };
    let mut backlog: VecDeque<u64> = VecDeque::new();
    let mut evs = vec![unsafe { std::mem::zeroed::<libc::epoll_event>() }; 512];

    macro_rules! send {
        ($i:expr, $due:expr) => {{
            let c = &mut conns[$i];
            c.busy = true;
            c.due = $due;
            sent += 1;
            if write(c.fd, g.next(refused && c.begun)) < 0 {
                errors += 1
            }
            c.begun = true;
        }};
    }
    if rate == 0.0 || idle > 0 {
        while let Some(i) = free.pop_front() {
            let t = now();
            send!(i, t)
        }
    }
    loop {
        let mut t = now();
        if t >= end {
            break;
        }
        if rate > 0.0 && idle == 0 {
            while ((sent + backlog.len() as u64) as f64 * period) as u64 <= t {
                backlog.push_back(((sent + backlog.len() as u64) as f64 * period) as u64);
            }
            while let (Some(_), Some(_)) = (backlog.front(), free.front()) {
                let (due, i) = (backlog.pop_front().unwrap(), free.pop_front().unwrap());
                send!(i, due);
            }
            t = now();
        }
        let wait = if rate > 0.0 && idle == 0 {
            let next = ((sent + backlog.len() as u64) as f64 * period) as u64;
            next.saturating_sub(t).min(end - t)
        } else {
            end - t
        };
        let n = ep.wait(&mut evs, wait as i64);
        for e in &evs[..n] {
            let i = e.u64 as usize;
            let c = &mut conns[i];
            let at = c.len;
            let r = read(c.fd, &mut c.buf[at..]);
            if r <= 0 {
                if r < 0 && would_block() {
                    continue;
                }
                if c.busy {
                    errors += 1
                }
                unsafe { libc::close(c.fd) };
                reconnects += 1;
                if reconnects > 100_000 {
                    eprintln!("too many reconnects");
                    std::process::exit(1)
                }
                let was = c.busy;
                c.fd = connect(&to).expect("reconnect");
                c.len = 0;
                c.busy = false;
                c.begun = false;
                ep.add(c.fd, i as u64, libc::EPOLLIN).unwrap();
                if rate == 0.0 && idle == 0 {
                    let t = now();
                    send!(i, t)
                } else if was {
                    free.push_back(i)
                }
                continue;
            }
            c.len += r as usize;
            while let Some(s) = take(c) {
                let t = now();
                statuses[(s as usize).min(599)] += 1;
                lat.push((t - c.due).min(u32::MAX as u64) as u32);
                c.busy = false;
                if idle > 0 {
                    break;
                }
                if rate == 0.0 {
                    c.busy = true;
                    c.due = t;
                    sent += 1;
                    if write(c.fd, g.next(refused && c.begun)) < 0 {
                        errors += 1
                    }
                } else {
                    free.push_back(i)
                }
            }
        }
    }
    let wall = now() as f64 / 1e9;
    lat.sort_unstable();
    let q = |p: f64| {
        if lat.is_empty() { 0.0 } else { lat[((lat.len() - 1) as f64 * p) as usize] as f64 / 1000.0 }
    };
    let bad: u64 = statuses.iter().enumerate().filter(|(i, _)| *i != 204).map(|(_, n)| n).sum();
    let mut ru: libc::rusage = unsafe { std::mem::zeroed() };
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut ru) };
    let cpu = ru.ru_utime.tv_sec as f64
        + ru.ru_stime.tv_sec as f64
        + (ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) as f64 / 1e6;
    println!(
        "{{\"requests\":{},\"ok\":{},\"bad\":{},\"errors\":{},\"reconnects\":{},\"wall_s\":{:.4},\"rps\":{:.1},\"p50_us\":{:.1},\"p90_us\":{:.1},\"p99_us\":{:.1},\"p999_us\":{:.1},\"max_us\":{:.1},\"cpu_s\":{:.4}}}",
        lat.len(),
        statuses[204],
        bad,
        errors,
        reconnects,
        wall,
        lat.len() as f64 / wall,
        q(0.5),
        q(0.9),
        q(0.99),
        q(0.999),
        q(1.0),
        cpu
    );
}
