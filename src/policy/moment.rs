//! Parses and formats times for `expires` and `g:CurrentTime`: a date, or a date and time with offset (RFC 3339).

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, Utc};

/// The text is not a valid time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time is a date (2027-01-31, its first moment in UTC) or a date and time (2027-01-31T18:00:00Z)")]
pub struct MomentError;

/// Parses a time. A date alone means midnight UTC, at its beginning.
///
/// # Errors
/// [`MomentError`] for any other text, including a time without `Z` or an offset.
pub fn parse_moment(text: &str) -> Result<DateTime<Utc>, MomentError> {
    let moment = if text.len() == DATE_LENGTH { midnight(text) } else { date_time(text) };
    moment.ok_or(MomentError)
}

/// Returns the shortest text that [`parse_moment`] reads as this time, to the millisecond.
pub fn spell_moment(moment: DateTime<Utc>) -> String {
    let whole = moment.time() == NaiveTime::MIN;
    if whole { moment.date_naive().to_string() } else { moment.to_rfc3339_opts(SecondsFormat::AutoSi, true) }
}

fn midnight(text: &str) -> Option<DateTime<Utc>> {
    // `chrono` would also accept a sign and spaces.
    let strict = text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let date = strict.then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok())??;
    Some(date.and_time(NaiveTime::MIN).and_utc())
}

fn date_time(text: &str) -> Option<DateTime<Utc>> {
    // RFC 3339 also allows a space for the `T`, which would break the text into two words.
    text.contains('T').then(|| DateTime::parse_from_rfc3339(text).ok())?.map(|time| time.to_utc())
}

const DATE_LENGTH: usize = "2027-01-31".len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_or_a_date_and_time_with_its_offset() {
        for (text, expected) in [
            ("2027-01-31", Some("2027-01-31")),
            ("2027-01-31T00:00:00Z", Some("2027-01-31")),
            ("2027-01-31T18:30:00+08:00", Some("2027-01-31T10:30:00Z")),
            ("2027-01-31T18:30:00.25Z", Some("2027-01-31T18:30:00.250Z")),
            ("2028-02-29", Some("2028-02-29")),
            ("2027-02-29", None),
            ("2027-1-31", None),
            ("+027-01-31", None),
            ("2027-01-31T18:30:00", None),
            ("2027-01-31T18:30Z", None),
            ("2027-01-31 18:30:00Z", None),
            ("31.01.2027", None),
            ("tomorrow", None),
            ("1801440000", None),
            ("", None),
        ] {
            assert_eq!(parse_moment(text).ok().map(spell_moment).as_deref(), expected, "{text}");
        }
    }
}
