//! Startup checks of `doctor`: sockets, the audit sink, existing listeners, the open-file limit, and the sandbox.
//!
//! Nothing is bound or created: permissions are checked, and connections are tried to the addresses of a running proxy.

use std::{
    fmt::Display,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::FileTypeExt,
    path::Path,
    time::Duration,
};

use nix::unistd::{AccessFlags, access};
use tokio::{net::UnixStream, time::timeout};

use super::finding::Finding;
use crate::{
    audit::Target,
    cli::{client, status::complaints},
    config::{Admin, Bind, Ops, Report, Settings},
    sandbox::{Restriction, Sandbox},
    server::descriptors,
};

/// Checks sockets, the audit sink, limits and the sandbox.
pub(super) fn look(settings: &Settings, warnings: &Report) -> Vec<Finding> {
    let listeners = settings.listeners.iter().filter_map(|listener| match &listener.bind {
        Bind::Unix { path, .. } => Some(path.as_path()),
        Bind::Tcp(_) | Bind::Systemd(_) => None,
    });
    let admin = settings.admin.as_ref().map(|admin| admin.path.as_path());
    let sockets = listeners.chain(admin).map(socket);
    let sandbox = Sandbox::tried(settings, warnings);
    let measures = sandbox.measures().into_iter().map(|(name, measure)| sandboxed(name, measure));
    sockets.chain([sink(&settings.audit.sink), open_files(settings)]).chain(measures).collect()
}

fn socket(path: &Path) -> Finding {
    let name = path.display().to_string();
    if fs::symlink_metadata(path).is_ok_and(|found| !found.file_type().is_socket()) {
        let finding = Finding::ok("socket", name, "there is not a socket");
        return finding.fail("move it, or choose another path");
    }
    let directory = directory(path);
    let problem = unwritable(directory);
    let hint = format!("create {} for the proxy's user (systemd: RuntimeDirectory=)", directory.display());
    Finding::ok("socket", name, problem.as_deref().unwrap_or("can be created"))
        .fact("writable", problem.is_none())
        .fail_if(problem.is_some(), hint)
}

fn sink(target: &Target) -> Finding {
    let Target::File(path) = target else {
        return Finding::ok("audit", "stdout", "records go to standard output").fact("writable", true);
    };
    let problem = if path.exists() {
        let refused = access(path, AccessFlags::W_OK).err();
        refused.map(|errno| format!("not writable: {}", errno.desc()))
    } else {
        unwritable(directory(path))
    };
    Finding::ok("audit", path.display().to_string(), problem.as_deref().unwrap_or("writable"))
        .fact("writable", problem.is_none())
        .fail_if(problem.is_some(), "make it writable by the proxy's user, or choose another file")
}

/// Why no files can be created there.
fn unwritable(directory: &Path) -> Option<String> {
    let refused = access(directory, AccessFlags::W_OK | AccessFlags::X_OK).err()?;
    Some(format!("cannot be created in {}: {}", directory.display(), refused.desc()))
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn open_files(settings: &Settings) -> Finding {
    let mut endpoints: Vec<_> = settings.projects.iter().map(|project| &project.endpoint).collect();
    endpoints.sort_by_key(|endpoint| endpoint.to_string());
    endpoints.dedup();
    let available = descriptors::available();
    let (wanted, fitting) =
        (&settings.limits, descriptors::fit(&settings.limits, available, endpoints.len()));
    let message = format!(
        "{available} are allowed: enough for {} of {} connections and {} of {} calls in flight",
        fitting.connections, wanted.connections, fitting.in_flight, wanted.in_flight
    );
    let hint = "raise the open-files limit (systemd: LimitNOFILE=, shell: ulimit -n), or lower `limits`; this is \
                this command's limit, the proxy's may differ";
    Finding::ok("limits", "open files", message)
        .fact("allowed", available)
        .fact("connections", fitting.connections)
        .fact("in_flight", fitting.in_flight)
        .warn_if(fitting != *wanted, hint)
}

/// Tries a restriction on a temporary thread, so this command is not confined.
fn sandboxed(name: &'static str, measure: &Restriction) -> Finding {
    let hint = "use a newer kernel, or a container that allows it; the proxy runs without";
    Finding::ok("sandbox", name, measure.to_string())
        .fact("state", measure.to_string())
        .warn_if(*measure != Restriction::On, hint)
}

/// Checks whether a proxy answers at the ops address and the admin socket.
pub(super) async fn running(ops: Option<&Ops>, admin: Option<&Admin>) -> Vec<Finding> {
    let probes = async {
        match ops.map(|ops| ops.bind) {
            // Port 0 is a different port every time.
            Some(address) if address.port() != 0 => Some(probes(address).await),
            Some(_) | None => None,
        }
    };
    let operators = async {
        match admin {
            Some(admin) => Some(operators(&admin.path).await),
            None => None,
        }
    };
    let (probes, operators) = tokio::join!(probes, operators);
    probes.into_iter().chain(operators).collect()
}

async fn probes(address: SocketAddr) -> Finding {
    let near = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())),
        IpAddr::V4(_) | IpAddr::V6(_) => address,
    };
    let head = client::head("GET /status");
    let answer = match timeout(LOCAL_TIMEOUT, client::over_tcp(near, &head, None)).await {
        Ok(Err(error)) if error.is::<std::io::Error>() => return nobody("ops", address),
        answered => answered.ok().and_then(Result::ok),
    };
    known("ops", address, answer.as_ref())
}

async fn operators(path: &Path) -> Finding {
    if !timeout(LOCAL_TIMEOUT, UnixStream::connect(path)).await.is_ok_and(|connected| connected.is_ok()) {
        return nobody("admin", path.display());
    }
    let head = client::head("GET /status");
    let answer = timeout(LOCAL_TIMEOUT, client::over_unix(path, &head, "")).await;
    known("admin", path.display(), answer.ok().and_then(Result::ok).as_ref())
}

fn nobody(check: &'static str, address: impl Display) -> Finding {
    Finding::ok(check, address.to_string(), "nothing listens there yet").fact("in_use", false)
}

/// Returns the problems that a running proxy reports.
fn known(check: &'static str, address: impl Display, answer: Option<&client::ClientResponse>) -> Finding {
    let finding = |message: &str| Finding::ok(check, address.to_string(), message).fact("in_use", true);
    let document = answer.and_then(|answer| serde_json::from_str(answer.body()).ok());
    let Some(complaints) = document.and_then(|document| complaints(document).ok()) else {
        return finding("another program, or another version of this one, listens there")
            .warn(format!("choose another port or path for `{check}`, or stop that one"));
    };
    if complaints.is_empty() {
        return finding("a proxy is running");
    }
    let fails = complaints.iter().any(|complaint| complaint.fails);
    let told = complaints.into_iter().map(|complaint| complaint.text);
    let told = told.fold(finding("a proxy is running, with problems"), Finding::detail);
    let hint = "run `mpc-auth-proxy status`; `unfreeze` lifts a freeze";
    if fails { told.fail(hint) } else { told.warn(hint) }
}

/// Short, because a proxy on this machine answers at once.
const LOCAL_TIMEOUT: Duration = Duration::from_secs(2);
