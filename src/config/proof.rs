//! What does an item of `identify` say? Exactly one proof, with everything it takes to check it.

use nix::unistd::{Group, User};

use super::decode::Fields;
use super::files;
use super::page::{Page, Placed};
use super::scalar;
use super::yaml::Node;
use crate::identity::{DnsName, NameError, Proof, ServiceAccount, Signer, SpiffeId, is_no_group, is_nobody};
use crate::signing::{Part, SigningKey};

/// Reads an item of `identify`.
pub(super) fn read(page: &Page, node: &Node) -> Option<Placed<Proof>> {
    let mut fields = Fields::of(page, node, "a proof")?;
    let written = fields.count();
    let proofs = [
        fields.optional("listener", at(listener)),
        fields.optional("loopback", at(loopback)),
        fields.optional("unix", at(unix)),
        fields.optional("bearer", at(bearer)),
        fields.optional("service_account", at(service_account)),
        fields.optional("sdk_signature", at(sdk_signature)),
        fields.optional("dns", at(dns)),
        fields.optional("spiffe", at(spiffe)),
    ];
    fields.finish();
    if written != 1 {
        let hint = "write one of listener, loopback, unix, bearer, service_account, sdk_signature, dns, spiffe in \
                    each item; several items are alternatives";
        page.error(node.place, "a proof is exactly one thing", hint);
        return None;
    }
    proofs.into_iter().flatten().next()
}

/// The proof with its place.
fn at<R>(read: R) -> impl FnOnce(&Page, &Node) -> Option<Placed<Proof>>
where
    R: FnOnce(&Page, &Node) -> Option<Proof>,
{
    |page, node| read(page, node).map(|value| Placed { value, place: node.place })
}

fn listener(page: &Page, node: &Node) -> Option<Proof> {
    scalar::name(page, node).map(|name| Proof::Listener(name.value))
}

fn loopback(page: &Page, node: &Node) -> Option<Proof> {
    let mut fields = Fields::of(page, node, "`loopback`")?;
    let uid = fields.required(("uid", "1001"), |page, node| known_user(page, node, number(page, node)?));
    fields.finish();
    Some(Proof::Loopback { uid: uid? })
}

fn unix(page: &Page, node: &Node) -> Option<Proof> {
    let mut fields = Fields::of(page, node, "`unix`")?;
    let none_or_two = |fields: &Fields<'_>, id, name| fields.has(id) && fields.has(name);
    if fields.count() == 0 || none_or_two(&fields, "uid", "user") || none_or_two(&fields, "gid", "group") {
        let message = "`unix` names a user (uid or user), a group (gid or group), or one of each";
        page.error(node.place, message, "for instance { uid: 1001 }");
        return None;
    }
    let names_user = fields.has("uid") || fields.has("user");
    let names_group = fields.has("gid") || fields.has("group");
    let uid = fields.optional("uid", |page, node| known_user(page, node, number(page, node)?)).or(fields
        .optional("user", |page, node| {
            let find = |name: &str| User::from_name(name).map(|user| user.map(|user| user.uid.as_raw()));
            known_user(page, node, account(page, node, ("user", "uid"), find)?)
        }));
    let gid = fields.optional("gid", |page, node| known_group(page, node, number(page, node)?)).or(fields
        .optional("group", |page, node| {
            let find = |name: &str| Group::from_name(name).map(|group| group.map(|group| group.gid.as_raw()));
            known_group(page, node, account(page, node, ("group", "gid"), find)?)
        }));
    fields.finish();
    // A part that could not be read must not leave a proof that asks for less and resembles another caller's.
    let complete = names_user == uid.is_some() && names_group == gid.is_some();
    complete.then_some(Proof::Unix { uid, gid })
}

/// In a user namespace everybody from outside of it has this id.
fn known_user(page: &Page, node: &Node, uid: u32) -> Option<u32> {
    if is_nobody(uid) {
        let message = format!("user {uid} is what the kernel says of every user that it cannot tell here");
        page.error(node.place, message, "run the caller as a user of its own");
    }
    (!is_nobody(uid)).then_some(uid)
}

fn known_group(page: &Page, node: &Node, gid: u32) -> Option<u32> {
    if is_no_group(gid) {
        let message = format!("group {gid} is what the kernel says of every group that it cannot tell here");
        page.error(node.place, message, "run the caller in a group of its own");
    }
    (!is_no_group(gid)).then_some(gid)
}

fn number(page: &Page, node: &Node) -> Option<u32> {
    u32::try_from(scalar::count(page, node, 0..=u64::from(u32::MAX - 1))?).ok()
}

fn account(
    page: &Page,
    node: &Node,
    (what, number): (&str, &str),
    find: impl FnOnce(&str) -> nix::Result<Option<u32>>,
) -> Option<u32> {
    let name = scalar::text(page, node, &format!("the name of a {what}"))?;
    let found = find(name);
    if !matches!(found, Ok(Some(_))) {
        let hint = format!("write `{number}: NUMBER` if the {what} is known elsewhere only");
        page.error(node.place, format!("this machine has no {what} `{name}`"), hint);
    }
    found.ok().flatten()
}

fn bearer(page: &Page, node: &Node) -> Option<Proof> {
    let mut fields = Fields::of(page, node, "`bearer`")?;
    let sha256 =
        fields.required(("sha256_file", "PATH"), |page, node| files::watched(page, node, files::sha256));
    fields.finish();
    Some(Proof::Bearer(sha256?))
}

fn service_account(page: &Page, node: &Node) -> Option<Proof> {
    let text = |what: &'static str| {
        move |page: &Page, node: &Node| Some(Box::<str>::from(scalar::text(page, node, what)?))
    };
    let mut fields = Fields::of(page, node, "`service_account`")?;
    let issuer_written = fields.has("issuer");
    let placed =
        |what: &'static str| move |page: &Page, node: &Node| Some((text(what)(page, node)?, node.place));
    let namespace = fields.required(("namespace", "media"), placed("the name of a namespace"));
    let name = fields.required(("name", "oncall"), placed("the name of a service account"));
    let audience = fields.required(("audience", "mpc-auth-proxy"), text("an audience"));
    let issuer = fields.optional("issuer", text("the URL of an issuer"));
    let keys =
        fields.required(("jwks_file", "jwks.json"), |page, node| files::watched(page, node, files::key_set));
    fields.finish();
    for (written, what) in [(&namespace, "namespace"), (&name, "service account")] {
        if let Some((text, place)) = written
            && !is_kubernetes_name(text)
        {
            let message = format!("Kubernetes has no {what} `{text}`, so no token is of it");
            page.warning(*place, message, "names are compared as they are: write one, without wildcards");
        }
    }
    let issuer = if issuer_written { issuer? } else { DEFAULT_ISSUER.into() };
    Some(Proof::ServiceAccount(ServiceAccount {
        namespace: namespace?.0,
        name: name?.0,
        audience: audience?,
        issuer,
        keys: keys?,
    }))
}

/// RFC 1123, as Kubernetes has names of service accounts; those of namespaces have no dots besides.
fn is_kubernetes_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
    text.len() <= 253 && text.bytes().all(allowed)
}

fn sdk_signature(page: &Page, node: &Node) -> Option<Proof> {
    let mut fields = Fields::of(page, node, "`sdk_signature`")?;
    let access_key = fields.required(("access_key", "EDITORAPI0001"), |page, node| {
        Some((scalar::text(page, node, "an access key")?, node.place))
    });
    let secret_key = fields.required(("secret_key_file", "PATH"), |page, node| {
        Some((files::watched(page, node, files::secret_text)?, node.place))
    });
    let host_written = fields.has("require_signed_host");
    let require_signed_host = fields.optional("require_signed_host", scalar::switch);
    fields.finish();
    let require_signed_host = if host_written { require_signed_host? } else { false };
    let ((access_key, access_place), (secret_key, secret_place)) = (access_key?, secret_key?);
    SigningKey::new(access_key, &secret_key, None)
        .map(|key| Proof::SdkSignature(Signer { key, require_signed_host }))
        .map_err(|error| {
            let place = match error.part() {
                Part::AccessKey => access_place,
                Part::SecretKey | Part::SecurityToken => secret_place,
            };
            page.error(place, error.to_string(), "make up a pair for this proxy alone, not the cloud's own");
        })
        .ok()
}

fn dns(page: &Page, node: &Node) -> Option<Proof> {
    name(page, node, ("a DNS name", "batch-cleaner.media.svc"), DnsName::parse).map(Proof::Dns)
}

fn spiffe(page: &Page, node: &Node) -> Option<Proof> {
    let example = "spiffe://media.example/ns/prod/sa/batch-cleaner";
    name(page, node, ("a SPIFFE id", example), SpiffeId::parse).map(Proof::Spiffe)
}

fn name<T>(
    page: &Page,
    node: &Node,
    (what, example): (&str, &str),
    parse: impl FnOnce(&str) -> Result<T, NameError>,
) -> Option<T> {
    let text = scalar::text(page, node, what)?;
    parse(text)
        .map_err(|error| {
            let message = format!("`{text}` is not {what}: {error}");
            page.error(node.place, message, format!("for instance {example}"));
        })
        .ok()
}

/// What Kubernetes calls itself unless it is told otherwise; no issuer is never any issuer.
const DEFAULT_ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
