//! A small file system of a test, which can be filled.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, ErrorKind, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::Setup;

/// Removed when dropped, with the process that holds the mount.
pub(crate) struct Mount {
    holder: Child,
    folder: TempDir,
}

impl Mount {
    /// Mounts this many KiB in a namespace that permits mounting. `None`, and a message, if that is not permitted.
    pub(crate) fn of_kib(size: usize) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let script =
            format!("mount -t tmpfs -o size={size}k,mode=700 tmpfs \"$0\" && echo mounted && read -r _");
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.trim() != "mounted" {
            eprintln!("no file system can be mounted here: {:?}", holder.wait());
            return None;
        }
        Some(Self { holder, folder })
    }

    /// Makes it visible to the proxy.
    pub(crate) fn shown_to(&self, setup: Setup) -> Setup {
        let target = self.holder.id().to_string();
        setup.under(&["nsenter", "--target", &target, "--user", "--preserve-credentials", "--mount"])
    }

    /// The path of a file as the proxy sees it.
    pub(crate) fn inside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The path of a file as others see it.
    pub(crate) fn outside(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.holder.id(), self.inside(name).display()))
    }

    /// Fills it.
    pub(crate) fn fill(&self) {
        let mut filler = OpenOptions::new().append(true).create(true).open(self.outside("filler")).unwrap();
        for piece in [&[0; 4096][..], &[0]] {
            let error = loop {
                if let Err(error) = filler.write_all(piece) {
                    break error;
                }
            };
            assert_eq!(error.kind(), ErrorKind::StorageFull);
        }
    }

    /// Frees the room taken.
    pub(crate) fn empty(&self) {
        fs::remove_file(self.outside("filler")).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}
