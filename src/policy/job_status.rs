//! How far a job is, in the words of policies and of answers.

use super::{Fact, UnknownReason};

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobStatus {
    /// It was accepted.
    Init,
    /// It is queued: it can be cancelled.
    Waiting,
    /// It is being carried out.
    Processing,
    /// It ended well.
    Succeeded,
    /// It ended badly.
    Failed,
    /// It was cancelled.
    Canceled,
}

impl JobStatus {
    /// Every status there is, in the order of a job's life.
    pub const ALL: [Self; 6] =
        [Self::Init, Self::Waiting, Self::Processing, Self::Succeeded, Self::Failed, Self::Canceled];

    /// The status of that name, as policies write it.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// What an answer's word means, whichever version says it. Versions differ in two words.
    pub fn of_answer(word: &str) -> Fact<Self> {
        let word = match word {
            "SUCCEED" => "SUCCEEDED",
            "PREPROCESSING" => "PROCESSING",
            word => word,
        };
        Self::parse(word).map_or(Fact::Unknown(UnknownReason::UnknownWord), Fact::Known)
    }

    /// As in policies.
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
