//! The most recent decisions. A few records kept in memory, for an operator to look at.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use super::Record;

/// The records of the last decisions of the policy.
#[derive(Default)]
pub struct Recent(Mutex<VecDeque<Vec<u8>>>);

impl Recent {
    /// Keeps the line of a request that the policy decided; the oldest makes room.
    pub fn keep(&self, record: &Record, line: &[u8]) {
        if record.effect.is_none() {
            return;
        }
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The oldest line's memory serves the newest.
        let mut kept =
            if lines.len() == MAX_RECENT { lines.pop_front().unwrap_or_default() } else { Vec::new() };
        kept.clear();
        kept.extend_from_slice(line);
        lines.push_back(kept);
    }

    /// The records, oldest first.
    pub fn records(&self) -> Vec<serde_json::Value> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}

const MAX_RECENT: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_last_decisions_are_kept_and_nothing_else() {
        let recent = Recent::default();
        for n in 0..MAX_RECENT + 5 {
            let mut record =
                Record::new(n.to_string().into(), "app".into(), "127.0.0.1".into(), crate::clock::now());
            record.effect = (n % 2 == 0 || n > 10).then_some("allow");
            let line = record.line(Duration::ZERO);
            recent.keep(&record, &line);
        }
        let records = recent.records();
        assert_eq!(records.len(), MAX_RECENT);
        assert_eq!(records[0]["request.id"], "0");
        assert_eq!(records[MAX_RECENT - 1]["request.id"], (MAX_RECENT + 4).to_string());
    }
}
