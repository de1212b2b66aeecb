//! Memory and descriptors of a process. Memory and descriptors, as the kernel counts them.

use std::{fs, time::Duration};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::harness::{Proxy, memory};

/// What it has in RAM, in KiB.
pub(crate) fn resident(proxy: &Proxy) -> usize {
    memory::of(proxy.id(), "VmRSS").unwrap()
}

/// Of that, what is no file's, in KiB.
pub(crate) fn anonymous(proxy: &Proxy) -> usize {
    memory::of(proxy.id(), "RssAnon").unwrap()
}

/// The CPU that its threads have had so far.
pub(crate) fn cpu(proxy: &Proxy) -> Duration {
    let threads = fs::read_dir(format!("/proc/{}/task", proxy.id())).unwrap();
    let had = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
    };
    threads.filter_map(|thread| had(thread.unwrap())).sum()
}

/// How many descriptors it has open.
pub(crate) fn descriptors(proxy: &Proxy) -> usize {
    fs::read_dir(format!("/proc/{}/fd", proxy.id())).unwrap().count()
}

/// Lets this process and those that it starts open as many files as they may.
pub(crate) fn raise_descriptors() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
}
