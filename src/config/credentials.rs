//! What does `credentials` say?

use super::decode::{Fields, named};
use super::files;
use super::page::{Page, Placed};
use super::scalar;
use super::yaml::Node;
use crate::credential::Source;
use std::sync::Arc;

/// A credential as it was written.
pub(super) struct Written {
    pub(super) name: Placed<Arc<str>>,
    pub(super) source: Option<Source>,
}

/// Reads `credentials`.
pub(super) fn read(page: &Page, node: &Node) -> Option<Vec<Written>> {
    let read = |(name, node)| {
        scalar::is_name(page, &name);
        Written { name, source: source(page, node) }
    };
    Some(named(page, node, "the credentials").into_iter().map(read).collect())
}

fn source(page: &Page, node: &Node) -> Option<Source> {
    let mut fields = Fields::of(page, node, "a credential")?;
    let written = fields.count();
    let sources = [
        fields.optional("environment", environment),
        fields.optional("files", from_files),
        fields.optional("token_file", token_file),
    ];
    fields.not_yet(&NOT_YET);
    fields.finish();
    if written != 1 {
        let hint = "write one of environment, files, token_file; for instance `{ environment: {} }`";
        page.error(node.place, "a credential has exactly one source", hint);
        return None;
    }
    sources.into_iter().flatten().next()
}

fn environment(page: &Page, node: &Node) -> Option<Source> {
    Fields::of(page, node, "`environment`")?.finish();
    Some(Source::Environment)
}

fn from_files(page: &Page, node: &Node) -> Option<Source> {
    let mut fields = Fields::of(page, node, "`files`")?;
    let access_key = fields.required(("access_key", "PATH"), files::secret);
    let secret_key = fields.required(("secret_key", "PATH"), files::secret);
    let security_token = fields.optional("security_token", files::secret);
    fields.finish();
    Some(Source::Files { access_key: access_key?, secret_key: secret_key?, security_token })
}

fn token_file(page: &Page, node: &Node) -> Option<Source> {
    let mut fields = Fields::of(page, node, "`token_file`")?;
    let path = fields.required(("path", "PATH"), files::secret);
    fields.finish();
    Some(Source::TokenFile { path: path? })
}

const NOT_YET: [&str; 8] =
    ["profile", "metadata", "pod_identity", "oidc", "oidc_sts", "iam_password", "agency", "auto"];
