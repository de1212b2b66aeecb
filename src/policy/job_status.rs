//! The status of jobs, in the words of policies and of answers.

use super::{Fact, UnknownReason};

/// The status of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobStatus {
    /// It was accepted.
    Init,
    /// It is queued and can be cancelled.
    Waiting,
    /// It is running.
    Processing,
    /// It succeeded.
    Succeeded,
    /// It failed.
    Failed,
    /// It was cancelled.
    Canceled,
}

impl JobStatus {
    /// All statuses, in the order of a job's life.
    pub const ALL: [Self; 6] =
        [Self::Init, Self::Waiting, Self::Processing, Self::Succeeded, Self::Failed, Self::Canceled];

    /// Parses a status as written in policies.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Parses a status of an answer of any version. Versions differ in two words.
    pub fn of_answer(word: &str) -> Fact<Self> {
        let word = match word {
            "SUCCEED" => "SUCCEEDED",
            "PREPROCESSING" => "PROCESSING",
            word => word,
        };
        Self::parse(word).map_or(Fact::Unknown(UnknownReason::UnknownWord), Fact::Known)
    }

    /// Returns its name in policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Init => "INIT",
            Self::Waiting => "WAITING",
            Self::Processing => "PROCESSING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Canceled => "CANCELED",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_status_has_one_meaning_in_both_versions_or_none_that_is_known() {
        for (word, expected) in [
            ("INIT", Fact::Known(JobStatus::Init)),
            ("SUCCEED", Fact::Known(JobStatus::Succeeded)),
            ("SUCCEEDED", Fact::Known(JobStatus::Succeeded)),
            ("PREPROCESSING", Fact::Known(JobStatus::Processing)),
            ("CANCELLED", Fact::Unknown(UnknownReason::UnknownWord)),
            ("waiting", Fact::Unknown(UnknownReason::UnknownWord)),
            ("", Fact::Unknown(UnknownReason::UnknownWord)),
        ] {
            assert_eq!(JobStatus::of_answer(word), expected, "{word}");
        }
        assert_eq!(JobStatus::parse("SUCCEED"), None);
    }
}
