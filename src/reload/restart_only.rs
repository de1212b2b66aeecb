//! Settings that need a restart.

use std::path::PathBuf;

use crate::config::{
    Admin, AuditSettings, CredentialSettings, Drain, Limits, Listener, LogSettings, Ops, Project, Settings,
    UpstreamSettings,
};

/// The part of a configuration that takes a restart to change.
#[derive(PartialEq)]
pub(super) struct RestartOnly {
    listeners: Vec<Listener>,
    ops: Option<Ops>,
    admin: Option<Admin>,
    freeze_file: Option<PathBuf>,
    projects: Vec<Project>,
    credentials: Vec<CredentialSettings>,
    upstream: UpstreamSettings,
    limits: Limits,
    drain: Drain,
    audit: AuditSettings,
    log: LogSettings,
}

impl RestartOnly {
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            listeners: settings.listeners.clone(),
            ops: settings.ops.clone(),
            admin: settings.admin.clone(),
            freeze_file: settings.freeze_file.clone(),
            projects: settings.projects.iter().map(|project| project.restart_only()).collect(),
            credentials: settings.credentials.clone(),
            upstream: settings.upstream.clone(),
            limits: settings.limits.clone(),
            drain: settings.drain.clone(),
            audit: settings.audit.clone(),
            log: settings.log.clone(),
        }
    }

    /// The sections that differ.
    pub(super) fn differences(&self, other: &Self) -> Vec<&'static str> {
        let sections = [
            ("listeners", self.listeners != other.listeners),
            ("ops", self.ops != other.ops),
            ("admin", self.admin != other.admin),
            ("freeze_file", self.freeze_file != other.freeze_file),
            ("projects", self.projects != other.projects),
            ("credentials", self.credentials != other.credentials),
            ("upstream", self.upstream != other.upstream),
            ("limits", self.limits != other.limits),
            ("drain", self.drain != other.drain),
            ("audit", self.audit != other.audit),
            ("log", self.log != other.log),
        ];
        sections.into_iter().filter(|(_, differs)| *differs).map(|(section, _)| section).collect()
    }
}
