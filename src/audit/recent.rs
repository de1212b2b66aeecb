//! The latest records, kept in memory for operators.

use std::collections::VecDeque;

use parking_lot::Mutex;
use serde_json::Value;

use super::Record;

/// The records of the latest decisions of the policy and, separately, of the latest requests refused before it was
/// evaluated: those may be strangers', and must not displace the others.
#[derive(Default)]
pub struct Recent {
    decided: Ring,
    before: Ring,
}

#[derive(Default)]
struct Ring(Mutex<VecDeque<Vec<u8>>>);

impl Recent {
    /// Keeps the line of a request, in place of the oldest of its kind.
    pub fn keep(&self, record: &Record, line: &[u8]) {
        let ring = if record.effect.is_some() { &self.decided } else { &self.before };
        ring.keep(line);
    }

    /// Returns the records, oldest first.
    pub fn records(&self) -> Vec<Value> {
        let mut records: Vec<Value> =
            [&self.decided, &self.before].into_iter().flat_map(Ring::records).collect();
        // The format has a fixed width, so texts compare like times.
        records.sort_by(|one, other| moment(one).cmp(moment(other)));
        records
    }
}

impl Ring {
    fn keep(&self, line: &[u8]) {
        let mut lines = self.0.lock();
        // Reuses the memory of the oldest line.
        let mut kept =
            if lines.len() == MAX_RECENT { lines.pop_front().unwrap_or_default() } else { Vec::new() };
        kept.clear();
        kept.extend_from_slice(line);
        lines.push_back(kept);
    }

    fn records(&self) -> Vec<Value> {
        let lines = self.0.lock();
        lines.iter().filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}

fn moment(record: &Value) -> &str {
    record.get("timestamp").and_then(Value::as_str).unwrap_or_default()
}

/// The number of records of each kind.
const MAX_RECENT: usize = 50;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::DateTime;

    use super::*;

    #[test]
    fn the_last_of_each_kind_are_kept_in_the_order_of_their_times() {
        let recent = Recent::default();
        for n in 0..4 * MAX_RECENT {
            let now = DateTime::from_timestamp(i64::try_from(n).unwrap(), 0).unwrap();
            let mut record = Record::new(n.to_string().into(), "app".into(), "127.0.0.1".into(), now);
            // One in four is a decision.
            record.effect = n.is_multiple_of(4).then_some("allow");
            let line = record.line(Duration::ZERO);
            recent.keep(&record, &line);
        }
        let ids: Vec<usize> = recent
            .records()
            .iter()
            .map(|record| record["request.id"].as_str().unwrap().parse().unwrap())
            .collect();
        assert!(ids.is_sorted());
        let (decided, before): (Vec<usize>, Vec<usize>) = ids.iter().partition(|n| n.is_multiple_of(4));
        assert_eq!((decided.len(), before.len()), (MAX_RECENT, MAX_RECENT));
        assert_eq!((decided[0], before[MAX_RECENT - 1]), (0, 4 * MAX_RECENT - 1));
    }
}
