//! Policy decisions: deny by default, an explicit deny wins, an omitted field never means any.
//!
//! It follows identity, which authenticates the caller, and precedes everything that acts. It is pure: a policy is compiled
//! once from rules and names, and a decision is a few index lookups without allocation or lock. The time and source of a
//! call are part of the call, and so are the known facts of its job. If a decision depends on other facts, it names them and
//! allows nothing.

mod call;
mod compiled;
mod condition;
mod decision;
mod explain;
mod fact;
mod facts;
mod findings;
#[cfg(test)]
mod fixture;
mod given;
mod glob;
mod index;
mod job_status;
mod jobs;
mod moment;
mod names;
mod network;
mod question;
#[cfg(test)]
mod reference;
mod report;
mod rule;
mod rules_by_caller;
#[cfg(test)]
mod tests;
mod wildcard;

pub use call::{Call, Scope};
pub use compiled::Policy;
pub use condition::{Condition, Key, Keys, Operator, Test, TestError, ValueError, VariableError};
pub use decision::{Decision, NeededFacts, Observed, Outcome};
pub use explain::{Closest, Explanation, Field, NearestMiss};
pub use fact::{Fact, UnknownReason};
pub use facts::{Facts, Object};
pub use findings::{Finding, Problem};
pub use given::FactError;
pub use glob::{Glob, GlobError};
pub use job_status::JobStatus;
pub use moment::{MomentError, parse_moment, spell_moment};
pub use network::NetworkError;
pub use question::{Question, QuestionError, facts_of, parse_fact};
pub use report::{DecisionReport, ObservedReport, UNDETERMINED};
pub use rule::{Effect, Location, Mode, NO_RULE, Rule};
pub use rules_by_caller::RulesByCaller;
