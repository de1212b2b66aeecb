//! What the tests of these commands read, and how they run.

use std::{fs, path::PathBuf, process::ExitCode};

use tempfile::TempDir;

use crate::operation::{CREATE, DELETE};

/// A folder with these files.
pub(super) struct Folder(TempDir);

impl Folder {
    pub(super) fn with(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        files.iter().for_each(|(name, text)| fs::write(folder.path(name), text).unwrap());
        folder
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The exit code, and what is printed to standard output and to standard error. Files in this folder go by their names.
    pub(super) fn printed(
        &self,
        run: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>) -> anyhow::Result<ExitCode>,
    ) -> anyhow::Result<(ExitCode, String, String)> {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(&mut out, &mut err)?;
        let folder = format!("{}/", self.0.path().display());
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(&folder, "");
        Ok((code, text(out), text(err)))
    }
}

/// A line for each text `EFFECT CALLER PROOF PEER PROJECT JOB [MODE]`, a minute apart. The job of a call that creates
/// one is written `+ID`. Facts follow as `KEY=VALUE,VALUE`, and `user=` for the word on a new job.
pub(super) fn audit(calls: &[&str]) -> String {
    (0..).zip(calls).map(|(minute, call)| line(minute, call)).collect()
}

fn line(minute: u32, call: &str) -> String {
    let (facts, words): (Vec<&str>, Vec<&str>) = call.split(' ').partition(|word| word.contains('='));
    let facts: Vec<(&str, &str)> = facts.iter().map(|fact| fact.split_once('=').unwrap()).collect();
    let told = facts.iter().filter(|(key, _)| *key != "user");
    let told = told.map(|(key, values)| ((*key).to_owned(), values.split(',').collect::<Vec<_>>().into()));
    let (hour, minute) = (minute / 60, minute % 60);
    let created = words[5].strip_prefix('+');
    let action = if created.is_some() { CREATE } else { DELETE };
    let record = serde_json::json!({
        "event": "request", "timestamp": format!("2027-01-15T{hour:02}:{minute:02}:00.000Z"),
        "policy.effect": words[0], "caller.id": words[1], "caller.identified_by": words[2],
        "network.peer.address": words[3], "mpc.project_id": words[4], "mpc.job_id": created.unwrap_or(words[5]),
        "mpc.action": action, "listener": "app", "policy.rule": "old",
        "policy.mode": words.get(6).unwrap_or(&"enforce"),
        "facts": serde_json::Value::Object(told.collect()),
        "mpc.user_data": facts.iter().find(|(key, _)| *key == "user").map(|(_, word)| *word),
    });
    format!("{record}\n")
}
