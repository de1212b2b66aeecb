//! The items of `projects`. `resolve` checks their names.

use super::cloud;
use super::declare::*;
use super::rate::RATE;
use crate::limit::Rate;
use crate::operation::Form;
use crate::policy::Scope;
use crate::upstream::{Endpoint, EndpointError};
use std::sync::Arc;

/// One Huawei Cloud project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// The name that callers and policies may use.
    pub name: Arc<str>,
    /// Its id, which is sent.
    pub id: Arc<str>,
    /// The endpoint of its requests.
    pub endpoint: Endpoint,
    /// The name of the credential that signs them.
    pub credential: Arc<str>,
    /// The spellings of the project header to send.
    pub project_header: ProjectHeader,
    /// The URL form to send. `None` keeps the caller's.
    pub cancel_form: Option<Form>,
    /// The rate limit of all callers together.
    pub rate_limit: Option<Rate>,
    /// The API version of lookups.
    pub lookup_form: LookupForm,
    /// Whether creates are stamped with their caller's name.
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

/// The API version of lookups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupForm {
    /// Its answer has every fact.
    V1,
    /// Its answer has only `user_data` and the status.
    V2,
}

section! {
    /// One Huawei Cloud project.
    pub(super) struct RawProject, "a project" {
        /// The name that callers and policies may use.
        name: Located<Arc<str>> = NAME, required("media-prod");
        /// Its id, which is sent upstream.
        id: Located<Arc<str>> = NAME, required("0a1b2c3d4e5f60718293a4b5c6d7e8f9");
        /// The endpoint of its requests.
        endpoint: Located<Endpoint> = ENDPOINT, required(EXAMPLE_ENDPOINT);
        /// The name of the credential that signs them.
        credential: Located<Arc<str>> = NAME, required("prod");
        /// X-Project-Id has the hyphen, X-Project_Id the underscore.
        project_header: ProjectHeader = Words(HEADERS), default(ProjectHeader::Both);
        /// The URL form of cancels.
        cancel_form: Form = Words([("path", Form::Path), ("query", Form::Query), ("v1", Form::V1)]),
            optional("the caller's");
        /// Allow http:// to another machine: for test servers only.
        unsafe_plaintext: bool = Switch, default(false), reloaded;
        /// The rate of all callers together: N/s, N/min, N/h or N/day.
        rate_limit: Rate = RATE, optional("no limit"), reloaded;
        /// The API version of lookups; answers of v2 have only `user_data` and the status.
        lookup_form: LookupForm = Words([("v1", LookupForm::V1), ("v2", LookupForm::V2)]), default(LookupForm::V1);
        /// Prefix the `user_data` of creates with `CALLER/`, and strip the caller's own prefix from views: ownership
        /// without changing the services.
        stamp_owner: bool = Switch, default(false);
    }
}

impl Project {
    /// Returns the part that only a restart changes: without the keys that are declared `reloaded`.
    #[must_use]
    pub fn restart_only(&self) -> Self {
        let mut kept = self.clone();
        // No `..`, so that every new key must be classified here.
        let Self {
            name: _,
            id: _,
            endpoint: _,
            credential: _,
            project_header: _,
            cancel_form: _,
            lookup_form: _,
            stamp_owner: _,
            rate_limit,
        } = &mut kept;
        *rate_limit = None;
        kept
    }
}

impl RawProject {
    /// Returns its name and id, if both could be read.
    pub(super) fn scope(&self) -> Option<Scope> {
        Some(Scope { name: self.name.as_ref()?.value.clone(), id: self.id.as_ref()?.value.clone() })
    }

    /// Resolves it, if all of it could be read.
    pub(super) fn resolve(&self) -> Option<Project> {
        Some(Project {
            name: self.name.as_ref()?.value.clone(),
            id: self.id.as_ref()?.value.clone(),
            endpoint: self.endpoint.as_ref()?.value.clone(),
            credential: self.credential.as_ref()?.value.clone(),
            project_header: self.project_header,
            cancel_form: self.cancel_form,
            rate_limit: self.rate_limit,
            lookup_form: self.lookup_form,
            stamp_owner: self.stamp_owner,
        })
    }
}

pub(super) const PROJECT: CustomKind<RawProject> = own(project, RawProject::shape);

fn project(source: &SourceFile, node: &Node) -> Option<RawProject> {
    let project = RawProject::read(source, node)?;
    if let Some(Located { value, place }) = &project.endpoint {
        if !(value.tls() || value.is_loopback() || project.unsafe_plaintext) {
            let message = "http:// is plaintext: anyone on the path can read and change requests";
            source.error(*place, message, "write https://, or accept it with `unsafe_plaintext: true`");
        }
        cloud::endpoint(source, *place, value);
    }
    if let Some(Located { value, place }) = &project.id {
        cloud::project_id(source, *place, value);
    }
    Some(project)
}

const ENDPOINT: CustomKind<Located<Endpoint>> =
    own(|source, node| endpoint(source, node, EXAMPLE_ENDPOINT), || endpoint_shape(EXAMPLE_ENDPOINT));

pub(super) fn endpoint_shape(example: &str) -> Shape {
    Shape::pattern(&format!("an endpoint such as {example}"), "^https?://[^\\s/?#@]+/?$")
}

/// Reads an endpoint. Messages show the example.
pub(super) fn endpoint(source: &SourceFile, node: &Node, example: &str) -> Option<Located<Endpoint>> {
    let text = scalar::text(source, node, &format!("an endpoint such as {example}"))?;
    let error = match Endpoint::parse(text) {
        Ok(endpoint) => return Some(Located { value: endpoint, place: node.place }),
        Err(error) => error,
    };
    let hint = match error == EndpointError::Scheme && !text.contains("://") {
        true => format!("write https://{text}"),
        false => format!("for example {example}"),
    };
    source.reject(node.place, error.to_string(), hint)
}

const HEADERS: [(&str, ProjectHeader); 3] = [
    ("both", ProjectHeader::Both),
    ("hyphen", ProjectHeader::Hyphen),
    ("underscore", ProjectHeader::Underscore),
];
const EXAMPLE_ENDPOINT: &str = "https://mpc.cn-north-4.myhuaweicloud.com";
