//! Settings that need a restart, and what a proxy was started with.

use std::{path::PathBuf, sync::Arc};

use crate::{
    config::{
        Admin, AuditSettings, CredentialSettings, Drain, Limits, Listener, Loaded, LogSettings, Ops, Project,
        Settings, UpstreamSettings,
    },
    watch::Snapshot,
};

/// What a proxy was started with, and reloads start from.
pub struct Baseline {
    pub(super) path: PathBuf,
    pub(super) fixed: RestartOnly,
    pub(super) snapshot: Snapshot,
}

impl Baseline {
    /// Of the configuration at `path`, which was just loaded.
    pub fn new(path: PathBuf, loaded: &Loaded) -> Self {
        Self { path, fixed: RestartOnly::of(&loaded.settings), snapshot: loaded.snapshot.clone() }
    }
}

/// Declares the sections that need a restart, each with what is kept of it.
macro_rules! restart_only {
    ($($section:ident: $Type:ty = $kept:expr,)*) => {
        pub(super) struct RestartOnly {
            $($section: $Type,)*
        }

        impl RestartOnly {
            pub(super) fn of(settings: &Settings) -> Self {
                Self { $($section: $kept(&settings.$section),)* }
            }

            pub(super) fn differences(&self, other: &Self) -> Vec<&'static str> {
                let sections = [$((stringify!($section), self.$section != other.$section),)*];
                sections.into_iter().filter(|(_, differs)| *differs).map(|(section, _)| section).collect()
            }
        }
    };
}

restart_only! {
    listeners: Vec<Listener> = Clone::clone,
    ops: Option<Ops> = Clone::clone,
    admin: Option<Admin> = Clone::clone,
    freeze_file: Option<PathBuf> = Clone::clone,
    projects: Vec<Project> = without_reloaded_keys,
    credentials: Vec<CredentialSettings> = Clone::clone,
    upstream: UpstreamSettings = Clone::clone,
    limits: Limits = Clone::clone,
    drain: Drain = Clone::clone,
    audit: AuditSettings = Clone::clone,
    log: LogSettings = Clone::clone,
}

fn without_reloaded_keys(projects: &[Arc<Project>]) -> Vec<Project> {
    projects.iter().map(|project| project.restart_only()).collect()
}
