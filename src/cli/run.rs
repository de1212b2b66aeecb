//! `run`: the proxy, as a process with signals and exit codes.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    thread::available_parallelism,
};

use anyhow::Context;
use nix::libc::SIGXFSZ;
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing::Level;

use super::{exit, log};
use crate::{
    config::{self, Loaded, LogFormat},
    ops::Ops,
    sandbox::Sandbox,
    server::{Drained, Inherited, Proxy, Running, StartError},
};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "MPC_AUTH_PROXY_CONFIG")]
    config: PathBuf,
    /// Exit with code 5 when a credential cannot be read at start
    #[arg(long, env = "MPC_AUTH_PROXY_REQUIRE_CREDENTIALS")]
    require_credentials: bool,
    /// error, warn, info, debug or trace; wins over the file
    #[arg(long, value_name = "LEVEL", env = "MPC_AUTH_PROXY_LOG_LEVEL")]
    log_level: Option<Level>,
    /// auto, json or text; wins over the file
    #[arg(long, value_name = "FORMAT", env = "MPC_AUTH_PROXY_LOG_FORMAT", value_enum)]
    log_format: Option<LogFormat>,
    /// Leave files, privileges and core dumps as they are: for debuggers
    #[arg(long, env = "MPC_AUTH_PROXY_NO_SANDBOX")]
    no_sandbox: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    // Before any secret is read.
    let sandbox = if args.no_sandbox { None } else { Some(Sandbox::begin()) };
    let loaded = match config::load(&args.config) {
        Ok(loaded) => loaded,
        Err(report) => {
            write!(io::stderr(), "{report}")?;
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
    )?;
    sandbox.tell();
    for warning in loaded.warnings.problems() {
        let (line, column) = warning.place.map_or((0, 0), |place| (place.line, place.column));
        tracing::warn!(place = format!("{}:{line}:{column}", warning.file), "{}", warning.message);
    }
    runtime()?.block_on(serve(args, loaded, inherited))
}

/// One thread a core that this process may use; on one core no second thread is woken for any request.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    let cores = available_parallelism().map_or(1, usize::from);
    let mut builder = if cores == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    if cores > 1 {
        builder.worker_threads(cores);
    }
    builder.enable_all().build().context("cannot start the runtime")
}

async fn serve(args: &Args, loaded: Loaded, inherited: Inherited) -> anyhow::Result<ExitCode> {
    // Caught, a file that may not grow is an error of the write. Otherwise it would be the end of the process.
    let _too_large = signal(SignalKind::from_raw(SIGXFSZ))?;
    let ops = match Ops::bind(loaded.settings.ops, loaded.settings.admin.as_ref()).await {
        Ok(ops) => ops,
        Err((address, error)) => {
            return cannot_bind(&anyhow::Error::new(error).context(format!("cannot listen on {address}")));
        }
    };
    let policy = loaded.settings.policy.hash().clone();
    let proxy = match Proxy::new(args.config.clone(), loaded, inherited).await {
        Ok(proxy) => proxy,
        Err(error @ StartError::Bind { .. }) => return cannot_bind(&error.into()),
        Err(error @ StartError::Way(_)) => {
            log::print_error(&error.into());
            return Ok(ExitCode::from(exit::CONFIG));
        }
        Err(error) => return Err(error.into()),
    };
    if args.require_credentials {
        let missing = proxy.missing_credentials().await;
        if !missing.is_empty() {
            tracing::error!(credentials = missing.join(" "), "credentials are missing, and required");
            return Ok(ExitCode::from(exit::NO_CREDENTIAL));
        }
    }
    let (stop, hang_up) = (Stop::new()?, signal(SignalKind::hangup())?);
    for (listener, address) in proxy.addresses() {
        tracing::info!(%listener, address, "listening");
    }
    if let Some(address) = ops.address() {
        tracing::info!(%address, "ops listening");
    }
    let asked_by_operator = CancellationToken::new();
    let _probes = ops.serve(proxy.insight(), proxy.metrics().clone(), asked_by_operator.clone());
    let running = proxy.serve();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), policy = &*policy, "serving");
    let signal = tokio::select! {
        signal = stop.asked() => signal,
        () = asked_by_operator.cancelled() => "POST /shutdown",
        () = look_again(hang_up, &running) => "no more SIGHUP",
    };
    tracing::info!(signal, "draining");
    let code = match running.drain().await {
        Drained::Whole => ExitCode::SUCCESS,
        Drained::Cut => {
            tracing::error!("the drain time-out ended before everything was answered");
            ExitCode::from(exit::DRAIN_CUT)
        }
    };
    tracing::info!("stopped");
    Ok(code)
}

pub(super) fn cannot_bind(error: &anyhow::Error) -> anyhow::Result<ExitCode> {
    log::print_error(error);
    Ok(ExitCode::from(exit::BIND))
}

/// The signals that ask a process to stop. They are caught from the moment this is made.
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Returns the name of the signal, once there is one.
    pub(super) async fn asked(mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// SIGHUP: something was moved or changed. Reads the configuration again and opens the audit file anew.
async fn look_again(mut hang_up: Signal, running: &Running) {
    while hang_up.recv().await.is_some() {
        // It says itself what came of it.
        running.insight().reload().await;
        match running.reopen_audit() {
            Ok(()) => tracing::info!("the audit sink was opened anew"),
            Err(error) => tracing::error!(%error, "the audit sink stays the one that was open"),
        }
    }
}
