//! `run`: the proxy, as a process with signals and exit codes.
//!
//! Its phases: signals, configuration, sandbox, bind, credentials, serve, drain, exit. A signal to stop works in each of
//! them.

use std::{convert::Infallible, path::PathBuf, process::ExitCode, thread, time::Duration};

use anyhow::Context;
use tokio::{runtime::Handle, sync::oneshot, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::Level;

use super::{
    environment, errors, exit, log,
    signals::{ReopenSignal, StartupSignals, Stop},
    start::{LIMITS, runtime_with},
    systemd::Systemd,
};
use crate::{
    audit::OpenError,
    config::{self, Loaded, LogFormat},
    ops::Ops,
    reload::{load_when_still, log_findings},
    sandbox::Sandbox,
    server::{Drained, Inherited, Proxy, Running, StartError, Unfinished},
};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The proxy's configuration
    #[arg(long, value_name = "FILE", env = "MPC_AUTH_PROXY_CONFIG")]
    config: PathBuf,
    /// Exit with 5 if a credential is missing at start: at once after a lasting error, else after 30 s
    #[arg(long, env = "MPC_AUTH_PROXY_REQUIRE_CREDENTIALS", value_parser = environment::switch)]
    require_credentials: bool,
    /// error, warn, info, debug or trace; overrides the configuration
    #[arg(long, value_name = "LEVEL", env = "MPC_AUTH_PROXY_LOG_LEVEL")]
    log_level: Option<Level>,
    /// auto, json or text; overrides the configuration
    #[arg(long, value_name = "FORMAT", env = "MPC_AUTH_PROXY_LOG_FORMAT", value_enum, ignore_case = true)]
    log_format: Option<LogFormat>,
    /// Do not restrict files, privileges and core dumps: for debuggers
    #[arg(long, env = "MPC_AUTH_PROXY_NO_SANDBOX", value_parser = environment::switch)]
    no_sandbox: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    errors::tell_as_log(args.log_format.unwrap_or(LogFormat::Auto));
    let early = StartupSignals::install().context("cannot listen for signals")?;
    // Before any secret is read.
    let sandbox = if args.no_sandbox { None } else { Some(Sandbox::begin()) };
    let loaded = match load_when_still(&args.config) {
        Ok(loaded) => loaded,
        Err(report) => {
            let format = args.log_format.or_else(|| config::log_format(&args.config));
            errors::tell_as_log(format.unwrap_or(LogFormat::Auto));
            errors::print_report(&report);
            return Ok(ExitCode::from(exit::CONFIG));
        }
    };
    // Before there is a second thread.
    let inherited = Inherited::of_this_process();
    let sandbox = sandbox.map_or_else(
        || Sandbox::none("--no-sandbox"),
        |sandbox| sandbox.confine(&loaded.settings, &loaded.warnings),
    );
    let settings = &loaded.settings;
    let _log = log::start(
        args.log_format.unwrap_or(settings.log.format),
        args.log_level.unwrap_or(settings.log.level),
    )
    .context("cannot start the log")?;
    sandbox.log();
    log_findings(&loaded.warnings);
    let (runtime, stop, hang_up) = runtime_with(early)?;
    let signals = Signals { stop, hang_up, by_operator: CancellationToken::new() };
    let systemd = Systemd::of_this_process().context(LIMITS)?;
    let start = Start { config: args.config.clone(), loaded, inherited, required: args.require_credentials };
    let ended = runtime.block_on(from_start_to_end(start, signals, &systemd));
    // Do not wait for threads that resolve a name or read from a mount that hangs.
    runtime.shutdown_background();
    match ended? {
        RunOutcome::BeforeItServed(code) => Ok(ExitCode::from(code)),
        RunOutcome::Whole => Ok(ExitCode::SUCCESS),
        RunOutcome::Cut(unfinished) => {
            unfinished.record();
            tracing::info!("stopped");
            Ok(ExitCode::from(exit::DRAIN_CUT))
        }
    }
}

/// The parameters of a start.
struct Start {
    config: PathBuf,
    loaded: Loaded,
    inherited: Inherited,
    /// Whether credentials are required.
    required: bool,
}

/// The signals and commands that a running process obeys.
struct Signals {
    stop: Stop,
    hang_up: ReopenSignal,
    /// Cancelled when an operator asks it to stop.
    by_operator: CancellationToken,
}

/// A bound proxy, with its ops and admin listeners.
struct Started {
    proxy: Proxy,
    ops: JoinSet<()>,
}

/// How a run ended.
enum RunOutcome {
    /// With this exit code, before anything was accepted.
    BeforeItServed(u8),
    /// All accepted requests were answered.
    Whole,
    /// Some requests were cut off.
    Cut(Unfinished),
}

async fn from_start_to_end(
    start: Start,
    mut signals: Signals,
    systemd: &Systemd,
) -> anyhow::Result<RunOutcome> {
    systemd.starts("starting");
    let given_up = CancellationToken::new();
    let (policy, required) = (start.loaded.settings.policy.hash().clone(), start.required);
    let mut starting = start.spawn_start(signals.by_operator.clone(), given_up.clone())?;
    let started = tokio::select! {
        started = &mut starting => started.context("the start panicked")??,
        signal = signals.stop.asked() => {
            given_up.cancel();
            let tidied = async {
                // It may just have succeeded.
                if let Ok(Ok(Ok(mut started))) = starting.await {
                    started.ops.shutdown().await;
                }
            };
            drop(timeout(CLEANUP_TIMEOUT, tidied).await);
            return Ok(RunOutcome::by(signal));
        }
    };
    let Started { proxy, mut ops } = match started {
        Ok(started) => started,
        Err(code) => return Ok(RunOutcome::BeforeItServed(code)),
    };
    if required {
        systemd.starts("waiting for credentials");
    }
    let early = tokio::select! {
        signal = signals.stop.asked() => Some(RunOutcome::by(signal)),
        () = signals.by_operator.cancelled() => Some(RunOutcome::by(SHUTDOWN)),
        missing = missing(&proxy), if required => missing.then_some(RunOutcome::BeforeItServed(exit::NO_CREDENTIAL)),
        () = std::future::ready(()), if !required => None,
    };
    let ended = match early {
        Some(ended) => ended,
        None => serve(proxy, signals, &policy, systemd).await,
    };
    // Until now probes were answered.
    drop(timeout(CLEANUP_TIMEOUT, ops.shutdown()).await);
    Ok(ended)
}

/// Whether required credentials are still missing after the wait.
async fn missing(proxy: &Proxy) -> bool {
    let missing = proxy.credentials(CREDENTIALS_TIMEOUT).await;
    if !missing.is_empty() {
        tracing::error!(credentials = missing.join(" "), "required credentials are missing");
    }
    !missing.is_empty()
}

/// Serves until asked to stop, then drains.
async fn serve(proxy: Proxy, signals: Signals, policy: &str, systemd: &Systemd) -> RunOutcome {
    let Signals { mut stop, hang_up, by_operator } = signals;
    let running = proxy.serve();
    systemd.ready(running.status());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), policy, "serving");
    let signal = tokio::select! {
        signal = stop.asked() => signal,
        () = by_operator.cancelled() => SHUTDOWN,
        never = reload_and_reopen(hang_up, &running) => match never {},
        never = systemd.attend(&running) => match never {},
    };
    systemd.stops(&running);
    tracing::info!(signal, "draining");
    // An orchestrator may run `shutdown` and then send SIGTERM, which must not count as the second signal.
    let patience = if signal == SHUTDOWN { 2 } else { 1 };
    drain(running, &mut stop, patience, systemd).await
}

impl RunOutcome {
    fn by(signal: &str) -> Self {
        tracing::info!(signal, "stopped before serving");
        Self::BeforeItServed(exit::CLEAN)
    }
}

impl Start {
    /// Starts on a thread of its own, so that signals are handled even if a system call blocks the start.
    fn spawn_start(
        self,
        by_operator: CancellationToken,
        given_up: CancellationToken,
    ) -> anyhow::Result<oneshot::Receiver<anyhow::Result<Result<Started, u8>>>> {
        let (tell, told) = oneshot::channel();
        let runtime = Handle::current();
        let start = move || {
            let start = given_up.run_until_cancelled(self.run(by_operator));
            if let Some(started) = runtime.block_on(start) {
                drop(tell.send(started));
            }
        };
        drop(thread::Builder::new().name("start".into()).spawn(start).context(LIMITS)?);
        Ok(told)
    }

    /// Binds, and serves probes and operators. Returns the exit code if that fails.
    async fn run(self, by_operator: CancellationToken) -> anyhow::Result<Result<Started, u8>> {
        let Self { config, loaded, inherited, required: _ } = self;
        let ops = match Ops::bind(loaded.settings.ops.clone(), loaded.settings.admin.as_ref()).await {
            Ok(ops) => ops,
            Err((address, error)) => {
                errors::print_error(
                    &anyhow::Error::new(error).context(format!("cannot listen on {address}")),
                );
                return Ok(Err(exit::BIND));
            }
        };
        let proxy = match Proxy::new(config, loaded, inherited).await {
            Ok(proxy) => proxy,
            Err(error) => {
                let code = match &error {
                    StartError::Bind { .. } => exit::BIND,
                    StartError::Dialer(_)
                    | StartError::Audit(OpenError::Locked { .. } | OpenError::NoOutput(_)) => exit::CONFIG,
                    StartError::Audit(OpenError::File { .. })
                    | StartError::Tls(_)
                    | StartError::Thread(_) => {
                        return Err(error.into());
                    }
                };
                errors::print_error(&error.into());
                return Ok(Err(code));
            }
        };
        for (listener, address) in proxy.addresses() {
            tracing::info!(%listener, address, "listening");
        }
        if let Some(address) = ops.address() {
            tracing::info!(%address, "ops listening");
        }
        // Before any wait, so that probes and operators are answered during it.
        let probes = ops.serve(proxy.status(), proxy.metrics().clone(), by_operator);
        Ok(Ok(Started { proxy, ops: probes }))
    }
}

/// Finishes requests in flight, unless `patience` more signals ask to end.
async fn drain(running: Running, stop: &mut Stop, patience: u32, systemd: &Systemd) -> RunOutcome {
    let again = async {
        for _ in 1..patience {
            stop.asked().await;
        }
        drop(timeout(SAME_SIGNAL_WINDOW, async { while !stop.asked().await.is_empty() {} }).await);
        stop.asked().await
    };
    let cut = tokio::select! {
        drained = running.drain() => match drained {
            Drained::Whole => None,
            Drained::Cut => Some("drain timed out before all calls were answered"),
            Drained::Unrecorded => Some("stopped before all calls were recorded: the audit sink is blocked"),
        },
        signal = again => {
            tracing::warn!(signal, "asked again");
            Some("stopped at once on request, before all calls were answered")
        }
        never = systemd.feed(&running) => match never {},
    };
    match cut {
        None => {
            tracing::info!("stopped");
            RunOutcome::Whole
        }
        Some(why) => {
            tracing::error!("{why}");
            RunOutcome::Cut(running.unfinished())
        }
    }
}

pub(super) fn cannot_bind(error: &anyhow::Error) -> anyhow::Result<ExitCode> {
    errors::print_error(error);
    Ok(ExitCode::from(exit::BIND))
}

/// On SIGHUP reloads the configuration and reopens the audit file.
async fn reload_and_reopen(mut hang_up: ReopenSignal, running: &Running) -> Infallible {
    loop {
        hang_up.asked().await;
        // The reload logs its own result, and may wait for files that are being written. Records must not wait.
        running.status().reloader().ask();
        match running.reopen_audit() {
            Ok(()) => tracing::info!("audit sink reopened"),
            Err(error) => {
                let error = error.with_cause();
                tracing::error!(error, "cannot reopen the audit sink: the open one stays in use");
            }
        }
    }
}

/// The time for removing socket files.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(1);
/// Signals within this time count as one: timeout(1) signals both a process and its group.
const SAME_SIGNAL_WINDOW: Duration = Duration::from_millis(500);
const SHUTDOWN: &str = "POST /shutdown";
/// How long to wait for required credentials.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(30);
