//! The items of `identify`: one credential each, with everything needed to check it.

use nix::unistd::{Group, User};

use super::declare::*;
use super::files;
use crate::identity::{
    DnsName, KeySet, NameError, Proof, ServiceAccount, Signer, SpiffeId, TokenDigest, is_no_group, is_nobody,
};
use crate::secret::Secret;
use crate::signing::{Part, SigningKey};
use std::sync::Arc;

section! {
    /// One credential that identifies a caller.
    struct RawProof, "a proof", [Rule::One] {
        /// Anyone who can reach that listener.
        listener: Proof = own(listener, scalar::name_shape), optional("");
        /// The user who created the socket at the other end of a loopback connection.
        loopback: Proof = own(loopback, RawLoopback::shape), optional("");
        /// The process at the other end of the Unix socket.
        unix: Proof = own(unix, RawUnix::shape), optional("");
        /// A token, on listeners with `bearer: true`.
        bearer: Proof = own(bearer, RawBearer::shape), optional("");
        /// A projected token of a Kubernetes service account, on listeners with `bearer: true`.
        service_account: Proof = own(service_account, RawServiceAccount::shape), optional("");
        /// A signature of Huawei's SDK with a key pair created for this proxy.
        sdk_signature: Proof = own(sdk_signature, RawSignature::shape), optional("");
        /// A complete DNS name of the client certificate.
        dns: Proof = own(dns, || Shape::bare("a DNS name", "^[^*]+$")), optional("");
        /// The only URI name of the client certificate.
        spiffe: Proof = own(spiffe, || Shape::pattern("a SPIFFE id", "^spiffe://[^/*]+/[^*]+$")), optional("");
    }
}

section! {
    /// The user who created the socket at the other end of a loopback connection.
    struct RawLoopback, "`loopback`" {
        /// The user id.
        uid: u32 = UID, required("1001");
    }
}

section! {
    /// The process at the other end of a Unix socket; user and group must both match if both are given.
    struct RawUnix, "`unix`", [Rule::Some, Rule::NotBoth("uid", "user"), Rule::NotBoth("gid", "group")] {
        /// The user id.
        uid: u32 = UID, optional("any user");
        /// The name of the user on this machine.
        user: u32 = own(|source, node| USER.find(source, node), || Shape::text(USER.name)), optional("any user");
        /// The group id.
        gid: u32 = own(|source, node| GROUP.read(source, node), || ID.shape()), optional("any group");
        /// The name of the group on this machine.
        group: u32 = own(|source, node| GROUP.find(source, node), || Shape::text(GROUP.name)),
            optional("any group");
    }
}

section! {
    /// A bearer token of its own, on listeners with `bearer: true`.
    struct RawBearer, "`bearer`" {
        /// The output of `printf %s "$TOKEN" | sha256sum`.
        sha256_file: TokenDigest = own(files::sha256, files::path_shape), required("PATH");
    }
}

section! {
    /// A projected token of a Kubernetes service account, on listeners with `bearer: true`.
    struct RawServiceAccount, "`service_account`" {
        /// The namespace of the account.
        namespace: Located<String> = AtKey(Text("the name of a namespace")), required("media");
        /// The name of the account.
        name: Located<String> = AtKey(Text("the name of a service account")), required("oncall");
        /// The token's `audience` in the pod's volume.
        audience: String = Text("an audience"), required("mpc-auth-proxy");
        /// The token's issuer.
        issuer: String = Text("the URL of an issuer"), optional("`https://kubernetes.default.svc.cluster.local`");
        /// The output of `kubectl get --raw /openid/v1/jwks`.
        jwks_file: Arc<KeySet> = own(files::key_set, files::path_shape), required("jwks.json");
    }
}

section! {
    /// A signature of Huawei's SDK with a key pair created for this proxy.
    struct RawSignature, "`sdk_signature`" {
        /// The access key that the caller signs with.
        access_key: Located<String> = AtKey(Text("an access key")), required("EDITORAPI0001");
        /// The file of the secret key.
        secret_key_file: Located<Secret> = AtKey(own(files::secret_text, files::path_shape)), required("PATH");
        /// Refuse signatures that do not cover `Host`, such as those of Go's SDK.
        require_signed_host: bool = Switch, optional("`false`");
    }
}

pub(super) const PROOF: CustomKind<Located<Proof>> = own(read, RawProof::shape);
const ID: Count<u32> = count(0..=u32::MAX - 1);
const UID: CustomKind<u32> = own(|source, node| USER.read(source, node), || ID.shape());

fn read(source: &SourceFile, node: &Node) -> Option<Located<Proof>> {
    let more = " in each item; several items are alternatives";
    let RawProof { listener, loopback, unix, bearer, service_account, sdk_signature, dns, spiffe } =
        RawProof::read_one(source, node, "a proof must have exactly one kind", more)?;
    let proofs = [listener, loopback, unix, bearer, service_account, sdk_signature, dns, spiffe];
    let value = proofs.into_iter().flatten().next()?;
    let place = RawProof::NAMES.iter().find_map(|key| node.get(key)).map_or(node.place, |node| node.place);
    Some(Located { value, place })
}

fn listener(source: &SourceFile, node: &Node) -> Option<Proof> {
    NAME.read(source, node).map(|name| Proof::Listener(name.value))
}

fn loopback(source: &SourceFile, node: &Node) -> Option<Proof> {
    let RawLoopback { uid } = RawLoopback::read(source, node)?;
    Some(Proof::Loopback { uid: uid? })
}

fn unix(source: &SourceFile, node: &Node) -> Option<Proof> {
    let has = |key| node.get(key).is_some();
    let (names_user, names_group) = (has("uid") || has("user"), has("gid") || has("group"));
    let both = has("uid") && has("user") || has("gid") && has("group");
    if matches!(node.value, Value::Map(_)) && (both || !(names_user || names_group)) {
        let message = "`unix` takes a user (uid or user), a group (gid or group), or one of each";
        return source.reject(node.place, message, "for example { uid: 1001 }");
    }
    let RawUnix { uid, user, gid, group } = RawUnix::read(source, node)?;
    let (uid, gid) = (uid.or(user), gid.or(group));
    // An unreadable part must not leave a weaker credential, which might equal another caller's.
    let complete = names_user == uid.is_some() && names_group == gid.is_some();
    complete.then_some(Proof::Unix { uid, gid })
}

struct Account {
    what: &'static str,
    name: &'static str,
    /// The key for its number.
    number: &'static str,
    find: fn(&str) -> Option<u32>,
    /// In a user namespace, all from outside of it have this id.
    is_unmapped: fn(u32) -> bool,
    dedicated: &'static str,
}

const USER: Account = Account {
    what: "user",
    name: "the name of a user",
    number: "uid",
    find: |name| Some(User::from_name(name).ok()??.uid.as_raw()),
    is_unmapped: is_nobody,
    dedicated: "run the caller as a dedicated user",
};
const GROUP: Account = Account {
    what: "group",
    name: "the name of a group",
    number: "gid",
    find: |name| Some(Group::from_name(name).ok()??.gid.as_raw()),
    is_unmapped: is_no_group,
    dedicated: "run the caller in a dedicated group",
};

impl Account {
    fn read(&self, source: &SourceFile, node: &Node) -> Option<u32> {
        self.mapped(source, node, ID.read(source, node)?)
    }

    fn find(&self, source: &SourceFile, node: &Node) -> Option<u32> {
        let (what, name) = (self.what, scalar::text(source, node, self.name)?);
        let id = (self.find)(name).or_else(|| {
            let hint = format!("write `{}: NUMBER` if the {what} is not on this machine", self.number);
            source.reject(node.place, format!("unknown {what} `{name}` on this machine"), hint)
        });
        self.mapped(source, node, id?)
    }

    fn mapped(&self, source: &SourceFile, node: &Node, id: u32) -> Option<u32> {
        if (self.is_unmapped)(id) {
            let what = self.what;
            let message = format!("{what} {id} stands for every {what} not mapped into this user namespace");
            return source.reject(node.place, message, self.dedicated);
        }
        Some(id)
    }
}

fn bearer(source: &SourceFile, node: &Node) -> Option<Proof> {
    let RawBearer { sha256_file } = RawBearer::read(source, node)?;
    Some(Proof::Bearer(sha256_file?))
}

fn service_account(source: &SourceFile, node: &Node) -> Option<Proof> {
    let RawServiceAccount { namespace, name, audience, issuer, jwks_file } =
        RawServiceAccount::read(source, node)?;
    for (parsed, what) in [(&namespace, "namespace"), (&name, "service account")] {
        if let Some(Located { value: text, place }) = parsed
            && !is_kubernetes_name(text)
        {
            let message = format!("`{text}` is not a valid Kubernetes {what} name");
            source.warning(*place, message, "write one name in full, without wildcards");
        }
    }
    let issuer = if node.get("issuer").is_some() { issuer? } else { DEFAULT_ISSUER.into() };
    Some(Proof::ServiceAccount(ServiceAccount {
        namespace: namespace?.value.into(),
        name: name?.value.into(),
        audience: audience?.into(),
        issuer: issuer.into(),
        keys: jwks_file?,
    }))
}

/// Whether it is a name by RFC 1123, as for service accounts in Kubernetes. Names of namespaces may not have dots either.
fn is_kubernetes_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
    text.len() <= 253 && text.bytes().all(allowed)
}

fn sdk_signature(source: &SourceFile, node: &Node) -> Option<Proof> {
    let RawSignature { access_key, secret_key_file, require_signed_host } = RawSignature::read(source, node)?;
    let host_written = node.get("require_signed_host").is_some();
    let require_signed_host = if host_written { require_signed_host? } else { false };
    let Located { value: access_key, place: access_place } = access_key?;
    let Located { value: secret_key, place: secret_place } = secret_key_file?;
    SigningKey::new(&access_key, &secret_key, None)
        .map(|key| Proof::SdkSignature(Signer { key, require_signed_host }))
        .map_err(|error| {
            let place = match error.part() {
                Part::AccessKey => access_place,
                Part::SecretKey | Part::SecurityToken => secret_place,
            };
            source.error(place, error.to_string(), "generate a pair for this proxy, not the cloud's own");
        })
        .ok()
}

fn dns(source: &SourceFile, node: &Node) -> Option<Proof> {
    let kind = NameKind { what: "a DNS name", example: "batch-cleaner.media.svc" };
    name(source, node, kind, DnsName::parse).map(Proof::Dns)
}

fn spiffe(source: &SourceFile, node: &Node) -> Option<Proof> {
    let kind = NameKind { what: "a SPIFFE id", example: "spiffe://media.example/ns/prod/sa/batch-cleaner" };
    name(source, node, kind, SpiffeId::parse).map(Proof::Spiffe)
}

struct NameKind {
    what: &'static str,
    example: &'static str,
}

fn name<T>(
    source: &SourceFile,
    node: &Node,
    NameKind { what, example }: NameKind,
    parse: impl FnOnce(&str) -> Result<T, NameError>,
) -> Option<T> {
    let text = scalar::text(source, node, what)?;
    parse(text)
        .map_err(|error| {
            let message = format!("`{text}` is not {what}: {error}");
            source.error(node.place, message, format!("for example {example}"));
        })
        .ok()
}

/// The default issuer of Kubernetes. An unset issuer never means any issuer.
const DEFAULT_ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
