//! The filters of a list: status, time and page.
//!
//! Each value has one type and one spelling, so that exactly what was understood is sent.

use std::fmt::Write;

use chrono::NaiveDateTime;

use crate::reason::Reason;

/// The filters of a list. The cloud has defaults for absent ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    end_time: Option<Moment>,
    page: Option<u32>,
    size: Option<u32>,
    start_time: Option<Moment>,
    status: Option<&'static str>,
}

/// A time in UTC as `yyyymmddhhmmss`: 14 digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment(u64);

impl List {
    /// Parses a query without ids.
    pub(super) fn parse(query: &str) -> Result<Self, Reason> {
        let mut list = Self::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').ok_or(Reason::BadFilters)?;
            let time = || Moment::parse(value).ok_or(Reason::BadFilterTime);
            let number = |allowed| number(value, allowed).ok_or(Reason::BadFilterPage);
            let twice = match name {
                "status" => list.status.replace(status(value).ok_or(Reason::BadFilterStatus)?).is_some(),
                "start_time" => list.start_time.replace(time()?).is_some(),
                "end_time" => list.end_time.replace(time()?).is_some(),
                "page" => list.page.replace(number(0..=50_000)?).is_some(),
                "size" => list.size.replace(number(1..=100)?).is_some(),
                _ => return Err(Reason::BadFilters),
            };
            if twice {
                return Err(Reason::BadFilters);
            }
        }
        Ok(list)
    }

    /// Appends the query in the order of its names, as it is signed.
    pub(super) fn render(&self, out: &mut String) {
        let mut separator = '?';
        let mut push = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                out.push(separator);
                write!(out, "{name}={value}").ok();
                separator = '&';
            }
        };
        push("end_time", self.end_time.map(Moment::spelt));
        push("page", self.page.map(|page| page.to_string()));
        push("size", self.size.map(|size| size.to_string()));
        push("start_time", self.start_time.map(Moment::spelt));
        push("status", self.status.map(str::to_owned));
    }
}

impl Moment {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 14 && text.bytes().all(|b| b.is_ascii_digit());
        let exists = || NaiveDateTime::parse_from_str(text, "%Y%m%d%H%M%S").is_ok();
        (digits && exists()).then(|| text.parse().ok().map(Self))?
    }

    fn spelt(self) -> String {
        format!("{:014}", self.0)
    }
}

fn status(text: &str) -> Option<&'static str> {
    STATUSES.into_iter().find(|known| *known == text)
}

/// Parses a number without sign or leading zero.
fn number(text: &str, allowed: std::ops::RangeInclusive<u32>) -> Option<u32> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|number| plain && allowed.contains(number))
}

/// The statuses as version 1 spells them in a query.
const STATUSES: [&str; 6] = ["INIT", "WAITING", "PREPROCESSING", "SUCCEED", "FAILED", "CANCELED"];
