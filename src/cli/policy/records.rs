//! Which decisions does an audit file tell of? Read one line at a time: such files are large.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use anyhow::{Context, bail};

use crate::audit::Seen;

/// Hands every decision in the file to `each`. A line that is no record is complained about and left out: the last
/// one of a machine that lost power is cut off. A file without any decision is an error.
pub(super) fn each_decision(
    path: &Path,
    err: &mut impl Write,
    mut each: impl FnMut(Seen),
) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (mut decisions, mut unreadable) = (0_u64, 0_u64);
    for (number, line) in (1_u64..).zip(BufReader::new(file).lines()) {
        let line = line.with_context(|| format!("cannot read {}:{number}", path.display()))?;
        match Seen::parse(&line) {
            Ok(Some(seen)) => {
                decisions += 1;
                each(seen);
            }
            Ok(None) => {}
            Err(error) => {
                unreadable += 1;
                if unreadable <= TOLD {
                    writeln!(err, "{}:{number}: {error}", path.display())?;
                }
            }
        }
    }
    if unreadable > TOLD {
        writeln!(err, "{}: {} lines more are not audit records", path.display(), unreadable - TOLD)?;
    }
    if decisions == 0 {
        bail!("{} holds no decision of a policy", path.display());
    }
    Ok(())
}

/// The number with its word.
pub(super) fn calls(count: u64) -> String {
    if count == 1 { "1 call".into() } else { format!("{count} calls") }
}

/// How many unreadable lines are told one by one.
const TOLD: u64 = 5;

/// What the tests of `replay` and `suggest` read.
#[cfg(test)]
pub(super) mod fixture {
    /// A line for each text `EFFECT CALLER PROOF PEER PROJECT JOB [MODE]`, a minute apart.
    pub(in crate::cli::policy) fn audit(calls: &[&str]) -> String {
        (0..).zip(calls).map(|(minute, call)| line(minute, call)).collect()
    }

    fn line(minute: u32, call: &str) -> String {
        let words: Vec<&str> = call.split(' ').collect();
        let (hour, minute) = (minute / 60, minute % 60);
        let record = serde_json::json!({
            "event": "request", "timestamp": format!("2027-01-15T{hour:02}:{minute:02}:00.000Z"),
            "policy.effect": words[0], "caller.id": words[1], "caller.identified_by": words[2],
            "network.peer.address": words[3], "mpc.project_id": words[4], "mpc.job_id": words[5],
            "mpc.action": "mpc:editingTask:delete", "listener": "app", "policy.rule": "old",
            "policy.mode": words.get(6).unwrap_or(&"enforce"),
        });
        format!("{record}\n")
    }
}
