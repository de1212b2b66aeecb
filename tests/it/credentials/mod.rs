//! Credential sources through their whole life: first fetch, renewal, outage, expiry, recovery.

mod files;
mod health;
mod lives;
mod reactions;
mod secrets;

use chrono::TimeDelta;
use mpc_auth_proxy::{
    secret::Secret,
    testserver::{
        AccessKey, Agency, IdentityProvider, MetadataMode, Options, Pod, Seen, Service, Trusted, User,
    },
};
use serde_json::Value;

use crate::harness::{self, ACCESS_KEY, Answer, PROJECT, Proxy, SECRET_KEY, Setup, cancel, cloud};

/// A remote source: its configuration, and the server that issues its credentials.
pub(crate) struct Remote {
    pub(crate) name: &'static str,
    pub(crate) service: Service,
    setup: fn(Setup, &str) -> Setup,
}

/// The common prefix of all sources' secrets.
pub(crate) const MARKED: &str = "MARKED";

/// Every remote source.
pub(crate) const REMOTE: [Remote; 10] = [
    Remote {
        name: "metadata",
        service: Service::Metadata,
        setup: |setup, url| setup.credential(&format!("{{ metadata: {{ endpoint: '{url}' }} }}")),
    },
    Remote {
        name: "metadata v1",
        service: Service::Metadata,
        setup: |setup, url| {
            setup.cloud().set_metadata_mode(MetadataMode::V1(http::StatusCode::NOT_FOUND));
            setup.credential(&format!("{{ metadata: {{ endpoint: '{url}' }} }}"))
        },
    },
    Remote {
        name: "pod_identity",
        service: Service::PodIdentity,
        setup: |setup, url| in_a_pod(setup, url).credential("{ pod_identity: {} }"),
    },
    Remote {
        name: "oidc",
        service: Service::Iam,
        setup: |setup, url| {
            setup.credential(&format!(
                "{{ oidc: {{ iam_endpoint: '{url}', idp_id: cce, id_token_file: id-token }} }}"
            ))
        },
    },
    Remote {
        name: "oidc_sts",
        service: Service::Sts,
        setup: |setup, url| {
            setup.credential(&format!(
                "{{ oidc_sts: {{ sts_endpoint: '{url}', provider_urn: 'iam::1:oidc:cce',
                agency_urn: 'iam::1:agency:federated', id_token_file: id-token }} }}"
            ))
        },
    },
    Remote {
        name: "agency",
        service: Service::Sts,
        setup: |setup, url| {
            setup.credential(&format!(
                "{{ agency: {{ base: base, sts_endpoint: '{url}', agency_urn: 'iam::1:agency:mpc' }} }}
  base: {{ files: {{ access_key: base-ak, secret_key: base-sk }} }}"
            ))
        },
    },
    Remote {
        name: "iam_password",
        service: Service::Iam,
        setup: |setup, url| {
            setup.credential(&format!(
            "{{ iam_password: {{ iam_endpoint: '{url}', domain: media, user: mpc, password_file: password }} }}"
        ))
        },
    },
    Remote {
        name: "profile with a provider",
        service: Service::Iam,
        setup: |setup, url| {
            let token = setup.path("id-token").display().to_string();
            let text = format!("[basic]\nidp_id = cce\nid_token_file = {token}\niam_endpoint = {url}\n");
            setup.file("profile", &text).credential("{ profile: { path: profile } }")
        },
    },
    Remote {
        name: "auto in a pod",
        service: Service::PodIdentity,
        setup: |setup, url| in_a_pod(setup, url).credential("{ auto: {} }"),
    },
    Remote {
        name: "auto with a provider",
        service: Service::Iam,
        setup: |setup, url| {
            let token = setup.path("id-token").display().to_string();
            setup
                .variable("HUAWEICLOUD_SDK_IDP_ID", "cce")
                .variable("HUAWEICLOUD_SDK_ID_TOKEN_FILE", &token)
                .variable("HUAWEICLOUD_SDK_IAM_ENDPOINT", url)
                .credential("{ auto: {} }")
        },
    },
];

impl Remote {
    /// A proxy with this source, whose credentials live for this many seconds.
    pub(crate) fn setup(&self, seconds: i64) -> Setup {
        let setup = with_sources(self.name);
        setup.cloud().set_lifetime(self.service, Some(TimeDelta::seconds(seconds)));
        let url = setup.endpoint().to_owned();
        (self.setup)(setup, &url)
    }

    pub(crate) fn named(name: &str) -> &'static Self {
        REMOTE.iter().find(|source| source.name == name).unwrap()
    }

    /// The number of credential requests.
    pub(crate) fn asked(&self, proxy: &Proxy) -> usize {
        proxy.cloud().requests().iter().filter(|seen| is_for_a_credential(seen)).count()
    }
}

fn in_a_pod(setup: Setup, url: &str) -> Setup {
    let token = setup.path("pod-token").display().to_string();
    setup
        .variable("HC_CONTAINER_CREDENTIALS_FULL_URI", &format!("{url}/v1/credentials"))
        .variable("HC_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token)
}

/// A cloud with every source, and the files they need.
fn with_sources(name: &str) -> Setup {
    let marked = |text: &str| Secret::new(format!("{MARKED}-{text}"));
    let provider = IdentityProvider {
        id: "cce".into(),
        urn: "iam::1:oidc:cce".into(),
        id_token: marked("id-token"),
        project_id: PROJECT.into(),
    };
    let agency = |urn: &str, trusts| Agency { urn: urn.into(), trusts, project_id: PROJECT.into() };
    let options = Options {
        access_keys: vec![
            AccessKey::permanent(ACCESS_KEY, SECRET_KEY, PROJECT),
            AccessKey::permanent("BASEACCESSKEY0000001", &format!("{MARKED}-base-secret-key"), PROJECT),
        ],
        users: vec![User {
            domain: "media".into(),
            name: "mpc".into(),
            password: marked("password"),
            project_id: PROJECT.into(),
        }],
        metadata: Some(PROJECT.into()).filter(|_| name.starts_with("metadata")),
        pods: vec![Pod {
            path: "/v1/credentials".into(),
            token: marked("pod-token"),
            project_id: PROJECT.into(),
        }],
        identity_providers: vec![provider],
        agencies: vec![
            agency("iam::1:agency:federated", Trusted::Provider("iam::1:oidc:cce".into())),
            agency("iam::1:agency:mpc", Trusted::AccessKey("BASEACCESSKEY0000001".into())),
        ],
        ..Options::default()
    };
    ["id-token", "pod-token", "password"].into_iter().fold(
        Setup::new()
            .with_cloud(cloud(options))
            .file("base-ak", "BASEACCESSKEY0000001")
            .file("base-sk", &format!("{MARKED}-base-secret-key\n")),
        |setup, name| setup.file(name, &format!("{MARKED}-{name}\n")),
    )
}

/// The requests that issue a credential: the last of two steps.
pub(crate) fn is_for_a_credential(seen: &Seen) -> bool {
    let target = seen.target.as_str();
    let answers = [
        "/openstack/latest/securitykey",
        "/v1/credentials",
        "/v3.0/OS-CREDENTIAL/securitytokens",
        "/v3/auth/tokens?nocatalog=true",
        "/v5/agencies/assume",
        "/v5/agencies/assume-with-oidc",
    ];
    answers.contains(&target)
}

/// Sends this many calls at once, and reads their answers.
fn at_once(proxy: &Proxy, count: usize) -> Vec<Answer> {
    for job in 0..count {
        proxy.queue(&format!("job-{job}"));
    }
    let mut wires: Vec<_> = (0..count).map(|_| proxy.connect()).collect();
    for (job, wire) in wires.iter_mut().enumerate() {
        wire.write(cancel(&format!("job-{job}")));
    }
    wires.iter_mut().map(|wire| wire.answer()).collect()
}

/// Cancels a waiting job.
fn call(proxy: &Proxy) -> Answer {
    proxy.queue("100211");
    proxy.send(cancel("100211"))
}

/// The cancels that upstream saw.
fn cancels(proxy: &Proxy) -> Vec<Seen> {
    proxy.cloud().requests().into_iter().filter(|seen| seen.method == "DELETE").collect()
}

/// The state of the credential `prod` in `/status`.
fn status(proxy: &Proxy) -> Value {
    let status = proxy.probe("/status").json();
    let credentials = status["credentials"].as_array().unwrap();
    credentials.iter().find(|credential| credential["name"] == "prod").unwrap().clone()
}

/// The value of a series.
fn metric(proxy: &Proxy, series: &str) -> f64 {
    let text = proxy.probe("/metrics").body;
    let line = text.lines().find(|line| line.starts_with(series));
    line.unwrap_or_else(|| panic!("no {series} in {text}")).rsplit(' ').next().unwrap().parse().unwrap()
}
