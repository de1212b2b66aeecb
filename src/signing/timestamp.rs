//! Signing times, the text of `X-Sdk-Date`.
//!
//! A type of its own, because every signature needs it and `strftime` costs more than the signature's HMAC.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike, Utc};
use std::fmt;

/// A time in UTC as `X-Sdk-Date` spells it: `YYYYMMDDTHHMMSSZ`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Timestamp([u8; 16]);

/// The text is not a time of the form `YYYYMMDDTHHMMSSZ`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected YYYYMMDDTHHMMSSZ in UTC, such as 20260115T083000Z")]
pub struct TimestampError;

impl Timestamp {
    /// Parses `YYYYMMDDTHHMMSSZ`.
    ///
    /// # Errors
    /// If the text has another form, or the time does not exist.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        moment(text).map(|time| Self::from(time.and_utc())).ok_or(TimestampError)
    }

    /// Returns the text.
    #[expect(clippy::expect_used, reason = "only ASCII digits and letters are ever stored")]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("ASCII")
    }
}

impl From<DateTime<Utc>> for Timestamp {
    /// Truncates fractions of a second, and clamps the year to four digits.
    fn from(time: DateTime<Utc>) -> Self {
        let time = time.naive_utc();
        let year = time.year().clamp(0, 9999).unsigned_abs();
        let [y1, y2] = two_digits(year / 100);
        let [y3, y4] = two_digits(year % 100);
        let [mo1, mo2] = two_digits(time.month());
        let [d1, d2] = two_digits(time.day());
        let [h1, h2] = two_digits(time.hour());
        let [mi1, mi2] = two_digits(time.minute());
        let [s1, s2] = two_digits(time.second());
        Self([y1, y2, y3, y4, mo1, mo2, d1, d2, b'T', h1, h2, mi1, mi2, s1, s2, b'Z'])
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Parses the text. `None` if it has another form, or the time does not exist.
fn moment(text: &str) -> Option<NaiveDateTime> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    if date.len() != 8 || time.len() != 6 || !date.bytes().chain(time.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number = |text: &str, from: usize, to: usize| text.get(from..to)?.parse::<u32>().ok();
    let year = i32::try_from(number(date, 0, 4)?).ok()?;
    NaiveDate::from_ymd_opt(year, number(date, 4, 6)?, number(date, 6, 8)?)?.and_hms_opt(
        number(time, 0, 2)?,
        number(time, 2, 4)?,
        number(time, 4, 6)?,
    )
}

/// Returns the last two decimal digits of a number.
fn two_digits(number: u32) -> [u8; 2] {
    [number / 10, number].map(|n| b'0' + u8::try_from(n % 10).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_time_is_written_as_chrono_formats_it(seconds in -62_167_219_200_i64..253_402_300_800) {
            let time = Utc.timestamp_opt(seconds, 999_999_999).unwrap();
            let (text, ours) = (time.format("%Y%m%dT%H%M%SZ").to_string(), Timestamp::from(time));
            prop_assert_eq!(ours.as_str(), &text);
            prop_assert_eq!(Timestamp::parse(&text), Ok(ours));
        }
    }

    #[test]
    fn a_year_that_does_not_fit_is_the_nearest_that_does() {
        assert_eq!(Timestamp::from(DateTime::<Utc>::MAX_UTC).as_str().get(..4), Some("9999"));
        assert_eq!(Timestamp::from(DateTime::<Utc>::MIN_UTC).as_str().get(..4), Some("0000"));
    }

    #[test]
    fn a_text_of_another_form_or_a_time_that_does_not_exist_is_refused() {
        assert!(Timestamp::parse("20280229T235959Z").is_ok());
        for text in [
            "",
            "20260115T083000",
            "20260115T083000z",
            "20260115 083000Z",
            "2026-01-15T083000Z",
            "20260115T0830000Z",
            "2026011T5083000Z",
            "2026+115T083000Z",
            "20260115T08300٣",
            "20270229T000000Z",
            "20261301T000000Z",
            "20260115T240000Z",
            "20260115T236000Z",
            "20260115T235960Z",
        ] {
            assert_eq!(Timestamp::parse(text), Err(TimestampError), "{text}");
        }
    }
}
