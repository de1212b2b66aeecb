//! A proxy about to start: its configuration, in its own folder.
//!
//! By default it has one listener, `app`, whose caller may cancel every job of one project.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant, SystemTime},
};

use mpc_auth_proxy::{
    clock,
    testserver::{Cloud, JobState, TestServer},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{ACCESS_KEY, BOUND, Proxy, SECRET_KEY, cloud, options};

pub(crate) struct Setup {
    pub(super) folder: TempDir,
    pub(super) cloud: TestServer,
    policy: String,
    listeners: Vec<String>,
    endpoint: String,
    project: String,
    credential: String,
    sections: String,
    ops: String,
    prefix: Vec<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Setup {
    pub(crate) fn new() -> Self {
        let cloud = cloud(options());
        cloud.cloud().put_job(PROJECT, "100211", JobState::Waiting);
        let setup = Self {
            folder: tempfile::tempdir().unwrap(),
            policy: "policy.yaml".into(),
            listeners: vec!["{ name: app, bind: 127.0.0.1:0 }".into()],
            endpoint: cloud.url(),
            cloud,
            project: String::new(),
            credential: "{ files: { access_key: ak, secret_key: sk } }".into(),
            sections: String::new(),
            ops: "bind: 127.0.0.1:0".into(),
            prefix: Vec::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
        };
        let token_digest = hex::encode(Sha256::digest(TOKEN));
        setup
            .file("ak", ACCESS_KEY)
            .file("sk", SECRET_KEY)
            .file("oncall.sha256", &token_digest)
            .policy(POLICY)
    }

    pub(crate) fn cloud(&self) -> &Cloud {
        self.cloud.cloud()
    }

    /// Where upstream is.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Sets another cloud as upstream.
    pub(crate) fn with_cloud(mut self, cloud: TestServer) -> Self {
        cloud.cloud().put_job(PROJECT, "100211", JobState::Waiting);
        self.endpoint = cloud.url();
        Self { cloud, ..self }
    }

    /// Sets something other than the cloud as upstream.
    pub(crate) fn upstream(self, endpoint: &str) -> Self {
        Self { endpoint: endpoint.into(), ..self }
    }

    /// Replaces the listener `app`.
    pub(crate) fn listeners(self, listeners: &[&str]) -> Self {
        Self { listeners: listeners.iter().map(|listener| (*listener).to_owned()).collect(), ..self }
    }

    /// Two listeners: `app` identifies its caller; on `team` callers use tokens.
    pub(crate) fn with_team(self) -> Self {
        self.listeners(&[
            "{ name: app, bind: 127.0.0.1:0 }",
            "{ name: team, bind: 127.0.0.1:0, bearer: true }",
        ])
    }

    /// More keys of the project: `cancel_form: v1`.
    pub(crate) fn project(self, keys: &str) -> Self {
        Self { project: format!("    {keys}\n"), ..self }
    }

    /// Another project besides `media-prod`, with the same credential.
    pub(crate) fn another_project(mut self, name: &str, endpoint: &str) -> Self {
        let id = format!("{name}-id");
        self.project
            .push_str(&format!("  - {{ name: {name}, id: {id}, endpoint: '{endpoint}', credential: prod, unsafe_plaintext: true }}\n"));
        self
    }

    /// Runs it on one core, so that its one worker shares upstream connections between all callers.
    pub(crate) fn on_one_core(self) -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
        let first: String = allowed.trim().chars().take_while(char::is_ascii_digit).collect();
        let prefix = ["taskset".into(), "-c".into(), first].into_iter().chain(self.prefix).collect();
        Self { prefix, ..self }
    }

    /// Makes opening this file hang for a minute, as on a mount whose server is gone, or until [`go_on`]. `None` if that is
    /// not possible.
    pub(crate) fn hanging_at(self, path: &Path) -> Option<Self> {
        self.hanging_in("openat", path)
    }

    /// The same with other system calls.
    pub(crate) fn hanging_in(self, calls: &str, path: &Path) -> Option<Self> {
        if !Command::new("strace").args(["-qq", "true"]).status().is_ok_and(|status| status.success()) {
            eprintln!("without strace nothing can be made to hang");
            return None;
        }
        let hang = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-P", path.to_str().unwrap()];
        let inject = format!("inject={calls}:delay_enter=60s");
        Some(self.under(&[&hang[..], &["-e", &inject]].concat()))
    }

    /// Another source of the credential.
    pub(crate) fn credential(self, source: &str) -> Self {
        Self { credential: source.into(), ..self }
    }

    /// A section of `proxy.yaml`: `limits: { headers: 8 }`.
    pub(crate) fn section(mut self, section: &str) -> Self {
        self.sections.push_str(section);
        self.sections.push('\n');
        self
    }

    /// More keys of `ops`: `hosts: [proxy]`.
    pub(crate) fn ops(mut self, keys: &str) -> Self {
        self.ops = format!("{}, {keys}", self.ops);
        self
    }

    /// Another address for probes.
    pub(crate) fn ops_bind(self, address: &str) -> Self {
        Self { ops: format!("bind: '{address}'"), ..self }
    }

    /// Another place of the policy.
    pub(crate) fn policy_file(self, path: &str) -> Self {
        Self { policy: path.into(), ..self }
    }

    /// Replaces the policy file.
    pub(crate) fn policy(self, text: &str) -> Self {
        self.file("policy.yaml", text)
    }

    /// A policy that allows everything to the callers of `app` and `team`.
    pub(crate) fn everything_allowed(self) -> Self {
        self.policy(
            "version: 1
callers:
  editor-api: { identify: [ { listener: app } ] }
  oncall: { identify: [ { bearer: { sha256_file: oncall.sha256 } } ] }
rules:
  - { id: all, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }
",
        )
    }

    /// A file beside `proxy.yaml`, readable by its owner only.
    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        write_private(self.path(name), text);
        self
    }

    /// A folder beside `proxy.yaml`.
    pub(crate) fn folder(self, name: &str) -> Self {
        fs::create_dir(self.path(name)).unwrap();
        self
    }

    /// A command that runs the proxy, such as `nice`.
    pub(crate) fn under(self, prefix: &[&str]) -> Self {
        Self { prefix: prefix.iter().map(|word| (*word).to_owned()).collect(), ..self }
    }

    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Sets the limit of open files.
    pub(crate) fn open_files(self, most: usize) -> Self {
        self.under(&["/bin/sh", "-c", &format!("ulimit -n {most} && exec \"$0\" \"$@\"")])
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts it and waits until it listens.
    pub(crate) fn start(self) -> Proxy {
        let child = self.command("run").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Proxy::new(child, self)
    }

    /// Starts it with a socket passed under this name, as by systemd.
    pub(crate) fn start_with(self, name: &str, socket: impl Into<OwnedFd>) -> Proxy {
        self.passing(name).start_on(socket)
    }

    /// Starts it with this standard input.
    pub(crate) fn start_on(self, input: impl Into<OwnedFd>) -> Proxy {
        let mut command = self.command("run");
        command.stdin(input.into()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Proxy::new(command.spawn().unwrap(), self)
    }

    /// Passes its standard input as a socket of this name.
    pub(crate) fn passing(self, name: &str) -> Self {
        let script = format!(
            "export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES={name}; exec \"$0\" \"$@\" 3<&0 </dev/null"
        );
        self.under(&["/bin/sh", "-c", &script])
    }

    /// Runs a command that ends by itself on this configuration. One that does not is killed and has no exit code.
    pub(crate) fn run(&self, command: &str) -> Output {
        let mut child = self.command(command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let end = Instant::now() + BOUND;
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > end {
                child.kill().unwrap();
            }
            sleep(Duration::from_millis(2));
        }
        child.wait_with_output().unwrap()
    }

    /// The binary with the configuration and an otherwise empty environment.
    pub(crate) fn command(&self, command: &str) -> Command {
        write_private(self.path("proxy.yaml"), &self.proxy_yaml());
        let mut words = self.prefix.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_mpc-auth-proxy")]);
        let mut process = Command::new(words.next().unwrap());
        process.env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        process
            .args(words)
            .args(command.split(' '))
            .arg("--config")
            .arg(self.path("proxy.yaml"))
            .args(&self.arguments);
        process
    }

    fn proxy_yaml(&self) -> String {
        let listeners: String = self.listeners.iter().map(|listener| format!("  - {listener}\n")).collect();
        let Self { policy, endpoint, project, credential, sections, ops, .. } = self;
        format!(
            "version: 1
policy: {policy}
listeners:
{listeners}ops: {{ {ops} }}
projects:
  - name: media-prod
    id: {PROJECT}
    endpoint: {endpoint}
    credential: prod
{project}credentials:
  prod: {credential}
{sections}"
        )
    }
}

/// A copy of the binary for another user, made by another process: if this process had it open for writing, children of
/// other tests would inherit that, and it could not be run.
pub(crate) fn copy_program(to: &Path) {
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_mpc-auth-proxy")).arg(to).status();
    assert!(copied.unwrap().success());
}

/// Lets a hanging process continue; until then it could not even end.
pub(crate) fn go_on(process: u32) {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).unwrap();
    match tracer.trim().parse().unwrap() {
        0 => {}
        tracer => kill(Pid::from_raw(tracer), Signal::SIGKILL).unwrap(),
    }
}

/// Writes atomically, as Kubernetes does: the file may be read at any time.
pub(super) fn write_private(path: PathBuf, text: &str) {
    let fresh = path.with_extension("fresh");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    // The file looks old, so a proxy that starts now need not wait until it is stable.
    file.set_modified(SystemTime::from(clock::now()) - Duration::from_secs(60)).unwrap();
    fs::rename(fresh, path).unwrap();
}

pub(crate) const PROJECT: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f9";
/// The bearer token whose digest is in `oncall.sha256`.
pub(crate) const TOKEN: &str = "oncall-bearer-token-0123456789";

const POLICY: &str = "version: 1
callers:
  editor-api: { identify: [ { listener: app } ] }
rules:
  - { id: editor-cancels, effect: allow, callers: [editor-api], actions: ['*'], projects: ['*'], jobs: ['*'] }
";
