//! Kubernetes service account tokens.
//!
//! `jwks` verifies signatures; claims are read only after that. Tokens are verified offline, so a token whose pod is gone is
//! valid until it expires. Its lifetime should be short (`expirationSeconds`, at least 10 minutes).

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use super::{
    IdentityError,
    jwks::{KeySet, TokenError},
};
use crate::{object::Object, reason::Reason};

/// A service account of a cluster, and the audience that its tokens must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// The required audience, possibly among others.
    pub audience: Box<str>,
    /// The required issuer.
    pub issuer: Box<str>,
    /// The issuer's keys.
    pub keys: Arc<KeySet>,
}

/// The claims of a token with a verified signature.
#[derive(Deserialize)]
pub(super) struct Claims {
    iss: String,
    aud: Audience,
    /// Seconds since 1970. Tokens without it, as old clusters issue, are rejected.
    exp: i64,
    nbf: Option<i64>,
    #[serde(rename = "kubernetes.io")]
    bound: Object<Bound>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// What a token is bound to. A pod, node or secret may be named, too, but is ignored.
#[derive(Deserialize)]
struct Bound {
    namespace: String,
    serviceaccount: Object<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// Whether a bearer token looks like a signed JWT: three parts.
pub(super) fn looks_like_one(token: &str) -> bool {
    token.split('.').count() == 3
}

/// Verifies a token with these keys at this time, and returns its claims.
pub(super) fn verify(token: &str, keys: &KeySet, now: DateTime<Utc>) -> Result<Claims, IdentityError> {
    let Object(claims): Object<Claims> = keys.verified(token).map_err(|error| {
        IdentityError::WrongServiceAccount(match error {
            TokenError::Malformed => Reason::JwtMalformed,
            TokenError::Signature => Reason::JwtSignature,
            TokenError::Claims => Reason::JwtClaims,
        })
    })?;
    let now = now.timestamp();
    if now >= claims.exp.saturating_add(LEEWAY.num_seconds()) {
        return Err(IdentityError::WrongServiceAccount(Reason::JwtExpired));
    }
    if claims.nbf.is_some_and(|from| now < from.saturating_sub(LEEWAY.num_seconds())) {
        return Err(IdentityError::WrongServiceAccount(Reason::JwtNotYetValid));
    }
    Ok(claims)
}

/// Returns the account and issuer that an unverified token claims.
pub(super) fn claimed(token: &str) -> Option<String> {
    let Object(claims): Object<Claims> = jsonwebtoken::dangerous::insecure_decode_claims(token).ok()?;
    let Bound { namespace, serviceaccount: Object(Named { name }) } = claims.bound.0;
    Some(format!("{namespace}/{name} of {}", claims.iss))
}

impl ServiceAccount {
    /// Whether verified claims name this service account and audience. The keys are compared elsewhere.
    pub(super) fn is_claimed_by(&self, claims: &Claims) -> bool {
        let meant_for_us = match &claims.aud {
            Audience::One(audience) => **audience == *self.audience,
            Audience::Several(all) => all.iter().any(|audience| **audience == *self.audience),
        };
        meant_for_us
            && *claims.iss == *self.issuer
            && *claims.bound.0.namespace == *self.namespace
            && *claims.bound.0.serviceaccount.0.name == *self.name
    }
}

/// The tolerated skew between the clocks of the cluster and this machine.
const LEEWAY: TimeDelta = TimeDelta::seconds(30);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::identity::{
        CallerId, Callers, Presented, Proof,
        tests::{presented, unix},
    };

    const JWKS: &[u8] = include_bytes!("../../tests/data/service-account/jwks.json");
    const TOKENS: &str = include_str!("../../tests/data/service-account/tokens.json");

    /// Returns the tokens of `tests/data/service-account` by name. The names of valid ones begin with `right`.
    fn tokens() -> BTreeMap<String, String> {
        serde_json::from_str(TOKENS).unwrap()
    }

    fn account() -> ServiceAccount {
        ServiceAccount {
            namespace: "media".into(),
            name: "oncall".into(),
            audience: "mpc-auth-proxy".into(),
            issuer: "https://kubernetes.default.svc.cluster.local".into(),
            keys: Arc::new(KeySet::parse(JWKS).unwrap()),
        }
    }

    fn identify(
        accounts: Vec<(&str, ServiceAccount)>,
        token: &str,
        now: &str,
    ) -> Result<String, IdentityError> {
        let caller = |(name, account)| (CallerId::parse(name).unwrap(), vec![Proof::ServiceAccount(account)]);
        let callers = Callers::new(accounts.into_iter().map(caller).collect());
        let headers =
            [(http::header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap())].into_iter().collect();
        let peer = unix("mesh", 1, 1);
        let presented = Presented { now: now.parse().unwrap(), ..presented(&peer, &headers) };
        let identity = callers.identify(&presented)?;
        assert_eq!(identity.proof().as_str(), "service_account");
        Ok(identity.caller().to_string())
    }

    const NOW: &str = "2026-01-15T08:30:00Z";
    const FORM: Reason = Reason::JwtMalformed;
    const SIGNATURE: Reason = Reason::JwtSignature;
    const CLAIMS: Reason = Reason::JwtClaims;
    const ACCOUNT: Reason = Reason::UnknownServiceAccount;

    #[test]
    fn claims_are_read_by_their_names_only() {
        let read = |bound: &str| {
            let claims = format!(r#"{{"iss":"i","aud":"a","exp":1,"nbf":null,"kubernetes.io":{bound}}}"#);
            serde_json::from_str::<Object<Claims>>(&claims).is_ok()
        };
        assert!(read(r#"{"namespace":"media","serviceaccount":{"name":"oncall"}}"#));
        assert!(!read(r#"["media",{"name":"oncall"}]"#));
        assert!(!read(r#"{"namespace":"media","serviceaccount":["oncall"]}"#));
        let array = r#"["i","a",1,null,{"namespace":"media","serviceaccount":{"name":"oncall"}}]"#;
        assert!(serde_json::from_str::<Object<Claims>>(array).is_err());
    }

    #[test]
    fn a_token_counts_where_everything_about_it_is_right() {
        let refused: BTreeMap<&str, Reason> = [
            ("for another audience", ACCOUNT),
            ("for no audience", ACCOUNT),
            ("of another issuer", ACCOUNT),
            ("of another namespace", ACCOUNT),
            ("of another name", ACCOUNT),
            ("right, until 2100, of the editor", ACCOUNT),
            ("without what it is bound to", CLAIMS),
            ("without an end", CLAIMS),
            ("without an audience", CLAIMS),
            ("with a text as its end", CLAIMS),
            ("with a claim twice", CLAIMS),
            ("with claims that are no object", CLAIMS),
            ("without a signature", SIGNATURE),
            ("with alg none", FORM),
            ("with alg None and a signature", FORM),
            ("without alg", FORM),
            ("with HS256 and the public key as PEM", SIGNATURE),
            ("with HS256 and the modulus", SIGNATURE),
            ("with HS256 and nothing", SIGNATURE),
            ("with RS384", SIGNATURE),
            ("with PS256", SIGNATURE),
            ("with ES384", SIGNATURE),
            ("with ES256 on P-384", SIGNATURE),
            ("with a short key", SIGNATURE),
            ("with a key for encryption", SIGNATURE),
            ("with another key", SIGNATURE),
            ("with a key that is not named", SIGNATURE),
            ("with the other key's name", SIGNATURE),
            ("with its own key in it", SIGNATURE),
            ("with something critical", FORM),
            ("with other claims", SIGNATURE),
            ("with another signature", SIGNATURE),
            ("with padding", SIGNATURE),
            ("of no parts", FORM),
        ]
        .into();
        let tokens = tokens();
        assert_eq!(tokens.len(), 41);
        for (name, token) in &tokens {
            let expected = match (refused.get(&**name), name.starts_with("right")) {
                (Some(why), _) => Err(IdentityError::WrongServiceAccount(*why)),
                (None, true) => Ok("oncall".to_owned()),
                (None, false) => Err(IdentityError::WrongToken),
            };
            assert_eq!(identify(vec![("oncall", account())], token, NOW), expected, "{name}");
        }
    }

    #[test]
    fn a_token_counts_from_its_beginning_to_its_end_give_or_take_half_a_minute() {
        let wrong = |why| Err(IdentityError::WrongServiceAccount(why));
        for (now, expected) in [
            ("2026-01-15T08:29:29Z", wrong(Reason::JwtNotYetValid)),
            ("2026-01-15T08:29:30Z", Ok("oncall".to_owned())),
            ("2026-01-15T09:30:29Z", Ok("oncall".to_owned())),
            ("2026-01-15T09:30:30Z", wrong(Reason::JwtExpired)),
        ] {
            assert_eq!(identify(vec![("oncall", account())], &tokens()["right"], now), expected, "{now}");
        }
    }

    #[test]
    fn each_part_of_an_account_tells_callers_apart() {
        let with = |change: fn(&mut ServiceAccount)| {
            let mut account = account();
            change(&mut account);
            account
        };
        let others: Vec<ServiceAccount> = vec![
            with(|a| a.namespace = "prod".into()),
            with(|a| a.name = "editor".into()),
            with(|a| a.audience = "mpc".into()),
            with(|a| a.issuer = "https://kubernetes.default.svc".into()),
        ];
        for other in others {
            let right = &tokens()["right"];
            let both = vec![("other", other.clone()), ("oncall", account())];
            assert_eq!(identify(both, right, NOW), Ok("oncall".into()), "{other:?}");
            let refused = identify(vec![("other", other)], right, NOW);
            assert_eq!(refused, Err(IdentityError::WrongServiceAccount(ACCOUNT)));
        }
    }

    /// Returns a key set with the keys that have these ids.
    fn some_keys(ids: &[&str]) -> Arc<KeySet> {
        let mut set: serde_json::Value = serde_json::from_slice(JWKS).unwrap();
        set["keys"].as_array_mut().unwrap().retain(|key| ids.contains(&key["kid"].as_str().unwrap()));
        Arc::new(KeySet::parse(set.to_string().as_bytes()).unwrap())
    }

    #[test]
    fn every_key_set_is_asked_and_two_callers_are_a_conflict() {
        let (rsa, both) = (some_keys(&["rsa"]), some_keys(&["rsa", "p256"]));
        let with = |keys: &Arc<KeySet>, name: &str| ServiceAccount {
            keys: Arc::clone(keys),
            name: name.into(),
            ..account()
        };
        let tokens = tokens();
        let apart = vec![("editor", with(&rsa, "editor")), ("oncall", with(&both, "oncall"))];
        assert_eq!(identify(apart.clone(), &tokens["right"], NOW), Ok("oncall".into()));
        assert_eq!(identify(apart, &tokens["right, with ES256"], NOW), Ok("oncall".into()));
        let same = vec![("one", with(&rsa, "oncall")), ("other", with(&both, "oncall"))];
        assert_eq!(identify(same, &tokens["right"], NOW), Err(IdentityError::Conflict));
    }
}
