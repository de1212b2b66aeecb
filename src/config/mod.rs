//! Configuration: turns `proxy.yaml`, `policy.yaml` and the files they name into [`Settings`], or a [`Report`] of all
//! problems.
//!
//! Text becomes a tree with locations (`yaml`), the tree becomes values (`proxy`, `policy`), names are resolved (`resolve`),
//! and only files that pass all of this become settings. It opens no socket and changes nothing.

mod ambiguity;
mod cases;
mod cloud;
mod condition;
mod credentials;
mod declare;
mod decode;
mod files;
mod kind;
mod listener;
mod load;
mod names;
mod paths;
mod policy;
mod project;
mod proof;
mod proxy;
mod rate;
mod redact;
mod report;
mod resolve;
mod rules;
mod scalar;
mod schema;
mod sections;
mod settings;
mod source_file;
mod sources;
mod standalone;
#[cfg(test)]
mod tests;
mod tls;
mod upstream;
mod yaml;

pub use cases::{Case, CaseFile, Expected, cases};
pub use files::is_exposed;
pub use load::{Loaded, load, load_again};
pub use project::{LookupForm, Project, ProjectHeader};
pub use report::{Position, Problem, Report, Severity};
pub use scalar::{format_duration, format_size};
pub use schema::{File, schema};
pub use sections::{AuditSettings, Drain, Limits, LogFormat, LogSettings};
pub use settings::*;
pub use source_file::reason;
pub use standalone::{StandalonePolicy, addresses, log_format, policy_alone, projects};
pub use upstream::{BreakerSettings, Retries, Stale, UpstreamSettings};
