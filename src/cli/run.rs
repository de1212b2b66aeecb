//! `run`: the proxy, as a process with signals and exit codes.
//!
//! Its phases: signals, configuration, sandbox, bind, credentials, serve, drain, exit. A signal to stop is obeyed in
//! each of them.

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
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "MPC_AUTH_PROXY_CONFIG")]
    config: PathBuf,
    /// Exit with code 5 when a credential cannot be had at start: at once where that will last, else after 30 s
    #[arg(long, env = "MPC_AUTH_PROXY_REQUIRE_CREDENTIALS", value_parser = environment::switch)]
    require_credentials: bool,
    /// error, warn, info, debug or trace; wins over the file
    #[arg(long, value_name = "LEVEL", env = "MPC_AUTH_PROXY_LOG_LEVEL")]
    log_level: Option<Level>,
    /// auto, json or text; wins over the file
    #[arg(long, value_name = "FORMAT", env = "MPC_AUTH_PROXY_LOG_FORMAT", value_enum, ignore_case = true)]
    log_format: Option<LogFormat>,
    /// Leave files, privileges and core dumps as they are: for debuggers
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
    // Before there is another thread.
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
    // Whoever resolves a name or reads from a mount that hangs is not waited for.
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

/// What a start takes.
struct Start {
    config: PathBuf,
    loaded: Loaded,
    inherited: Inherited,
    /// Whether credentials must be there.
    required: bool,
}

/// What asks a running process for something, from outside.
struct Signals {
    stop: Stop,
    hang_up: ReopenSignal,
    /// Cancelled when an operator asks it to stop.
    by_operator: CancellationToken,
}

/// What is bound, and answers probes and operators.
struct Started {
    proxy: Proxy,
    ops: JoinSet<()>,
}

/// How it ended.
enum RunOutcome {
    /// With this code, and nothing was accepted.
    BeforeItServed(u8),
    /// Everything that was accepted was answered.
    Whole,
    /// Some of it was cut.
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
                // It may have succeeded in this very moment.
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
    // Until now probes were told how it is.
    drop(timeout(CLEANUP_TIMEOUT, ops.shutdown()).await);
    Ok(ended)
}

/// Whether credentials are missing that are waited for in vain.
async fn missing(proxy: &Proxy) -> bool {
    let missing = proxy.credentials(CREDENTIALS_TIMEOUT).await;
    if !missing.is_empty() {
        tracing::error!(credentials = missing.join(" "), "required credentials are missing");
    }
    !missing.is_empty()
}

/// Serves until it is asked to stop, and then finishes.
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
    // An orchestrator may ask with `shutdown` first and send its SIGTERM then: that is not the second one.
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
    /// Starts on a thread of its own, until it is given up: where the system holds it up, signals are heard all the same.
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

    /// Binds, and answers probes and operators. Where that cannot be, returns the code to exit with.
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
        // Before anything is waited for: whoever waits wants to know, and may want to stop it.
        let probes = ops.serve(proxy.status(), proxy.metrics().clone(), by_operator);
        Ok(Ok(Started { proxy, ops: probes }))
    }
}

/// Finishes what is under way, unless so many more signals ask for the end.
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

/// SIGHUP: something was moved or changed. Reads the configuration again and opens the audit file anew.
async fn reload_and_reopen(mut hang_up: ReopenSignal, running: &Running) -> Infallible {
    loop {
        hang_up.asked().await;
        // It says itself what came of it, and may wait for files that are being written. Records do not.
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

/// Removing the files of sockets takes no longer.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(1);
/// Some send a signal to a process and to its group, as timeout(1) does: that is one.
const SAME_SIGNAL_WINDOW: Duration = Duration::from_millis(500);
const SHUTDOWN: &str = "POST /shutdown";
/// For how long required credentials are waited for.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(30);
