//! What does a project in `proxy.yaml` say, and what does it mean?
//!
//! Whether its names fit the others is not asked here: see `link`.

use super::cloud;
use super::decode::Fields;
use super::page::{Page, Placed};
use super::proxy::{self, EXAMPLE_ENDPOINT};
use super::rate;
use super::scalar;
use super::yaml::Node;
use crate::limit::Rate;
use crate::operation::{CREATE, Form, is_served};
use crate::policy::Scope;
use crate::upstream::Endpoint;
use std::sync::Arc;

/// One Huawei Cloud project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// What callers and policies may call it.
    pub name: Arc<str>,
    /// Its id, which is what is sent.
    pub id: Arc<str>,
    /// Where its requests go.
    pub endpoint: Endpoint,
    /// The name of the credential that signs them.
    pub credential: Arc<str>,
    /// Which spellings of the project header are sent.
    pub project_header: ProjectHeader,
    /// The URL form to send. `None` keeps the caller's.
    pub cancel_form: Option<Form>,
    /// What all callers together may ask of it. `None` is no limit.
    pub rate_limit: Option<Rate>,
    /// How a job of it is looked up.
    pub lookup_form: LookupForm,
    /// Whether jobs are created in the name of their caller, and seen without it.
    pub stamp_owner: bool,
}

/// The spellings of the header that names the project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProjectHeader {
    /// Both.
    Both,
    /// `X-Project-Id`, as the SDKs send it.
    Hyphen,
    /// `X-Project_Id`, as the documentation has it.
    Underscore,
}

/// Which version of the cloud's interface jobs are looked up by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LookupForm {
    /// Its answer carries every fact.
    #[default]
    V1,
    /// Its answer carries the word and the status of a job only.
    V2,
}

/// A project as it was written.
pub(super) struct Written {
    pub(super) name: Option<Placed<Arc<str>>>,
    pub(super) id: Option<Placed<Arc<str>>>,
    pub(super) credential: Option<Placed<Arc<str>>>,
    pub(super) endpoint: Option<Endpoint>,
    project_header: ProjectHeader,
    cancel_form: Option<Form>,
    rate_limit: Option<Rate>,
    pub(super) lookup_form: LookupForm,
    stamp_owner: bool,
}

impl Written {
    /// Its name and id, where both could be read.
    pub(super) fn scope(&self) -> Option<Scope> {
        Some(Scope { name: self.name.as_ref()?.value.clone(), id: self.id.as_ref()?.value.clone() })
    }

    /// What it means, where all of it could be read.
    pub(super) fn meaning(&self) -> Option<Project> {
        Some(Project {
            name: self.name.as_ref()?.value.clone(),
            id: self.id.as_ref()?.value.clone(),
            endpoint: self.endpoint.clone()?,
            credential: self.credential.as_ref()?.value.clone(),
            project_header: self.project_header,
            cancel_form: self.cancel_form,
            rate_limit: self.rate_limit,
            lookup_form: self.lookup_form,
            stamp_owner: self.stamp_owner,
        })
    }
}

/// What it does it does to creates.
fn stamp_owner(page: &Page, node: &Node) -> Option<bool> {
    let stamps = scalar::switch(page, node)?;
    if stamps && !is_served(CREATE) {
        let message = "this version creates no jobs, so it has none to stamp";
        page.warning(node.place, message, "leave it out until there is a version that does");
    }
    Some(stamps)
}

/// Reads one.
pub(super) fn read(page: &Page, node: &Node) -> Option<Written> {
    let mut fields = Fields::of(page, node, "a project")?;
    let name = fields.required(("name", "media-prod"), scalar::name);
    let id = fields.required(("id", "0a1b2c3d4e5f60718293a4b5c6d7e8f9"), scalar::name);
    let endpoint = fields
        .required(("endpoint", EXAMPLE_ENDPOINT), |page, node| proxy::endpoint(page, node, EXAMPLE_ENDPOINT));
    let credential = fields.required(("credential", "prod"), scalar::name);
    let project_header = fields.optional("project_header", |page, node| {
        let words = [
            ("both", ProjectHeader::Both),
            ("hyphen", ProjectHeader::Hyphen),
            ("underscore", ProjectHeader::Underscore),
        ];
        scalar::choice(page, node, &words)
    });
    let cancel_form = fields.optional("cancel_form", |page, node| {
        scalar::choice(page, node, &[("path", Form::Path), ("query", Form::Query), ("v1", Form::V1)])
    });
    let unsafe_plaintext = fields.optional("unsafe_plaintext", scalar::switch).unwrap_or(false);
    let rate_limit = fields.optional("rate_limit", rate::rate);
    let lookup_form = fields.optional("lookup_form", |page, node| {
        scalar::choice(page, node, &[("v1", LookupForm::V1), ("v2", LookupForm::V2)])
    });
    let stamp_owner = fields.optional("stamp_owner", stamp_owner).unwrap_or(false);
    fields.finish();
    if let Some(Placed { value, place }) = &endpoint
        && !(value.tls() || value.is_loopback() || unsafe_plaintext)
    {
        let message = "over http:// everyone on the way can read and change what is sent";
        page.error(*place, message, "write https://, or accept it with `unsafe_plaintext: true`");
    }
    if let Some(Placed { value, place }) = &endpoint {
        cloud::endpoint(page, *place, value);
    }
    if let Some(Placed { value, place }) = &id {
        cloud::project_id(page, *place, value);
    }
    let endpoint = endpoint.map(|endpoint| endpoint.value);
    let project_header = project_header.unwrap_or(ProjectHeader::Both);
    let lookup_form = lookup_form.unwrap_or_default();
    Some(Written {
        name,
        id,
        credential,
        endpoint,
        project_header,
        cancel_form,
        rate_limit,
        lookup_form,
        stamp_owner,
    })
}
