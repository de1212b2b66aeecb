//! Builds the answer to a view from the permitted jobs.
//!
//! It contains only the cloud's own bytes of those jobs, and so nothing of a hidden job.

use super::{
    answer::{Viewed, ViewedJob},
    write,
};
use crate::operation::Version;

/// Returns this version's answer without jobs.
pub fn nothing(version: Version) -> &'static str {
    match version {
        Version::V1 => r#"{"total":0,"jobs":[]}"#,
        Version::V2 => r#"{"job_array":[]}"#,
    }
}

impl Viewed {
    /// Writes the answer with the permitted jobs. With a `stamp`, that name is removed from the beginning of `user_data`.
    pub fn show(&self, permitted: impl Fn(&ViewedJob) -> bool, stamp: Option<&str>) -> Vec<u8> {
        let shown: Vec<&ViewedJob> = self.jobs.iter().filter(|job| permitted(job)).collect();
        let mut out = Vec::with_capacity(self.body.len());
        match self.version {
            Version::V1 => {
                let counted = u64::try_from(shown.len()).unwrap_or(u64::MAX);
                let total = self.listed.unwrap_or(counted);
                out.extend_from_slice(format!(r#"{{"total":{total},"jobs":["#).as_bytes());
            }
            Version::V2 => out.extend_from_slice(br#"{"job_array":["#),
        }
        let prefix = stamp.map(|caller| format!("{caller}/"));
        for (at, job) in shown.into_iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            self.push_job(&mut out, job, prefix.as_deref());
        }
        out.extend_from_slice(b"]}");
        out
    }

    fn push_job(&self, out: &mut Vec<u8>, job: &ViewedJob, prefix: Option<&str>) {
        let raw = |from, to| self.body.get(from..to).unwrap_or_default();
        let mut from = job.raw.start;
        for (place, text) in &job.own_words {
            let Some(rest) = prefix.and_then(|prefix| text.strip_prefix(prefix)) else { continue };
            let mut own = String::with_capacity(rest.len() + 2);
            write::text(&mut own, rest);
            out.extend_from_slice(raw(from, place.start));
            out.extend_from_slice(own.as_bytes());
            from = place.end;
        }
        out.extend_from_slice(raw(from, job.raw.end));
    }
}
