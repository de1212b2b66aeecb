//! `wait` and `shutdown`, for containers without a shell or curl.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, anyhow, bail};
use tokio::time::{Instant, sleep};

use super::{client, start::runtime};
use crate::config::{self, Addresses};

#[derive(clap::Args)]
pub(super) struct WaitArgs {
    #[command(flatten)]
    target: ProxyTarget,
    /// The maximum time to wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
}

#[derive(clap::Args)]
pub(super) struct ProxyTarget {
    /// The proxy's configuration
    #[arg(long, value_name = "FILE", env = "MPC_AUTH_PROXY_CONFIG")]
    config: PathBuf,
}

/// Waits until the proxy is ready.
pub(super) fn wait(args: &WaitArgs) -> anyhow::Result<ExitCode> {
    let address =
        args.target.addresses()?.ops.context("cannot connect: the configuration has no `ops`")?.bind;
    runtime()?.block_on(async {
        let end = Instant::now() + Duration::from_secs(args.timeout);
        let mut last = anyhow!("nobody asked");
        while Instant::now() < end {
            match ready(address).await {
                Ok(()) => return Ok(ExitCode::SUCCESS),
                Err(error) => last = error,
            }
            sleep(POLL_INTERVAL).await;
        }
        Err(last.context(format!("not ready after {} s", args.timeout)))
    })
}

/// Asks the proxy to stop, and returns when it has begun to drain.
pub(super) fn shutdown(target: &ProxyTarget) -> anyhow::Result<ExitCode> {
    let answer = target.ask("POST /shutdown", "")?;
    if answer.status != ACCEPTED {
        bail!("it answered {}", answer.status);
    }
    Ok(ExitCode::SUCCESS)
}

async fn ready(ops: SocketAddr) -> anyhow::Result<()> {
    let answer = client::over_tcp(ops, &client::head("GET /readyz"), None).await?;
    match answer.status {
        OK => Ok(()),
        _ => Err(anyhow!("{}", answer.body().trim().replace('\n', "; "))),
    }
}

impl ProxyTarget {
    /// Sends a request to the running proxy's admin socket.
    pub(super) fn ask(&self, request: &str, body: &str) -> anyhow::Result<client::ClientResponse> {
        let admin = self.addresses()?.admin.context("cannot connect: the configuration has no `admin`")?;
        let asked = runtime()?.block_on(client::over_unix(&admin.path, &client::head(request), body));
        asked.with_context(|| format!("cannot connect to unix:{}", admin.path.display()))
    }

    fn addresses(&self) -> anyhow::Result<Addresses> {
        config::addresses(&self.config).map_err(|report| anyhow!("{report}"))
    }
}

const OK: u16 = 200;
const ACCEPTED: u16 = 202;
const POLL_INTERVAL: Duration = Duration::from_millis(100);
