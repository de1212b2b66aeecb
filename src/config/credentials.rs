//! The section `credentials`: the sources of keys and tokens.
//!
//! By default IAM and STS are those of the region of the credential's projects. There is no default region: a credential
//! must never be sent to an endpoint that nobody named.

use super::declare::*;
use super::project::RawProject;
use super::report::Position;
use super::sources::*;
use crate::credential::{Agency, KnownEndpoints, Oidc, OidcSts, Password, Profile, Source};
use crate::upstream::Endpoint;
use std::ops::Range;
use std::sync::Arc;

section! {
    /// A key or token from exactly one source.
    pub(super) struct RawSource, "a credential", [Rule::One] {
        /// A key in HUAWEICLOUD_SDK_AK, _SK and optionally _SECURITY_TOKEN.
        environment: RawEnvironment = nested(), optional("");
        /// A key in files, each with one value and nothing else.
        files: RawFiles = nested(), optional("");
        /// A key in a profile of Huawei's SDKs.
        profile: Profile = PROFILE, optional("");
        /// The key of this ECS instance's agency.
        metadata: Endpoint = METADATA, optional("");
        /// The key of this CCE pod's agency: HC_CONTAINER_*.
        pod_identity: RawPodIdentity = nested(), optional("");
        /// A key in exchange for an identity token, by IAM v3.
        oidc: Located<RawOidc> = AtKey(nested()), optional("");
        /// An agency's key in exchange for an identity token, by STS v5.
        oidc_sts: Located<RawOidcSts> = AtKey(nested()), optional("");
        /// A user token obtained with a password, sent as X-Auth-Token.
        iam_password: Located<RawPassword> = AtKey(nested()), optional("");
        /// A user token in a file, sent as X-Auth-Token.
        token_file: RawTokenFile = nested(), optional("");
        /// An agency's key, obtained with the key of another credential.
        agency: Located<RawAgency> = AtKey(nested()), optional("");
        /// The first available of pod_identity, oidc, oidc_sts, environment, profile and metadata.
        auto: RawAuto = nested(), optional("");
    }
}

pub(super) const CREDENTIAL: CustomKind<RawCredential> = own(read, RawSource::shape);

pub(super) struct RawCredential {
    /// `None` unless there is exactly one.
    source: Option<RawSource>,
    place: Position,
    /// The secret files that it names.
    secrets: Range<usize>,
}

/// A credential, as far as it could be read.
pub(super) struct Credential {
    pub(super) name: Located<Arc<str>>,
    pub(super) source: Option<Source>,
    /// The credential that it needs.
    pub(super) base: Option<Located<Arc<str>>>,
}

/// The projects that use a credential.
struct CredentialUse<'p> {
    file: &'p SourceFile,
    /// Their common region.
    region: Option<String>,
    /// Their ids.
    projects: Vec<Arc<str>>,
}

fn read(file: &SourceFile, node: &Node) -> Option<RawCredential> {
    let mark = file.count_secrets();
    let source = source(file, node);
    Some(RawCredential { source, place: node.place, secrets: mark..file.count_secrets() })
}

fn source(file: &SourceFile, node: &Node) -> Option<RawSource> {
    if let Value::Text(text) = &node.value
        && let Some(source) = RawSource::NAMES.iter().find(|source| text.eq_ignore_ascii_case(source))
    {
        let message = format!("expected a mapping for a credential, found the source name `{source}`");
        return file.reject(node.place, message, format!("write {{ {source}: {{}} }}, with its keys inside"));
    }
    let more = "; for example `{ environment: {} }`";
    RawSource::read_one(file, node, "a credential must have exactly one source", more)
}

/// Resolves the credentials of these projects.
pub(super) fn resolve(
    file: &SourceFile,
    credentials: Vec<(Located<Arc<str>>, Option<RawCredential>)>,
    projects: &[RawProject],
) -> Vec<Credential> {
    let resolve = |(name, raw): (Located<Arc<str>>, Option<RawCredential>)| {
        scalar::is_name(file, &name);
        let (source, base) = match raw {
            Some(raw) => raw.resolve(&CredentialUse::of(file, &name.value, projects)),
            None => (None, None),
        };
        Credential { name, source, base }
    };
    credentials.into_iter().map(resolve).collect()
}

impl RawCredential {
    fn resolve(self, uses: &CredentialUse<'_>) -> (Option<Source>, Option<Located<Arc<str>>>) {
        let Some(raw) = self.source else { return (None, None) };
        let base = raw.agency.as_ref().and_then(|agency| agency.value.base.clone());
        let source = raw.resolve(uses);
        // Checked as its provider will read it, if its files exist. Missing ones may be created later.
        let there = source.as_ref().filter(|_| uses.file.has_secrets(&self.secrets));
        if let Some(error) =
            there.and_then(|source| source.examine().err()).filter(|error| !error.is_not_found())
        {
            let named = error.path().and_then(|path| uses.file.place_of_secret(path, &self.secrets));
            uses.file.at_start(named.unwrap_or(self.place), error.to_string(), error.remedy());
        }
        (source, base)
    }
}

impl RawSource {
    /// Resolves the source, if all of it could be read.
    fn resolve(self, uses: &CredentialUse<'_>) -> Option<Source> {
        let (iam, sts) = (|| uses.endpoint_of("iam"), || uses.endpoint_of("sts"));
        let profile = |profile| Source::Profile(Profile { iam_endpoint: iam(), ..profile });
        let sources = [
            self.environment.map(|RawEnvironment {}| Source::Environment),
            self.files.and_then(RawFiles::resolve),
            self.profile.map(profile),
            self.metadata.map(Source::Metadata),
            self.pod_identity.map(|RawPodIdentity {}| Source::PodIdentity),
            self.oidc.and_then(|oidc| uses.oidc(oidc)),
            self.oidc_sts.and_then(|oidc| uses.oidc_sts(oidc)),
            self.iam_password.and_then(|password| uses.password(password)),
            self.token_file.and_then(|RawTokenFile { path }| path).map(Source::TokenFile),
            self.agency.and_then(|agency| uses.agency(agency)),
            self.auto.map(|RawAuto {}| Source::Auto(KnownEndpoints { iam: iam(), sts: sts() })),
        ];
        sources.into_iter().flatten().next()
    }
}

impl<'p> CredentialUse<'p> {
    fn of(file: &'p SourceFile, credential: &str, projects: &[RawProject]) -> Self {
        let uses = |project: &&RawProject| {
            project.credential.as_ref().is_some_and(|name| *name.value == *credential)
        };
        let users: Vec<&RawProject> = projects.iter().filter(uses).collect();
        let mut regions = users.iter().map(|project| region(&project.endpoint.as_ref()?.value));
        let first = regions.next().flatten();
        let region = first.filter(|first| regions.all(|other| other == Some(first))).map(str::to_owned);
        let ids = users.iter().filter_map(|project| Some(Arc::clone(&project.id.as_ref()?.value)));
        Self { file, region, projects: ids.collect() }
    }

    fn endpoint_of(&self, service: &str) -> Option<Endpoint> {
        let region = self.region.as_ref()?;
        Endpoint::parse(&format!("https://{service}.{region}.myhuaweicloud.com")).ok()
    }

    /// Returns the endpoint of a cloud service: as written (`None` if that was invalid), or else by the region.
    fn service(&self, name: &str, parsed: Option<Option<Endpoint>>, place: Position) -> Option<Endpoint> {
        let known = self.endpoint_of(name);
        if parsed.is_none() && known.is_none() {
            let key = format!("{name}_endpoint");
            let message =
                format!("`{key}` is required: no region can be derived from the projects' endpoints");
            let hint = format!("add `{key}: https://{name}.cn-north-4.myhuaweicloud.com`");
            self.file.error(place, message, hint);
        }
        parsed.flatten().or(known)
    }

    fn oidc(&self, Located { value: raw, place }: Located<RawOidc>) -> Option<Source> {
        let RawOidc { iam_endpoint, idp_id, id_token_file, duration } = raw;
        let iam_endpoint = self.service("iam", iam_endpoint, place);
        Some(Source::Oidc(Oidc {
            iam_endpoint: iam_endpoint?,
            idp_id: idp_id?,
            id_token_file: id_token_file?,
            duration,
        }))
    }

    fn oidc_sts(&self, Located { value: raw, place }: Located<RawOidcSts>) -> Option<Source> {
        let RawOidcSts { sts_endpoint, provider_urn, agency_urn, id_token_file, session_name, duration } =
            raw;
        let sts_endpoint = self.service("sts", sts_endpoint, place);
        Some(Source::OidcSts(OidcSts {
            sts_endpoint: sts_endpoint?,
            provider_urn: provider_urn?,
            agency_urn: agency_urn?,
            id_token_file: id_token_file?,
            session_name,
            duration,
        }))
    }

    fn agency(&self, Located { value: raw, place }: Located<RawAgency>) -> Option<Source> {
        let RawAgency { base, sts_endpoint, agency_urn, session_name, duration } = raw;
        let sts_endpoint = self.service("sts", sts_endpoint, place);
        Some(Source::Agency(Agency {
            base: base?.value,
            sts_endpoint: sts_endpoint?,
            agency_urn: agency_urn?,
            session_name,
            duration,
        }))
    }

    fn password(&self, Located { value: raw, place }: Located<RawPassword>) -> Option<Source> {
        let RawPassword { iam_endpoint, domain, user, password_file } = raw;
        let iam_endpoint = self.service("iam", iam_endpoint, place);
        let project_id = match self.projects.as_slice() {
            [one] => Some(Arc::clone(one)),
            // Reported when the name is resolved.
            [] => Some(Arc::from("")),
            _ => {
                let message = "several projects use this credential: a user token is for one project";
                self.file.reject(place, message, "give each project a credential of its own")
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
}

/// Returns `cn-north-4` from `mpc.cn-north-4.myhuaweicloud.com`.
fn region(endpoint: &Endpoint) -> Option<&str> {
    let (service, rest) = endpoint.host().split_once('.')?;
    let region = rest.strip_suffix(".myhuaweicloud.com")?;
    (matches!(service, "mpc" | "mts") && !region.contains('.')).then_some(region)
}

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
