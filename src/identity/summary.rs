//! Summaries of presented credentials for the record of a 401.
//!
//! Nothing in them is verified: names are those that a token or signature claims. Anything that a reader could use (a token,
//! a signature, a whole access key) is left out.

use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, PROXY_AUTHORIZATION},
};

use super::{Peer, PeerAddress, Presented, bearer, sdk_signature, service_account};
use crate::signing;

#[derive(Default)]
struct PresentedSummary(String);

impl Presented<'_> {
    /// Returns the presented credentials, as in `uid:1001, service_account:media/oncall`. `None` if there are none.
    pub fn in_words(&self) -> Option<String> {
        let mut words = PresentedSummary::default();
        words.of_peer(self.peer);
        words.of_tokens(self.headers);
        for key in sdk_signature::access_keys(self.headers) {
            match std::str::from_utf8(key).ok().and_then(signing::hint) {
                Some(hint) => words.add("access_key:", hint),
                None => words.add("access_key", ""),
            }
        }
        (!words.0.is_empty()).then_some(words.0)
    }
}

impl PresentedSummary {
    fn of_peer(&mut self, peer: &Peer) {
        if let PeerAddress::Unix { uid, .. } | PeerAddress::Tcp { owner: Some(uid), .. } = &peer.address {
            self.add("uid:", &uid.to_string());
        }
        match &peer.certificate {
            Some(Ok(certificate)) => match certificate.name() {
                Some(name) => self.add("certificate:", name),
                None => self.add("certificate", ""),
            },
            Some(Err(_)) => self.add("certificate", ""),
            None => {}
        }
    }

    fn of_tokens(&mut self, headers: &HeaderMap) {
        for value in [AUTHORIZATION, PROXY_AUTHORIZATION].iter().flat_map(|name| headers.get_all(name)) {
            match service_account(value) {
                Some(account) => self.add("service_account:", &account),
                None if !bearer::is_sdk_signature(bearer::split_scheme(value).0) => self.add("token", ""),
                None => {}
            }
        }
    }

    fn add(&mut self, kind: &str, name: &str) {
        let comma = if self.0.is_empty() { "" } else { ", " };
        let name: String = name.chars().take(MAX_NAME).collect();
        if self.0.len() + name.len() < MAX_SUMMARY {
            self.0 += &format!("{comma}{kind}{name}");
        }
    }
}

/// Returns the account and the issuer that a token claims.
fn service_account(value: &HeaderValue) -> Option<String> {
    let (_, token) = bearer::split_scheme(value);
    let token = std::str::from_utf8(token).ok().filter(|token| service_account::looks_like_one(token))?;
    service_account::claimed(token)
}

/// The maximum length of one name, in characters, and of all, in bytes.
const MAX_NAME: usize = 128;
const MAX_SUMMARY: usize = 512;

#[cfg(test)]
mod tests {
    use super::super::tests;
    use super::*;

    fn words(address: PeerAddress, headers: &[(http::HeaderName, &str)]) -> Option<String> {
        let peer = Peer { address, ..tests::tcp("mesh") };
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        tests::presented(&peer, &headers).in_words()
    }

    fn tcp(owner: Option<u32>) -> PeerAddress {
        PeerAddress::Tcp { address: "127.0.0.1:1".parse().unwrap(), owner }
    }

    #[test]
    fn what_was_shown_is_told_by_its_names_and_nothing_that_could_be_used() {
        let tokens: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/data/service-account/tokens.json")).unwrap();
        let jwt = format!("Bearer {}", tokens["for another audience"].as_str().unwrap());
        let issuer = "https://kubernetes.default.svc.cluster.local";
        let of_jwt = format!("uid:7, service_account:media/oncall of {issuer}");
        let signature = "SDK-HMAC-SHA256 Access=ONCALL00000000000001, SignedHeaders=host, Signature=abc";
        let secret = "SDK-HMAC-SHA256 Access=s3cr3tS3cr3tS3cr3t, SignedHeaders=host, Signature=abc";
        let unix = PeerAddress::Unix { uid: 1001, gid: 1, groups: [].into() };
        for (address, headers, expected) in [
            (tcp(None), &[][..], None),
            (unix, &[], Some("uid:1001")),
            (tcp(Some(7)), &[(AUTHORIZATION, jwt.as_str())], Some(of_jwt.as_str())),
            (tcp(None), &[(AUTHORIZATION, "Bearer s3cr3t-s3cr3t-s3cr3t")], Some("token")),
            (tcp(None), &[(PROXY_AUTHORIZATION, "Bearer a.b.c")], Some("token")),
            (tcp(None), &[(AUTHORIZATION, signature)], Some("access_key:ONCA")),
            (tcp(None), &[(AUTHORIZATION, secret)], Some("access_key")),
        ] {
            assert_eq!(words(address, headers).as_deref(), expected);
        }
        let many: Vec<_> = (0..64).map(|_| (AUTHORIZATION, signature)).collect();
        assert!(words(tcp(None), &many).unwrap().len() < MAX_SUMMARY + MAX_NAME);
    }
}
