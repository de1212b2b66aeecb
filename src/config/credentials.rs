//! What does `credentials` say?
//!
//! Where a source does not name IAM or STS, they are those of the region that its projects are in. There is no
//! default region: a credential must never be sent to a place that nobody named.

use super::decode::{Fields, named};
use super::files;
use super::page::{Page, Placed};
use super::project;
use super::proxy::endpoint;
use super::scalar;
use super::yaml::{Node, Value};
use crate::credential::{
    self, Agency, DEFAULT_SECTION, Known, LONGEST_KEY, Oidc, OidcSts, Password, SESSION_NAME, Source,
    USUAL_KEY,
};
use crate::upstream::Endpoint;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A credential as it was written.
pub(super) struct Written {
    pub(super) name: Placed<Arc<str>>,
    pub(super) source: Option<Source>,
    /// The credential that it needs.
    pub(super) base: Option<Placed<Arc<str>>>,
}

/// What the projects of a credential say about it.
struct Uses {
    /// The region all of them are in.
    region: Option<String>,
    /// Their ids.
    projects: Vec<Arc<str>>,
}

/// Reads `credentials`, which these projects use.
pub(super) fn read(page: &Page, node: &Node, projects: &[project::Written]) -> Option<Vec<Written>> {
    let read = |(name, node): (Placed<Arc<str>>, _)| {
        scalar::is_name(page, &name);
        let mark = page.count_secrets();
        let (source, base) = source(page, node, &Uses::of(&name.value, projects)).unzip();
        if let Some(source) = source.as_ref().filter(|_| page.has_secrets_since(mark)) {
            examine(page, node, source);
        }
        Written { name, source, base: base.flatten() }
    };
    Some(named(page, node, "the credentials").into_iter().map(read).collect())
}

/// What is there of the source is read as it will be when it is asked. What is not there may come.
fn examine(page: &Page, node: &Node, source: &Source) {
    let Some(error) = source.examine().err().filter(|error| !error.is_absence()) else { return };
    let place = error.path().and_then(|path| page.place_of_secret(path)).unwrap_or(node.place);
    page.no_key(place, error.to_string(), error.remedy());
}

impl Uses {
    fn of(credential: &str, projects: &[project::Written]) -> Self {
        let users: Vec<&project::Written> = projects
            .iter()
            .filter(|project| project.credential.as_ref().is_some_and(|name| *name.value == *credential))
            .collect();
        let mut regions = users.iter().map(|project| region(project.endpoint.as_ref()?));
        let first = regions.next().flatten();
        let region = first.filter(|first| regions.all(|other| other == Some(first))).map(str::to_owned);
        let ids = users.iter().filter_map(|project| Some(Arc::clone(&project.id.as_ref()?.value)));
        Self { region, projects: ids.collect() }
    }

    /// The service's endpoint in the region.
    fn endpoint_of(&self, service: &str) -> Option<Endpoint> {
        let region = self.region.as_ref()?;
        Endpoint::parse(&format!("https://{service}.{region}.myhuaweicloud.com")).ok()
    }
}

/// `cn-north-4` of `mpc.cn-north-4.myhuaweicloud.com`.
fn region(endpoint: &Endpoint) -> Option<&str> {
    let (service, rest) = endpoint.host().split_once('.')?;
    let region = rest.strip_suffix(".myhuaweicloud.com")?;
    (matches!(service, "mpc" | "mts") && !region.contains('.')).then_some(region)
}

type Found = (Source, Option<Placed<Arc<str>>>);

fn source(page: &Page, node: &Node, uses: &Uses) -> Option<Found> {
    if let Value::Text(text) = &node.value
        && let Some(source) = SOURCES.iter().find(|source| text.eq_ignore_ascii_case(source))
    {
        let message = format!("expected a mapping for a credential, found the name of the source `{source}`");
        page.error(node.place, message, format!("write {{ {source}: {{}} }}, with what it needs inside"));
        return None;
    }
    let mut fields = Fields::of(page, node, "a credential")?;
    let written = fields.count();
    let alone = |source| (source, None);
    let sources = [
        fields.optional("environment", environment).map(alone),
        fields.optional("files", from_files).map(alone),
        fields.optional("profile", |page, node| profile(page, node, uses)).map(alone),
        fields.optional("metadata", metadata).map(alone),
        fields.optional("pod_identity", pod_identity).map(alone),
        fields.optional("oidc", |page, node| oidc(page, node, uses)).map(alone),
        fields.optional("oidc_sts", |page, node| oidc_sts(page, node, uses)).map(alone),
        fields.optional("iam_password", |page, node| iam_password(page, node, uses)).map(alone),
        fields.optional("token_file", token_file).map(alone),
        fields.optional("agency", |page, node| agency(page, node, uses)),
        fields.optional("auto", |page, node| auto(page, node, uses)).map(alone),
    ];
    fields.finish();
    if written != 1 {
        let hint = "write one of environment, files, profile, metadata, pod_identity, oidc, oidc_sts, \
                    iam_password, token_file, agency, auto; for instance `{ environment: {} }`";
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
    let access_key = fields.required(("access_key", "PATH"), files::credential);
    let secret_key = fields.required(("secret_key", "PATH"), files::credential);
    let security_token = fields.optional("security_token", files::credential);
    fields.finish();
    Some(Source::Files { access_key: access_key?, secret_key: secret_key?, security_token })
}

fn profile(page: &Page, node: &Node, uses: &Uses) -> Option<Source> {
    let mut fields = Fields::of(page, node, "`profile`")?;
    let named = fields.has("path");
    let path = fields.optional("path", files::credential);
    let section = fields.optional("section", |page, node| text(page, node, "the name of a section"));
    fields.finish();
    let path = if named { path } else { default_profile(page, node) };
    let section = section.unwrap_or_else(|| DEFAULT_SECTION.into());
    Some(Source::Profile { path: path?, section, iam_endpoint: uses.endpoint_of("iam") })
}

fn default_profile(page: &Page, node: &Node) -> Option<PathBuf> {
    let path = credential::default_profile();
    if path.is_none() {
        let message = "there is no home directory to look for a profile in";
        page.error(node.place, message, "add `path: PATH`, or set HUAWEICLOUD_SDK_CREDENTIALS_FILE");
    }
    path
}

fn metadata(page: &Page, node: &Node) -> Option<Source> {
    let mut fields = Fields::of(page, node, "`metadata`")?;
    let named = fields.has("endpoint");
    let endpoint = fields.optional("endpoint", |page, node| endpoint(page, node, "http://169.254.169.254"));
    fields.finish();
    if !named {
        return Some(Source::Metadata(credential::default_metadata()));
    }
    let Placed { value, place } = endpoint?;
    let link_local = value.host().parse().is_ok_and(|ip| match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    });
    if !(value.tls() || value.is_loopback() || link_local) {
        let hint = "remove `endpoint`, or name an address of this machine or a link-local one";
        page.error(place, "a metadata service is on this machine's own link", hint);
    }
    Some(Source::Metadata(value))
}

fn pod_identity(page: &Page, node: &Node) -> Option<Source> {
    Fields::of(page, node, "`pod_identity`")?.finish();
    Some(Source::PodIdentity)
}

fn oidc(page: &Page, node: &Node, uses: &Uses) -> Option<Source> {
    let mut fields = Fields::of(page, node, "`oidc`")?;
    let iam_endpoint = service(&mut fields, node, IAM, uses);
    let idp_id = fields.required(("idp_id", "ID"), |page, node| text(page, node, "the id of a provider"));
    let id_token_file = fields.required(("id_token_file", "PATH"), files::credential);
    let duration = fields.optional("duration", of_a_key).unwrap_or(LONGEST_KEY);
    fields.finish();
    Some(Source::Oidc(Oidc {
        iam_endpoint: iam_endpoint?,
        idp_id: idp_id?,
        id_token_file: id_token_file?,
        duration,
    }))
}

fn oidc_sts(page: &Page, node: &Node, uses: &Uses) -> Option<Source> {
    let mut fields = Fields::of(page, node, "`oidc_sts`")?;
    let sts_endpoint = service(&mut fields, node, STS, uses);
    let provider_urn = fields.required(("provider_urn", "URN"), |p, node| text(p, node, "a URN"));
    let agency_urn = fields.required(("agency_urn", "URN"), |p, node| text(p, node, "a URN"));
    let id_token_file = fields.required(("id_token_file", "PATH"), files::credential);
    let (session_name, duration) = session(&mut fields);
    fields.finish();
    Some(Source::OidcSts(OidcSts {
        sts_endpoint: sts_endpoint?,
        provider_urn: provider_urn?,
        agency_urn: agency_urn?,
        id_token_file: id_token_file?,
        session_name,
        duration,
    }))
}

fn agency(page: &Page, node: &Node, uses: &Uses) -> Option<Found> {
    let mut fields = Fields::of(page, node, "`agency`")?;
    let base = fields.required(("base", "NAME"), scalar::name);
    let sts_endpoint = service(&mut fields, node, STS, uses);
    let agency_urn = fields.required(("agency_urn", "URN"), |p, node| text(p, node, "a URN"));
    let (session_name, duration) = session(&mut fields);
    fields.finish();
    let base = base?;
    let agency = Agency {
        base: Arc::clone(&base.value),
        sts_endpoint: sts_endpoint?,
        agency_urn: agency_urn?,
        session_name,
        duration,
    };
    Some((Source::Agency(agency), Some(base)))
}

fn iam_password(page: &Page, node: &Node, uses: &Uses) -> Option<Source> {
    let mut fields = Fields::of(page, node, "`iam_password`")?;
    let iam_endpoint = service(&mut fields, node, IAM, uses);
    let domain = fields.required(("domain", "NAME"), |p, node| text(p, node, "the name of an account"));
    let user = fields.required(("user", "NAME"), |p, node| text(p, node, "the name of a user"));
    let password_file = fields.required(("password_file", "PATH"), files::credential);
    fields.finish();
    let project_id = match uses.projects.as_slice() {
        [one] => Some(Arc::clone(one)),
        // Reported where the name is looked up.
        [] => Some(Arc::from("")),
        _ => {
            let message = "a user token is for one project, and more use this credential";
            page.error(node.place, message, "give each project a credential of its own");
            None
        }
    };
    Some(Source::IamPassword(Password {
        iam_endpoint: iam_endpoint?,
        domain: domain?,
        user: user?,
        password_file: password_file?,
        project_id: project_id?,
    }))
}

fn token_file(page: &Page, node: &Node) -> Option<Source> {
    let mut fields = Fields::of(page, node, "`token_file`")?;
    let path = fields.required(("path", "PATH"), files::credential);
    fields.finish();
    path.map(Source::TokenFile)
}

fn auto(page: &Page, node: &Node, uses: &Uses) -> Option<Source> {
    Fields::of(page, node, "`auto`")?.finish();
    Some(Source::Auto(Known { iam: uses.endpoint_of("iam"), sts: uses.endpoint_of("sts") }))
}

/// The endpoint of a service of the cloud, as it was written or else by the region.
fn service(
    fields: &mut Fields<'_>,
    node: &Node,
    (key, name): (&'static str, &str),
    uses: &Uses,
) -> Option<Endpoint> {
    let example = format!("https://{name}.cn-north-4.myhuaweicloud.com");
    let (page, written) = (fields.page(), fields.has(key));
    let found = fields.optional(key, |page, node| endpoint(page, node, &example));
    if let Some(Placed { value, place }) = found {
        if !(value.tls() || value.is_loopback()) {
            page.error(place, "over http:// everyone on the way can read secrets", "write https://");
        }
        return Some(value);
    }
    let known = uses.endpoint_of(name);
    if !written && known.is_none() {
        let message = format!("`{key}` is needed: the endpoints of the projects do not tell the region");
        page.error(node.place, message, format!("add `{key}: {example}`"));
    }
    known
}

/// What the cloud's own records call the session, and for how long a key is asked for.
fn session(fields: &mut Fields<'_>) -> (String, Duration) {
    let name = fields.optional("session_name", |page, node| text(page, node, "a name"));
    let duration = fields.optional("duration", of_a_key);
    (name.unwrap_or_else(|| SESSION_NAME.into()), duration.unwrap_or(USUAL_KEY))
}

fn of_a_key(page: &Page, node: &Node) -> Option<Duration> {
    scalar::duration(page, node, Duration::from_secs(15 * 60)..=Duration::from_secs(24 * 60 * 60))
}

fn text(page: &Page, node: &Node, what: &str) -> Option<String> {
    scalar::text(page, node, what).map(str::to_owned)
}

const SOURCES: [&str; 11] = [
    "environment",
    "files",
    "profile",
    "metadata",
    "pod_identity",
    "oidc",
    "oidc_sts",
    "iam_password",
    "token_file",
    "agency",
    "auto",
];
const IAM: (&str, &str) = ("iam_endpoint", "iam");
const STS: (&str, &str) = ("sts_endpoint", "sts");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_in_the_name_of_huaweis_endpoints() {
        for (text, expected) in [
            ("https://mpc.cn-north-4.myhuaweicloud.com", Some("cn-north-4")),
            ("https://mts.cn-north-1.myhuaweicloud.com", Some("cn-north-1")),
            ("https://mpc.a.b.myhuaweicloud.com", None),
            ("https://mpc.cn-north-4.myhuaweicloud.com.example", None),
            ("https://obs.cn-north-4.myhuaweicloud.com", None),
            ("http://127.0.0.1:8080", None),
        ] {
            assert_eq!(region(&Endpoint::parse(text).unwrap()), expected, "{text}");
        }
    }
}
