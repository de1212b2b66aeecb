//! `demo`: the real proxy, the stand-in cloud, two callers and a queue of jobs, on loopback.
//!
//! Nothing is simplified: the configuration is read from files, and every signature is verified.

use std::{
    fs,
    io::{self, Write},
    net::TcpListener,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    pin::pin,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, anyhow};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::time::sleep;
use tracing::Level;

use super::{log, output, signals::Stop, start::runtime};
use crate::{
    config::{self, LogFormat},
    secret::Secret,
    server::{Inherited, Proxy, Running},
    testserver::{AccessKey, JobState, Options, Seen, TestServer},
};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Stop after the tour instead of staying up for you to try
    #[arg(long)]
    once: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let _log = log::start(LogFormat::Text, Level::WARN)?;
    runtime()?.block_on(async {
        let demo = Demo::start().await?;
        let tour = demo.tour().await;
        if tour.is_ok() && !args.once {
            demo.wait_for_interrupt().await?;
        }
        demo.stop().await;
        tour.map(|()| ExitCode::SUCCESS)
    })
}

mod step;

use step::{BODY, STEPS, Step, StepCaller};

struct Demo {
    folder: Folder,
    cloud: TestServer,
    proxy: Running,
    /// The addresses of the listeners of `editor-api` and `packager`.
    app: String,
    team: String,
}

impl Demo {
    async fn start() -> anyhow::Result<Self> {
        let folder = Folder::new()?;
        let secret_key = Secret::new(random_text());
        let key = AccessKey::permanent(ACCESS_KEY, secret_key.expose(), PROJECT_ID);
        let options = Options { access_keys: vec![key], ..Options::default() };
        let cloud = TestServer::start(format!("127.0.0.1:{}", free_port(8899)?).parse()?, options)
            .context("cannot start the stand-in cloud")?;
        for (job, state, user_data) in JOBS {
            cloud.cloud().put_job(PROJECT_ID, job, state);
            cloud.cloud().set_job_request(PROJECT_ID, job, json!({ "user_data": user_data }));
        }
        let (app, team) =
            (format!("127.0.0.1:{}", free_port(8080)?), format!("127.0.0.1:{}", free_port(8081)?));
        let token = random_text();
        folder.write("ak", ACCESS_KEY)?;
        folder.write("sk", secret_key.expose())?;
        folder.write("packager.token", &token)?;
        folder.write("packager.sha256", &hex::encode(Sha256::digest(&token)))?;
        folder.write("policy.yaml", POLICY)?;
        folder.write(
            "proxy.yaml",
            &PROXY.replace("APP", &app).replace("TEAM", &team).replace("ENDPOINT", &cloud.url()),
        )?;
        let path = folder.path("proxy.yaml");
        let loaded = config::load(&path).map_err(|report| anyhow!("{report}"))?;
        let proxy = Proxy::new(path, loaded, Inherited::none()).await?.serve();
        Ok(Self { folder, cloud, proxy, app, team })
    }

    async fn tour(&self) -> anyhow::Result<()> {
        self.introduce()?;
        for (number, step) in self.steps().enumerate() {
            self.show(number + 1, &step).await?;
        }
        Ok(())
    }

    fn introduce(&self) -> io::Result<()> {
        let (app, team) = (format!("http://{}", self.app), format!("http://{}", self.team));
        let width = app.len().max(team.len());
        let (gap, endpoint, folder) = (" ".repeat(width), self.cloud.url(), self.folder.0.display());
        say(&format!(
            "mpc-auth-proxy demo: everything on this machine, no account, no real key.

    editor-api     ──▶ {app:width$} ──┐
                       {gap}   ├──▶ mpc-auth-proxy ──signed──▶ {endpoint}
    packager       ──▶ {team:width$} ──┘                               (a stand-in for Huawei MPC)

Anybody who reaches its listener is editor-api; packager has a bearer token. Neither has a cloud key:
the proxy signs with its own, and the stand-in verifies every signature. Each may view and cancel only
its own jobs, whose `user_data` begins with its name, and create jobs that read from `media-in` and
write to its own folder in `media-out`.
Configuration, policy and audit log are in {folder}
"
        ))
    }

    fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        STEPS.into_iter().map(|(who, method, target, title)| Step {
            title,
            authority: if who == StepCaller::Editor { &self.app } else { &self.team },
            method,
            target,
            token: (who == StepCaller::Packager).then(|| self.folder.path("packager.token")),
            body: (method == "POST").then_some(BODY),
        })
    }

    async fn show(&self, number: usize, step: &Step<'_>) -> anyhow::Result<()> {
        say(&format!("\n{number}. {}\n\n    $ {}\n", step.title, step.curl()))?;
        let (sent_before, audited_before) = (self.cloud.cloud().requests().len(), self.audit()?.len());
        let answer = step.call().await?;
        for line in answer.lines().filter(|line| !line.is_empty()) {
            say(&format!("    {line}\n"))?;
        }
        let requests = self.cloud.cloud().requests();
        let seen = requests.get(sent_before..).unwrap_or_default();
        say(if seen.is_empty() { "  upstream saw nothing\n" } else { "  upstream saw\n" })?;
        for Seen { method, target, .. } in seen {
            say(&format!("    {method} {target}\n"))?;
        }
        if let Some(seen) = seen.last() {
            let authorization = seen.header("authorization").unwrap_or_default();
            say(&format!("    authorization: {authorization}\n"))?;
        }
        let log = self.audit()?;
        let line = log.get(audited_before..).unwrap_or_default().trim();
        say(&format!(
            "  audit record (one line of JSON; here without its empty fields)\n    {}\n",
            readable(line)
        ))
        .map_err(Into::into)
    }

    /// Returns the audit log so far. A record is written just after its answer.
    fn audit(&self) -> io::Result<String> {
        fs::read_to_string(self.folder.path("audit.log"))
    }

    async fn wait_for_interrupt(&self) -> anyhow::Result<()> {
        let endpoint = self.cloud.url();
        say(&format!(
            "
The demo stays up. Paste the lines above; break {}/proxy.yaml and run
`mpc-auth-proxy check --config` on it; or start a job, as only the cloud can:

    $ curl -X PUT {endpoint}/_test/jobs/{PROJECT_ID}/100212 -d '{{\"state\":\"PROCESSING\"}}'

Audit records follow as they are written. Ctrl-C stops the demo and removes its files.

",
            self.folder.0.display()
        ))?;
        let mut shown = self.audit()?.len();
        let mut signals = Stop::new()?;
        let mut stop = pin!(signals.asked());
        loop {
            tokio::select! {
                _ = &mut stop => return Ok(()),
                () = sleep(Duration::from_millis(200)) => {}
            }
            let log = self.audit()?;
            for line in log.get(shown..).unwrap_or_default().lines() {
                say(&format!("    {}\n", readable(line)))?;
            }
            shown = log.len();
        }
    }

    async fn stop(self) {
        self.proxy.drain().await;
        self.cloud.stop().await;
    }
}

/// The demo's folder, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("mpc-auth-proxy-demo-{}", std::process::id()));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.path(name);
        write_private(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // If it cannot be removed, it is in the system's temporary folder.
        drop(fs::remove_dir_all(&self.0));
    }
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

/// Returns the preferred port, or any other if it is taken.
fn free_port(preferred: u16) -> io::Result<u16> {
    let listener =
        TcpListener::bind(("127.0.0.1", preferred)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)))?;
    Ok(listener.local_addr()?.port())
}

fn random_text() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Returns an audit line without its empty fields.
fn readable(line: &str) -> String {
    let Ok(serde_json::Value::Object(mut fields)) = serde_json::from_str(line) else {
        return line.to_owned();
    };
    fields.retain(|_, value| !value.is_null());
    serde_json::Value::Object(fields).to_string()
}

fn say(text: &str) -> io::Result<()> {
    output::stdout().write_all(text.as_bytes())
}

const ACCESS_KEY: &str = "DEMOACCESSKEY0000001";
const PROJECT_ID: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f9";
/// The jobs in the cloud, with their `user_data`.
const JOBS: [(&str, JobState, &str); 4] = [
    ("100211", JobState::Waiting, "editor-api/clip-7"),
    ("100212", JobState::Waiting, "editor-api/clip-8"),
    ("100213", JobState::Processing, "editor-api/clip-6"),
    ("100214", JobState::Waiting, "packager/trailer-1"),
];

const PROXY: &str = "version: 1
policy: policy.yaml

listeners:
  - { name: app, bind: APP }
  - { name: team, bind: TEAM, bearer: true }

projects:
  - name: media-prod
    id: 0a1b2c3d4e5f60718293a4b5c6d7e8f9
    endpoint: ENDPOINT
    credential: demo

credentials:
  demo: { files: { access_key: ak, secret_key: sk } }

audit: { sink: audit.log }
";

const POLICY: &str = "version: 1

callers:
  editor-api:
    identify: [ { listener: app } ]
  packager:
    identify: [ { bearer: { sha256_file: packager.sha256 } } ]

rules:
  - id: own-jobs
    effect: allow
    callers: [editor-api, packager]
    actions: [mpc:editingTask:view, mpc:editingTask:delete]
    projects: [media-prod]
    jobs: [\"*\"]
    condition:
      StringMatch: { mpc:UserData: [\"${proxy:Caller}/*\"] }
  - id: create-own-jobs
    effect: allow
    callers: [editor-api, packager]
    actions: [mpc:editingTask:create]
    projects: [media-prod]
    jobs: [\"*\"]
    condition:
      StringMatch: { mpc:UserData: [\"${proxy:Caller}/*\"] }
      \"ForAllValues:StringMatch\": { mpc:Input: [\"media-in/*\"], mpc:Output: [\"media-out/${proxy:Caller}/*\"] }
";
