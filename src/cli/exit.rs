//! Exit codes; 0, 1 and 2 have their usual meaning.

/// Stopped as requested.
pub(super) const CLEAN: u8 = 0;
/// The drain time-out or a second signal ended it before everything was answered, or records could not be written.
pub(super) const DRAIN_CUT: u8 = 3;
/// An address cannot be bound.
pub(super) const BIND: u8 = 4;
/// A required credential is missing.
pub(super) const NO_CREDENTIAL: u8 = 5;
/// The configuration or the policy is invalid (`EX_CONFIG` of sysexits).
pub(super) const CONFIG: u8 = 78;

/// All exit codes and their meanings.
pub(super) const ALL: [(u8, &str); 7] = [
    (CLEAN, "Success; for `run`: stopped on request."),
    (1, "A runtime failure, or findings."),
    (2, "Invalid command line."),
    (DRAIN_CUT, "The proxy stopped before all calls were answered and recorded."),
    (BIND, "An address cannot be bound."),
    (NO_CREDENTIAL, "With --require-credentials: a credential is missing at start."),
    (
        CONFIG,
        "The configuration or policy is invalid, the audit file is in use, or standard output is closed.",
    ),
];
