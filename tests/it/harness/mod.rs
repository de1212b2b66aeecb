//! Test harness: a proxy in its own folder, an upstream, and connections.

mod cloud;
mod held;
mod kernel;
pub(crate) mod memory;
mod mount;
mod process;
mod proxy;
mod scripted;
mod setup;
mod tls;
mod wire;

pub(crate) use cloud::{ACCESS_KEY, SECRET_KEY, certificate, cloud, options};
pub(crate) use held::Held;
pub(crate) use kernel::{Queues, with_a_small_buffer};
pub(crate) use memory::{mib, peak};
pub(crate) use mount::Mount;
pub(crate) use process::{Process, small_pipe};
pub(crate) use proxy::{Proxy, Record, is_in_words};
pub(crate) use scripted::{Peer, Scripted};
pub(crate) use setup::{PROJECT, Setup, TOKEN, copy_program, go_on};
pub(crate) use tls::{Authority, Client, Holder, Wanted};
pub(crate) use wire::{Answer, Wire, cancel, request};

use std::{
    net::{SocketAddr, TcpListener},
    thread::sleep,
    time::{Duration, Instant},
};

/// Polls until there is an answer, for at most [`BOUND`].
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + BOUND;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "no {what} within {BOUND:?}");
        sleep(Duration::from_millis(2));
    }
}

/// An address for a listener that must be known beforehand, or the same after a restart. Nobody else takes
/// it meanwhile: sockets with an arbitrary port are on 127.0.0.1, and so are the callers' ends.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap()
}

/// Far longer than anything takes, even on a busy machine.
pub(crate) const BOUND: Duration = Duration::from_secs(30);
