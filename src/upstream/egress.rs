//! Chooses the egress proxy of an endpoint, and holds the trusted roots.
//!
//! The configuration names the proxy or else the environment does, in the variables that curl knows. It is only ever asked
//! to `CONNECT`: TLS goes through to upstream, so the proxy sees no request. Addresses of this machine or its link are
//! never reached through one, because credentials are served there.

use std::{env, sync::Arc};

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;

use super::{Endpoint, Roots, no_proxy::NoProxy};

/// The outbound settings that all upstreams share.
#[derive(Clone)]
pub struct Egress {
    /// The certificate authorities that are trusted.
    pub roots: Roots,
    /// The egress proxies.
    pub proxies: Proxies,
}

/// The egress proxy for each endpoint.
#[derive(Clone)]
pub struct Proxies {
    https: Result<Option<Proxy>, ProxyVariableError>,
    http: Result<Option<Proxy>, ProxyVariableError>,
    exempt: Arc<NoProxy>,
}

/// An egress proxy, `http://HOST:PORT`.
#[derive(Clone, Debug)]
pub struct Proxy {
    pub(super) endpoint: Endpoint,
    /// `Proxy-Authorization`, from the user name and password in an environment variable.
    pub(super) authorization: Option<HeaderValue>,
    named_by: &'static str,
}

/// An environment variable names an invalid proxy. Its value is not shown, because it may contain a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {0} is not an egress proxy: {1}")]
pub struct ProxyVariableError(&'static str, &'static str);

/// Returns an environment variable. One that is not UTF-8 does not count as unset.
pub fn variable(name: &str) -> Option<String> {
    env::var_os(name).map(|text| text.to_string_lossy().into_owned())
}

impl Proxies {
    /// Uses the configured proxy for every endpoint. Without one, `HTTPS_PROXY` applies to `https://` endpoints and
    /// `ALL_PROXY` to all others. `HTTP_PROXY` is ignored: a proxy for plain HTTP would see the requests. The lower-case
    /// names count, too.
    ///
    /// `NO_PROXY` exempts hosts, domains and networks from either.
    pub fn new(configured: Option<&Endpoint>, variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: [&'static str; 2]| {
            let set = |name| variable(name).filter(|value| !value.is_empty()).map(|value| (name, value));
            names.into_iter().find_map(set)
        };
        let named = |names| first(names).map(|(name, value)| Proxy::parse(name, &value));
        let (https, http) = match configured {
            Some(endpoint) => {
                let proxy =
                    Proxy { endpoint: endpoint.clone(), authorization: None, named_by: "upstream.proxy" };
                (Some(Ok(proxy.clone())), Some(Ok(proxy)))
            }
            None => {
                let all = named(["ALL_PROXY", "all_proxy"]);
                (named(["HTTPS_PROXY", "https_proxy"]).or_else(|| all.clone()), all)
            }
        };
        let exempt = first(["NO_PROXY", "no_proxy"]).map(|(_, hosts)| NoProxy::parse(&hosts));
        let exempt = Arc::new(exempt.unwrap_or_default());
        Self { https: https.transpose(), http: http.transpose(), exempt }
    }

    /// Returns the entries of `NO_PROXY` that exempt nothing.
    pub fn odd_exemptions(&self) -> &[String] {
        self.exempt.odd()
    }

    /// Returns the proxy for an endpoint. `None` if it is reached directly.
    ///
    /// # Errors
    /// If the variable that names it is invalid. Connecting directly instead could bypass someone's rules.
    pub fn to(&self, endpoint: &Endpoint) -> Result<Option<&Proxy>, ProxyVariableError> {
        let near = endpoint.is_loopback() || endpoint.is_link_local();
        if near || self.exempt.exempts(endpoint) {
            return Ok(None);
        }
        let proxy = if endpoint.tls() { &self.https } else { &self.http };
        proxy.as_ref().map(Option::as_ref).map_err(|error| *error)
    }
}

impl Proxy {
    fn parse(variable: &'static str, value: &str) -> Result<Self, ProxyVariableError> {
        let parsed = Matcher::builder().all(value).build().intercept(&Uri::from_static(ANY_ENDPOINT));
        let proxy = parsed.and_then(|proxy| {
            let endpoint = Endpoint::parse(&proxy.uri().to_string()).ok().filter(|proxy| !proxy.tls())?;
            Some(Self { endpoint, authorization: proxy.basic_auth().cloned(), named_by: variable })
        });
        // For urllib and curl a second `@` belongs to the password, for browsers to the host.
        let escape = value.matches('@').count() > 1;
        let problem = if escape {
            "in a user or password, write `@` as %40, `:` as %3A, `/` as %2F"
        } else {
            "expected http://HOST:PORT or http://USER:PASSWORD@HOST:PORT"
        };
        proxy.filter(|_| !escape).ok_or(ProxyVariableError(variable, problem))
    }

    /// Returns its address, without the user name and password.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Returns the configuration key or environment variable that names it.
    pub fn named_by(&self) -> &'static str {
        self.named_by
    }
}

/// The syntax of `NO_PROXY`.
pub const EXEMPTIONS: &str = "it takes names, *.NAME, addresses and networks, optionally with :PORT, and `*`";
const ANY_ENDPOINT: &str = "https://endpoint.invalid";

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(configured: Option<&str>, variables: &[(&str, &str)]) -> Proxies {
        let configured = configured.map(|url| Endpoint::parse(url).unwrap());
        let variable =
            |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        Proxies::new(configured.as_ref(), variable)
    }

    fn way(proxies: &Proxies, endpoint: &str) -> String {
        let endpoint = Endpoint::parse(endpoint).unwrap();
        let proxy = proxies.to(&endpoint).unwrap();
        proxy.map_or("straight".into(), |proxy| format!("{} by {}", proxy.endpoint(), proxy.named_by()))
    }

    #[test]
    fn the_file_wins_over_the_environment_and_of_that_the_nearest_variable_counts() {
        let all = [("HTTPS_PROXY", "http://h:1"), ("https_proxy", "http://l:1"), ("ALL_PROXY", "a:1")];
        for (configured, variables, https, http) in [
            (None, &[][..], "straight", "straight"),
            (None, &all, "http://h:1 by HTTPS_PROXY", "http://a:1 by ALL_PROXY"),
            (None, &all[1..], "http://l:1 by https_proxy", "http://a:1 by ALL_PROXY"),
            (None, &all[2..], "http://a:1 by ALL_PROXY", "http://a:1 by ALL_PROXY"),
            (None, &[("HTTP_PROXY", "http://p:1")], "straight", "straight"),
            (None, &[("HTTPS_PROXY", "")], "straight", "straight"),
            (Some("http://f:1"), &all, "http://f:1 by upstream.proxy", "http://f:1 by upstream.proxy"),
        ] {
            let proxies = proxies(configured, variables);
            let found = (way(&proxies, "https://mpc.example"), way(&proxies, "http://mpc.example"));
            assert_eq!(found, (https.into(), http.into()), "{configured:?} {variables:?}");
        }
    }

    #[test]
    fn what_is_exempt_or_near_is_reached_straight() {
        let exempt = ("NO_PROXY", "iam.example, .internal,10.0.0.0/8");
        for (configured, variables) in
            [(Some("http://f:1"), vec![exempt]), (None, vec![exempt, ("ALL_PROXY", "http://f:1")])]
        {
            let proxies = proxies(configured, &variables);
            for (endpoint, straight) in [
                ("https://mpc.example", false),
                ("https://iam.example", true),
                ("https://IAM.example:8443", true),
                ("https://x.iam.example", true),
                ("https://xiam.example", false),
                ("http://mpc.internal", true),
                ("https://10.1.2.3", true),
                ("https://11.1.2.3", false),
                ("http://169.254.169.254", true),
                ("http://[::ffff:169.254.169.254]", true),
                ("http://[fe80::1]", true),
                ("https://[fec0::1]", false),
                ("https://127.9.9.9", true),
                ("https://[::1]", true),
                ("http://localhost:8080", true),
            ] {
                assert_eq!(way(&proxies, endpoint) == "straight", straight, "{endpoint}");
            }
        }
        let everything = proxies(Some("http://f:1"), &[("no_proxy", "*")]);
        assert_eq!(way(&everything, "https://mpc.example"), "straight");
    }

    #[test]
    fn a_variable_may_hold_a_password_which_is_never_shown() {
        let proxies = proxies(None, &[("HTTPS_PROXY", "http://user:p%40ss@h:3128/")]);
        let proxy = proxies.to(&Endpoint::parse("https://mpc.example").unwrap()).unwrap().unwrap();
        assert_eq!(proxy.endpoint().to_string(), "http://h:3128");
        assert_eq!(proxy.authorization.as_ref().unwrap(), "Basic dXNlcjpwQHNz");
        assert!(!format!("{proxy:?}").contains("dXNl"), "{proxy:?}");
    }

    #[test]
    fn a_variable_that_cannot_be_used_is_an_error_and_no_straight_way() {
        for value in
            ["https://h:1", "socks5://h:1", "ftp://h:1", "http://", "h p", "http://h:0", "http://u:s3cr3t@"]
        {
            let proxies = proxies(None, &[("ALL_PROXY", value)]);
            let to = |endpoint| {
                proxies
                    .to(&Endpoint::parse(endpoint).unwrap())
                    .map(|proxy| proxy.is_some())
                    .map_err(|error| error.0)
            };
            assert_eq!(to("https://mpc.example"), Err("ALL_PROXY"), "{value}");
            assert_eq!(to("https://127.0.0.1"), Ok(false), "it does not count there");
        }
        let proxies = |value| proxies(None, &[("HTTPS_PROXY", value)]);
        let error =
            proxies("http://u:s3cr@t@h:1").to(&Endpoint::parse("https://mpc.example").unwrap()).unwrap_err();
        assert!(error.to_string().contains("write `@` as %40"), "{error}");
        let proxies = self::proxies(Some("http://f:1"), &[("HTTPS_PROXY", "nonsense://")]);
        assert_eq!(way(&proxies, "https://mpc.example"), "http://f:1 by upstream.proxy");
    }
}
