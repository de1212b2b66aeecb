//! `testserver`: runs [`crate::testserver`] by itself, as a stand-in cloud for users' own tests.
//!
//! It prints what to paste, logs a line per request, and runs until it is stopped. Everything it prints is made up: no real
//! key belongs here.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use tracing::Level;

use super::{log, output};
use super::{run::cannot_bind, signals::Stop, start::runtime};
use crate::config::LogFormat;
use crate::operation::Segment;
use crate::secret::Secret;
use crate::testserver::{
    AccessKey, Agency, IdentityProvider, JobState, Options, Pod, TestServer, Trusted, User,
};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The loopback address to listen on; port 0 takes any free port
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8899", value_parser = loopback)]
    bind: SocketAddr,
    /// The id of its only project
    #[arg(long, value_name = "ID", default_value = "0a1b2c3d4e5f60718293a4b5c6d7e8f9", value_parser = project)]
    project: String,
}

/// Runs until SIGINT or SIGTERM.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let _log = log::start(LogFormat::Auto, Level::INFO)?;
    runtime()?.block_on(async {
        let server = match start(args) {
            Ok(server) => server,
            Err(error) => {
                return cannot_bind(&anyhow!(error).context(format!("cannot listen on {}", args.bind)));
            }
        };
        // Before anything is printed, because its reader may send a signal at once.
        let mut stop = Stop::new().context("cannot listen for signals")?;
        output::stdout().write_all(instructions(&server.url(), args).as_bytes())?;
        stop.asked().await;
        server.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

fn start(args: &Args) -> io::Result<TestServer> {
    let server = TestServer::start(args.bind, options(&args.project))?;
    for (job_id, state) in JOBS {
        server.cloud().put_job(&args.project, job_id, *state);
    }
    Ok(server)
}

/// Returns one of everything, for the one project.
fn options(project_id: &str) -> Options {
    let agency =
        |urn: &str, trusts| Agency { urn: urn.to_owned(), trusts, project_id: project_id.to_owned() };
    Options {
        access_keys: vec![AccessKey::permanent(ACCESS_KEY, SECRET_KEY, project_id)],
        users: vec![User {
            domain: DOMAIN.to_owned(),
            name: USER.to_owned(),
            password: Secret::new(PASSWORD),
            project_id: project_id.to_owned(),
        }],
        metadata: Some(project_id.to_owned()),
        pods: vec![Pod {
            path: POD_PATH.to_owned(),
            token: Secret::new(POD_TOKEN),
            project_id: project_id.to_owned(),
        }],
        identity_providers: vec![IdentityProvider {
            id: IDP_ID.to_owned(),
            urn: PROVIDER_URN.to_owned(),
            id_token: Secret::new(ID_TOKEN),
            project_id: project_id.to_owned(),
        }],
        agencies: vec![
            agency(AGENCY_BY_ID_TOKEN, Trusted::Provider(PROVIDER_URN.to_owned())),
            agency(AGENCY_BY_KEY, Trusted::AccessKey(ACCESS_KEY.to_owned())),
        ],
        ..Options::default()
    }
}

/// Returns what to paste where.
fn instructions(url: &str, args: &Args) -> String {
    let project = &args.project;
    let credentials = credentials(url);
    let jobs = JOBS.iter().map(|(job_id, _)| *job_id).collect::<Vec<_>>().join(" ");
    format!(
        r#"Stand-in for Huawei's MPC, IAM, STS, ECS metadata and CCE pod identity at {url}
It verifies every credential. None of these is secret.

The key, in the proxy's environment:
  export HUAWEICLOUD_SDK_AK={ACCESS_KEY}
  export HUAWEICLOUD_SDK_SK={SECRET_KEY}

The project, in proxy.yaml:
  projects:
    - {{ name: test, id: "{project}", endpoint: "{url}", credential: test }}
  credentials:
    test: {{ environment: {{}} }}

Another credential instead:
{credentials}
with the files and environment variables that they read:
  printf %s {ID_TOKEN} > id-token
  printf %s {PASSWORD} > password
  printf %s {POD_TOKEN} > pod-token
  export HC_CONTAINER_CREDENTIALS_FULL_URI={url}{POD_PATH}
  export HC_CONTAINER_AUTHORIZATION_TOKEN_FILE=$PWD/pod-token

A user token for a password, as from Huawei's IAM:
  curl -i {url}/v3/auth/tokens -H 'Content-Type: application/json' -d '{{"auth":{{"identity":{{"methods":["password"],
    "password":{{"user":{{"name":"{USER}","password":"{PASSWORD}","domain":{{"name":"{DOMAIN}"}}}}}}}},"scope":{{"project":{{"id":"{project}"}}}}}}}}'

The jobs: {jobs}
  curl -X PUT {url}/_test/jobs/{project}/another -d '{{"state":"WAITING"}}'
  curl -X PUT {url}/_test/jobs/{project}/100300 -d '{{"state":"WAITING","create":{{"user_data":"editor-api/1"}}}}'

The key's IAM permissions, and MPC's differences from its documentation:
  curl -X PUT {url}/_test/keys/{ACCESS_KEY}/actions -d '["mpc:editingTask:delete"]'
  curl -X PUT {url}/_test/differences -d '["numeric_ids",{{"lacks":{{"version":1,"member":"edit_task_req"}}}}]'
  curl -X DELETE {url}/_test/differences

Requests received:
  curl {url}/_test/requests

The lifetime of credentials issued from now on, in seconds:
  curl -X PUT {url}/_test/lifetimes -d '{{"iam":600,"sts":600,"metadata":600,"pod_identity":600}}'

Faults, for the next requests or until cleared:
  curl -X PUT {url}/_test/faults -d '[{{"fault":"reset","times":1}}]'
  curl -X PUT {url}/_test/faults -d '[{{"fault":{{"throttled":{{"retry_after_s":1}}}},"times":2}},{{"fault":{{"latency_ms":250}}}}]'
  curl -X PUT {url}/_test/faults -d '[{{"fault":"internal_error","service":"sts"}}]'
  curl -X DELETE {url}/_test/faults
Other faults: unavailable, unauthorized, token_revoked, lose_answer, hang, echo, garbage. Services: mpc, iam, sts, metadata, pod_identity.

"#
    )
}

/// Returns each credential source as in `proxy.yaml`.
fn credentials(url: &str) -> String {
    format!(
        r#"    test: {{ metadata: {{ endpoint: "{url}" }} }}
    test: {{ pod_identity: {{}} }}
    test: {{ oidc: {{ iam_endpoint: "{url}", idp_id: {IDP_ID}, id_token_file: id-token }} }}
    test: {{ oidc_sts: {{ sts_endpoint: "{url}", provider_urn: "{PROVIDER_URN}", agency_urn: "{AGENCY_BY_ID_TOKEN}", id_token_file: id-token }} }}
    test: {{ iam_password: {{ iam_endpoint: "{url}", domain: {DOMAIN}, user: {USER}, password_file: password }} }}
    test: {{ agency: {{ base: keys, sts_endpoint: "{url}", agency_urn: "{AGENCY_BY_KEY}" }} }}
    keys: {{ environment: {{}} }}             # the agency's base
"#
    )
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "expected IP:PORT, such as 127.0.0.1:8899")?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err("only loopback (127.0.0.1 or [::1]) is allowed: it shows all requests to anyone".to_owned())
    }
}

fn project(text: &str) -> Result<String, String> {
    let id = Segment::parse(text).ok_or("1 to 64 characters of A-Z a-z 0-9 _ -")?;
    Ok(id.to_string())
}

const ACCESS_KEY: &str = "TESTSERVERACCESSKEY0";
const SECRET_KEY: &str = "not-a-secret-only-for-the-testserver";
const DOMAIN: &str = "testserver";
const USER: &str = "ci";
const PASSWORD: &str = "not-a-secret";
const POD_PATH: &str = "/pod-identity";
const POD_TOKEN: &str = "not-a-secret-of-the-pod";
const IDP_ID: &str = "testserver";
const ID_TOKEN: &str = "not-a-secret-id-token";
const PROVIDER_URN: &str = "iam::testserver:oidcProvider:testserver";
const AGENCY_BY_ID_TOKEN: &str = "iam::testserver:agency:by-id-token";
const AGENCY_BY_KEY: &str = "iam::testserver:agency:by-key";
const JOBS: &[(&str, JobState)] = &[
    ("waiting-1", JobState::Waiting),
    ("waiting-2", JobState::Waiting),
    ("waiting-3", JobState::Waiting),
    ("processing-1", JobState::Processing),
    ("processing-2", JobState::Processing),
    ("succeeded-1", JobState::Succeeded),
    ("succeeded-2", JobState::Succeeded),
    ("failed-1", JobState::Failed),
    ("failed-2", JobState::Failed),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{cli::arguments::parse, config};

    fn parsed(args: &[&str]) -> Result<Args, String> {
        parse(args).map_err(|error| error.to_string())
    }

    #[test]
    fn it_listens_on_loopback_only() {
        assert_eq!(parsed(&[]).unwrap().bind, "127.0.0.1:8899".parse().unwrap());
        assert!(parsed(&["--bind", "[::1]:0"]).is_ok());
        for address in ["0.0.0.0:8899", "[::]:8899", "10.0.0.1:1"] {
            let error = parsed(&["--bind", address]).err().unwrap();
            assert!(error.contains("only loopback"), "{error}");
        }
        assert!(parsed(&["--bind", "localhost"]).err().unwrap().contains("as 127.0.0.1:8899"));
        assert!(parsed(&["--project", "a/b"]).err().unwrap().contains("1 to 64 characters"));
    }

    #[tokio::test]
    async fn what_it_prints_is_what_it_serves() {
        let args = parsed(&["--bind", "127.0.0.1:0", "--project", "p"]).unwrap();
        let server = start(&args).unwrap();
        let printed = instructions(&server.url(), &args);
        for (job_id, state) in JOBS {
            assert_eq!(server.cloud().job_state("p", job_id), Some(*state));
            assert!(printed.contains(job_id));
        }
        for text in [
            &*format!("export HUAWEICLOUD_SDK_AK={ACCESS_KEY}\n"),
            &format!("export HUAWEICLOUD_SDK_SK={SECRET_KEY}\n"),
            &format!("id: \"p\", endpoint: \"{}\"", server.url()),
        ] {
            assert!(printed.contains(text), "{text}");
        }
        let faults: Vec<_> = printed.lines().filter_map(|line| line.split("faults -d '").nth(1)).collect();
        assert_eq!(faults.len(), 3);
        for json in faults {
            let json = json.strip_suffix('\'').unwrap();
            assert!(serde_json::from_str::<Vec<crate::testserver::Planned>>(json).is_ok(), "{json}");
        }
    }

    #[test]
    fn each_credential_it_prints_is_known_to_the_stand_in() {
        let options = options("p");
        let printed = instructions("http://127.0.0.1:1", &parsed(&[]).unwrap());
        let (_, printed) = printed.split_once("credential instead:\n").unwrap();
        let (printed, environment) = printed.split_once("with the files").unwrap();
        let credentials: Vec<serde_json::Value> = printed
            .lines()
            .filter(|line| !line.is_empty())
            .map(|line| serde_yaml::from_str(line).unwrap())
            .collect();
        let (provider, user) = (&options.identity_providers[0], &options.users[0]);
        let [by_id_token, by_key] = [0, 1].map(|agency| &options.agencies[agency].urn);
        let url = "http://127.0.0.1:1";
        let expected = json!([
            { "test": { "metadata": { "endpoint": url } } },
            { "test": { "pod_identity": {} } },
            { "test": { "oidc": { "iam_endpoint": url, "idp_id": provider.id, "id_token_file": "id-token" } } },
            { "test": { "oidc_sts": { "sts_endpoint": url, "provider_urn": provider.urn,
                "agency_urn": by_id_token, "id_token_file": "id-token" } } },
            { "test": { "iam_password": { "iam_endpoint": url, "domain": user.domain, "user": user.name,
                "password_file": "password" } } },
            { "test": { "agency": { "base": "keys", "sts_endpoint": url, "agency_urn": by_key } } },
            { "keys": { "environment": {} } },
        ]);
        assert_eq!(json!(credentials), expected);
        for (secret, file) in [
            (&provider.id_token, "id-token"),
            (&user.password, "password"),
            (&options.pods[0].token, "pod-token"),
        ] {
            let line = format!("  printf %s {} > {file}\n", secret.expose());
            assert!(environment.contains(&line), "{line}");
        }
        assert!(environment.contains(&format!("FULL_URI={url}{}\n", options.pods[0].path)));
    }

    #[test]
    fn each_credential_it_prints_can_be_pasted_into_proxy_yaml() {
        let printed = instructions("http://127.0.0.1:1", &parsed(&[]).unwrap());
        let project = printed.lines().find(|line| line.contains("credential: test")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write(
            "policy.yaml",
            "version: 1\ncallers: { ci: { identify: [ { listener: app } ] } }\nrules:\n  \
             - { id: all, effect: allow, callers: [ci], actions: ['*'], projects: [test], jobs: ['*'] }\n",
        );
        for name in ["id-token", "password"] {
            write(name, "a-secret");
        }
        let mut pasted = 0;
        for line in printed.lines().filter(|line| line.starts_with("    test: ")) {
            let base = if line.contains("base: keys") { "    keys: { environment: {} }" } else { "" };
            assert!(printed.contains(base));
            let listeners = "listeners: [ { name: app, bind: 127.0.0.1:8080 } ]";
            write(
                "proxy.yaml",
                &format!(
                    "version: 1\npolicy: policy.yaml\n{listeners}\nprojects:\n{project}\ncredentials:\n{line}\n{base}\n"
                ),
            );
            if let Err(report) = config::load(&folder.path().join("proxy.yaml")) {
                panic!("{line}: {report}");
            }
            pasted += 1;
        }
        assert_eq!(pasted, 7);
    }
}
