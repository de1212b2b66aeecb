//! Small shared helpers: epoll, sockets and argument parsing. Linux only.
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;

pub fn check(r: libc::c_int) -> io::Result<libc::c_int> {
    if r < 0 { Err(io::Error::last_os_error()) } else { Ok(r) }
}

pub struct Epoll(pub RawFd);

impl Epoll {
    pub fn new() -> io::Result<Self> {
        Ok(Self(check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?))
    }
    pub fn add(&self, fd: RawFd, token: u64, events: i32) -> io::Result<()> {
        let mut ev = libc::epoll_event { events: events as u32, u64: token };
        check(unsafe { libc::epoll_ctl(self.0, libc::EPOLL_CTL_ADD, fd, &mut ev) }).map(|_| ())
    }
    /// Waits at most `timeout_ns` (negative: for ever); nanosecond precision through epoll_pwait2.
    pub fn wait(&self, evs: &mut [libc::epoll_event], timeout_ns: i64) -> usize {
        let ts = libc::timespec { tv_sec: timeout_ns / 1_000_000_000, tv_nsec: timeout_ns % 1_000_000_000 };
        let p = if timeout_ns < 0 { std::ptr::null() } else { &ts as *const _ };
        let n = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.0,
                evs.as_mut_ptr(),
                evs.len() as i32,
                p,
                std::ptr::null::<libc::sigset_t>(),
                8usize,
            )
        };
        if n < 0 { 0 } else { n as usize }
    }
}

pub fn nodelay(fd: RawFd) {
    let one: libc::c_int = 1;
    unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, &one as *const _ as *const _, 4) };
}

/// TCP_CONGESTION from the environment's CC (cubic, reno ...), where it is set.
pub fn congestion(fd: RawFd) {
    if let Ok(c) = std::env::var("CC") {
        unsafe {
            libc::setsockopt(
                fd,
                libc::IPPROTO_TCP,
                libc::TCP_CONGESTION,
                c.as_ptr() as *const _,
                c.len() as u32,
            )
        };
    }
}

/// A listener on `addr` (`127.0.0.1:80` or `unix:/path`), not blocking.
pub fn listen(addr: &str) -> io::Result<RawFd> {
    use std::os::fd::IntoRawFd;
    if let Some(p) = addr.strip_prefix("unix:") {
        let _ = std::fs::remove_file(p);
        let l = std::os::unix::net::UnixListener::bind(p)?;
        l.set_nonblocking(true)?;
        return Ok(l.into_raw_fd());
    }
    let a: SocketAddr = addr.parse().map_err(|_| io::Error::other("address"))?;
    let SocketAddr::V4(a) = a else { return Err(io::Error::other("IPv4 only")) };
    unsafe {
        let fd = check(libc::socket(
            libc::AF_INET,
            libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
            0,
        ))?;
        let one: libc::c_int = 1;
        libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, &one as *const _ as *const _, 4);
        congestion(fd);
        let sa = sockaddr(&a);
        check(libc::bind(fd, &sa as *const _ as *const _, std::mem::size_of_val(&sa) as u32))?;
        check(libc::listen(fd, 4096))?;
        Ok(fd)
    }
}

fn sockaddr(a: &std::net::SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: a.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(a.ip().octets()) },
        sin_zero: [0; 8],
    }
}

/// A connected stream to `addr`, not blocking once connected. Loopback or Unix socket only.
pub fn connect(addr: &str) -> io::Result<RawFd> {
    use std::os::fd::IntoRawFd;
    if let Some(p) = addr.strip_prefix("unix:") {
        let s = std::os::unix::net::UnixStream::connect(p)?;
        s.set_nonblocking(true)?;
        return Ok(s.into_raw_fd());
    }
    let a: SocketAddr = addr.parse().map_err(|_| io::Error::other("address"))?;
    if !a.ip().is_loopback() {
        return Err(io::Error::other("loopback addresses only"));
    }
    let s = std::net::TcpStream::connect(a)?;
    s.set_nodelay(true)?;
    s.set_nonblocking(true)?;
    let fd = s.into_raw_fd();
    congestion(fd);
    Ok(fd)
}

pub fn read(fd: RawFd, buf: &mut [u8]) -> isize {
    unsafe { libc::recv(fd, buf.as_mut_ptr() as *mut _, buf.len(), 0) }
}
pub fn write(fd: RawFd, buf: &[u8]) -> isize {
    unsafe { libc::send(fd, buf.as_ptr() as *const _, buf.len(), libc::MSG_NOSIGNAL) }
}
pub fn would_block() -> bool {
    io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
}

/// `--name value` and `--flag` arguments.
pub struct Args(Vec<String>);
impl Args {
    pub fn new() -> Self {
        Self(std::env::args().skip(1).collect())
    }
    pub fn get(&self, name: &str) -> Option<&str> {
        let i = self.0.iter().position(|a| a == name)?;
        self.0.get(i + 1).map(|s| s.as_str())
    }
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|a| a == name)
    }
    pub fn num(&self, name: &str, default: f64) -> f64 {
        self.get(name)
            .map(|v| v.parse().unwrap_or_else(|_| panic!("{name} wants a number")))
            .unwrap_or(default)
    }
}
impl Default for Args {
    fn default() -> Self {
        Self::new()
    }
}
