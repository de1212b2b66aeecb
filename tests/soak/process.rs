//! Memory and descriptors of a process, as counted by the kernel.

use std::{fs, time::Duration};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::harness::{Proxy, memory};

/// Its resident memory in KiB.
pub(crate) fn resident(proxy: &Proxy) -> usize {
    memory::of(proxy.id(), "VmRSS").unwrap()
}

/// Its resident anonymous memory in KiB.
pub(crate) fn anonymous(proxy: &Proxy) -> usize {
    memory::of(proxy.id(), "RssAnon").unwrap()
}

/// The CPU time of its threads so far.
pub(crate) fn cpu(proxy: &Proxy) -> Duration {
    let threads = fs::read_dir(format!("/proc/{}/task", proxy.id())).unwrap();
    let had = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
    };
    threads.filter_map(|thread| had(thread.unwrap())).sum()
}

/// The number of its open descriptors.
pub(crate) fn descriptors(proxy: &Proxy) -> usize {
    fs::read_dir(format!("/proc/{}/fd", proxy.id())).unwrap().count()
}

/// Raises the limit of open files of this process and its children to the maximum.
pub(crate) fn raise_descriptors() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
}
