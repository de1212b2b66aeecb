//! Version 1's lists of jobs, with filters and pages.

use chrono::NaiveDateTime;

use super::job::{Api, Job, TIME};
use crate::testserver::answer::Problem;

/// The filters of a list. Unknown names are ignored.
#[derive(Debug)]
pub(super) struct Filters<'r> {
    status: Option<&'r str>,
    from: Option<NaiveDateTime>,
    to: Option<NaiveDateTime>,
    page: usize,
    size: usize,
}

impl<'r> Filters<'r> {
    pub(super) fn parse(pairs: &[(&'r str, &'r str)]) -> Result<Self, Problem> {
        let value = |name: &str| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1);
        let time = |name: &str| {
            let text = value(name)?;
            Some(NaiveDateTime::parse_from_str(text, TIME).map_err(|_| Problem::BadParameter))
        };
        let number = |name: &str, usual: usize| value(name).map_or(Ok(usual), str::parse);
        let page = number("page", 0).map_err(|_| Problem::BadParameter)?;
        let size = number("size", 10).map_err(|_| Problem::BadParameter)?;
        let status = value("status");
        let known = status.is_none_or(|status| STATUSES.contains(&status));
        if page > 50_000 || !(1..=100).contains(&size) || !known {
            return Err(Problem::BadParameter);
        }
        Ok(Self {
            status,
            from: time("start_time").transpose()?,
            to: time("end_time").transpose()?,
            page,
            size,
        })
    }

    /// Returns the number of jobs that pass, and those of the page.
    pub(super) fn choose<'j>(&self, jobs: Vec<(&'j str, &'j Job)>) -> (usize, Vec<(&'j str, &'j Job)>) {
        let mut passing: Vec<_> = jobs.into_iter().filter(|(_, job)| self.pass(job)).collect();
        passing.sort_by_key(|(_, job)| job.number);
        let total = passing.len();
        (total, passing.into_iter().skip(self.page * self.size).take(self.size).collect())
    }

    fn pass(&self, job: &Job) -> bool {
        let word = if let Some("PREPROCESSING") = self.status { Some("PROCESSING") } else { self.status };
        let at = job.created_at.naive_utc();
        word.is_none_or(|word| word == Api::V1.word(job.state))
            && self.from.is_none_or(|from| at >= from)
            && self.to.is_none_or(|to| at <= to)
    }
}

const STATUSES: [&str; 6] = ["INIT", "WAITING", "PREPROCESSING", "SUCCEED", "FAILED", "CANCELED"];
