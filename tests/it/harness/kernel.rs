//! Socket state in the kernel, from proc_net_tcp(5).

use std::{
    fs,
    net::{SocketAddr, TcpStream},
};

use socket2::{Domain, Socket, Type};

use super::wait_for;

/// The queues of the proxy's end of a connection.
pub(crate) struct Queues {
    proxy: u16,
    caller: u16,
}

impl Queues {
    /// Of this caller's connection.
    pub(crate) fn of(caller: &TcpStream) -> Self {
        Self { proxy: caller.peer_addr().unwrap().port(), caller: caller.local_addr().unwrap().port() }
    }

    /// Waits until the proxy has read everything sent.
    pub(crate) fn all_is_read(&self) {
        wait_for("reading", || (self.bytes()?.1 == 0).then_some(()));
    }

    /// Waits until the proxy has written what its caller does not read.
    pub(crate) fn something_is_not_taken(&self) {
        wait_for("answer that is not taken", || (self.bytes()?.0 > 0).then_some(()));
    }

    /// Bytes not yet acknowledged, and bytes not yet read.
    fn bytes(&self) -> Option<(usize, usize)> {
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let end = |text: &str| u16::from_str_radix(text.rsplit_once(':')?.1, 16).ok();
        table.lines().skip(1).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let ends = (end(fields[1])?, end(fields[2])?);
            let (sends, reads) = fields[4].split_once(':')?;
            let bytes = |hex| usize::from_str_radix(hex, 16).ok();
            (ends == (self.proxy, self.caller)).then_some((bytes(sends)?, bytes(reads)?))
        })
    }
}

/// A connection with a small receive buffer.
pub(crate) fn with_a_small_buffer(address: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.into()
}
