//! upstream: a stub API server that answers 204 No Content with X-Request-Id. One thread, epoll.
//!   upstream --listen 127.0.0.1:19080 [--cert cert.pem --key key.pem]
use compare_tools::*;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::fd::RawFd;
use std::sync::Arc;

struct Conn {
    fd: RawFd,
    buf: Vec<u8>,
    len: usize,
    tls: Option<rustls::ServerConnection>,
}
#[derive(Default)]
struct Stats {
    requests: u64,
    signed: u64,
    connections: u64,
}

struct Io(RawFd);
impl Read for Io {
    fn read(&mut self, b: &mut [u8]) -> std::io::Result<usize> {
        let n = compare_tools::read(self.0, b);
        if n < 0 { Err(std::io::Error::last_os_error()) } else { Ok(n as usize) }
    }
}
impl Write for Io {
    fn write(&mut self, b: &[u8]) -> std::io::Result<usize> {
        let n = compare_tools::write(self.0, b);
        if n < 0 { Err(std::io::Error::last_os_error()) } else { Ok(n as usize) }
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Length and content of the first complete request in `b`, or `None`.
fn parse(b: &[u8]) -> Option<(usize, bool, bool)> {
    let mut h = [httparse::EMPTY_HEADER; 64];
    let mut r = httparse::Request::new(&mut h);
    let head = match r.parse(b) {
        Ok(httparse::Status::Complete(n)) => n,
        _ => return None,
    };
    let stats = r.path == Some("/__stats");
    let (mut signed, mut total) = (false, head);
    for x in r.headers.iter() {
        match x.name.len() {
            13 if x.name.eq_ignore_ascii_case("authorization") => signed = true,
            14 if x.name.eq_ignore_ascii_case("content-length") => {
                total += std::str::from_utf8(x.value).ok()?.trim().parse::<usize>().ok()?
            }
            17 if x.name.eq_ignore_ascii_case("transfer-encoding") => {
                total += memchr::memmem::find(&b[head..], b"0\r\n\r\n")? + 5
            }
            _ => {}
        }
    }
    (b.len() >= total).then_some((total, signed, stats))
}

fn main() {
    let a = Args::new();
    let l = listen(a.get("--listen").expect("--listen")).expect("listen");
    let tls = a.get("--cert").map(|c| {
        let certs: Vec<_> = CertificateDer::pem_file_iter(c).expect(c).map(|c| c.unwrap()).collect();
        let key = PrivateKeyDer::from_pem_file(a.get("--key").expect("--key")).unwrap();
        let mut cfg =
            rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(certs, key).unwrap();
        cfg.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(cfg)
    });
    let ep = Epoll::new().unwrap();
    ep.add(l, u64::MAX, libc::EPOLLIN).unwrap();
    let mut conns: HashMap<u64, Conn> = HashMap::new();
    let mut evs = vec![unsafe { std::mem::zeroed::<libc::epoll_event>() }; 512];
    let mut st = Stats::default();
    let mut seq = 0x5eed_u64;
    let mut reply = b"HTTP/1.1 204 No Content\r\nDate: Mon, 23 Nov 2026 16:00:00 GMT\r\nServer: api-gateway\r\nX-Request-Id: 00000000000000000000000000000000\r\n\r\n".to_vec();
    let id_at = memchr::memmem::find(&reply, b"X-Request-Id: ").unwrap() + 14;
    loop {
        let n = ep.wait(&mut evs, -1);
        for e in &evs[..n] {
            let token = e.u64;
            if token == u64::MAX {
                loop {
                    let fd = unsafe {
                        libc::accept4(
                            l,
                            std::ptr::null_mut(),
                            std::ptr::null_mut(),
                            libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
                        )
                    };
                    if fd < 0 {
                        break;
                    }
                    nodelay(fd);
                    st.connections += 1;
                    let tls = tls.as_ref().map(|c| rustls::ServerConnection::new(c.clone()).unwrap());
                    conns.insert(fd as u64, Conn { fd, buf: vec![0; 8192], len: 0, tls });
                    ep.add(fd, fd as u64, libc::EPOLLIN).unwrap();
                }
                continue;
            }
            let Some(c) = conns.get_mut(&token) else { continue };
            let mut alive = true;
            if let Some(t) = c.tls.as_mut() {
                match t.read_tls(&mut Io(c.fd)) {
                    Ok(0) => alive = false,
                    Ok(_) => match t.process_new_packets() {
                        Ok(s) => {
                            let k = s.plaintext_bytes_to_read();
                            if k > 0 {
                                let got = t.reader().read(&mut c.buf[c.len..]).unwrap_or(0);
                                c.len += got;
                            }
                            if s.peer_has_closed() {
                                alive = false
                            }
                        }
                        Err(_) => alive = false,
                    },
                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => alive = false,
                }
            } else {
                let r = compare_tools::read(c.fd, &mut c.buf[c.len..]);
                if r == 0 || (r < 0 && !would_block()) {
                    alive = false
                }
                if r > 0 {
                    c.len += r as usize
                }
            }
            let mut out: Vec<u8> = Vec::new();
            let mut at = 0;
            while let Some((used, signed, stats)) = parse(&c.buf[at..c.len]) {
                at += used;
                if stats {
                    let body = format!(
                        "{{\"requests\":{},\"signed\":{},\"connections\":{}}}",
                        st.requests, st.signed, st.connections
                    );
                    out.extend_from_slice(
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", body.len(), body)
                            .as_bytes(),
                    );
                    st = Stats::default();
                    continue;
                }
                st.requests += 1;
                st.signed += signed as u64;
                seq = seq.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut v = seq;
                for d in reply[id_at..id_at + 16].iter_mut() {
                    *d = b"0123456789abcdef"[(v & 15) as usize];
                    v >>= 4;
                }
                out.extend_from_slice(&reply);
            }
            if at > 0 {
                c.buf.copy_within(at..c.len, 0);
                c.len -= at
            }
            if c.len == c.buf.len() {
                alive = false
            }
            if let Some(t) = c.tls.as_mut() {
                if !out.is_empty() {
                    let _ = t.writer().write_all(&out);
                }
                while t.wants_write() {
                    if t.write_tls(&mut Io(c.fd)).is_err() {
                        break;
                    }
                }
            } else if !out.is_empty() && compare_tools::write(c.fd, &out) != out.len() as isize {
                alive = false;
            }
            if !alive {
                unsafe { libc::close(c.fd) };
                conns.remove(&token);
            }
        }
    }
}
