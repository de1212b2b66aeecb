//! Memory charged by the kernel to a proxy, sockets included, in its own memory cgroup if one can be made.

use std::{
    fs, io,
    path::PathBuf,
    process,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use crate::harness::Setup;

/// A cgroup, removed when dropped. Its processes must have ended.
pub(crate) struct Cgroup {
    path: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, PartialEq)]
enum Version {
    One,
    Two,
}

impl Cgroup {
    /// Creates one. `None`, and a message, if that is not possible.
    pub(crate) fn new() -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("mpc-auth-proxy-soak-{}-{}", process::id(), COUNT.fetch_add(1, Relaxed));
        let places = [("/sys/fs/cgroup/memory", Version::One), ("/sys/fs/cgroup", Version::Two)];
        for (root, version) in places {
            let made = Self { path: PathBuf::from(root).join(&name), version };
            // Where memory is not accounted for there is no such file.
            if fs::create_dir(&made.path).is_ok() && made.peak().is_ok() {
                made.account_for_sockets();
                return Some(made);
            }
        }
        println!("no memory cgroup can be made here: the kernel's part is not measured");
        None
    }

    /// Makes a proxy start within it.
    pub(crate) fn hold(&self, setup: Setup) -> Setup {
        let script = format!("echo $$ >'{}/cgroup.procs' && exec \"$0\" \"$@\"", self.path.display());
        setup.under(&["/bin/sh", "-c", &script])
    }

    /// The peak charge so far in KiB. In version 1 sockets are accounted separately.
    pub(crate) fn peak(&self) -> io::Result<usize> {
        let files: &[&str] = match self.version {
            Version::One => &["memory.max_usage_in_bytes", "memory.kmem.tcp.max_usage_in_bytes"],
            Version::Two => &["memory.peak"],
        };
        let read = |file| Ok(fs::read_to_string(self.path.join(file))?.trim().parse().unwrap_or(0));
        files.iter().map(read).sum::<io::Result<usize>>().map(|bytes| bytes / 1024)
    }

    /// Sets its limit in bytes.
    pub(crate) fn limit(&self, bytes: usize) {
        let file = if self.version == Version::One { "memory.limit_in_bytes" } else { "memory.max" };
        fs::write(self.path.join(file), bytes.to_string()).unwrap();
    }

    /// Version 1 counts sockets once they are limited.
    fn account_for_sockets(&self) {
        if self.version == Version::One {
            let limit = (1_usize << 40).to_string();
            fs::write(self.path.join("memory.kmem.tcp.limit_in_bytes"), limit).unwrap();
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel may be tidying up after what was in it.
        for _ in 0..100 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}
