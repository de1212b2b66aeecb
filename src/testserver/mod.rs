//! A stand-in for Huawei Cloud. A stand-in that believes no credential unverified.
//!
//! It stands last before the commands because the `demo` and `testserver` commands and the tests run it, and
//! nothing of the proxy may lean on it. It imports nothing of the proxy's own signing either: `verify` and
//! `canonical` compute signatures a second time, from the specification alone, so that a mistake in one of
//! the two shows as a 401 and does not cancel itself out.
//!
//! It does not model IAM's policies beyond actions, nor quotas, reads no id token (it compares them), and is not built to face a
//! network: bind it to loopback. A request that is not HTTP at all is answered by hyper and not recorded.
//!
//! # What is served
//! Everything on one port. [`Options`] says who may get what; what is handed out opens the project it is for until
//! it expires by the server's clock, or is revoked.
//!
//! | request | answer |
//! |---|---|
//! | creating, viewing, listing and cancelling editing jobs, by either version of the API | MPC: for an access key's signature, or a user token. Job ids are MPC's own; version 1 shows what a job was created from, version 2 does not; a job that is cancelled is gone |
//! | `POST /v3/auth/tokens` | IAM: a user token, for 24 hours, for a password; 5 wrong ones lock the account for 15 minutes |
//! | `POST /v3.0/OS-AUTH/id-token/tokens` | IAM: an unscoped token, for 24 hours, for an id token |
//! | `POST /v3.0/OS-CREDENTIAL/securitytokens` | IAM: a temporary key, for the 900 to 86400 s asked for, for a token of IAM's |
//! | `POST /v5/agencies/assume-with-oidc` | STS: an agency's temporary key, for the 900 to 43200 s asked for, for an id token |
//! | `POST /v5/agencies/assume` | STS: the same for an access key's signature |
//! | `PUT /meta-data/latest/api/token` | metadata: a session token, for the 1 to 21600 s asked for |
//! | `GET /openstack/latest/securitykey` | metadata: the key of this machine's agency, for 24 hours, replaced an hour before its end |
//! | `POST` to a pod's path | pod identity: a temporary key, for 6 hours, for the pod's token |
//!
//! Five bad signatures in a row lock an access key for 5 minutes, for everybody who shares it.
//!
//! # Control
//! The same port also serves, without a credential, what a test needs. Bodies are strict JSON. Each is a method of
//! [`Cloud`] too.
//!
//! | request | does |
//! |---|---|
//! | `GET /_test/requests` | lists what arrived, each with the status and request id answered |
//! | `DELETE /_test/requests` | forgets it |
//! | `GET /_test/faults` | lists the faults that are still to come |
//! | `PUT /_test/faults` | replaces them: `[{"fault":"reset","times":1},{"fault":{"latency_ms":250}}]` |
//! | `DELETE /_test/faults` | clears them |
//! | `PUT /_test/clock` | sets the server's clock this far off: `{"offset_s":-1200}` |
//! | `PUT /_test/lifetimes` | sets how long what is handed out from now on is in force, in seconds, whatever is asked for; as usual where a service is left out: `{"iam":600,"sts":60,"metadata":60,"pod_identity":60}` |
//! | `GET /_test/jobs/{project_id}/{job_id}` | tells a job's state, and what it was created from |
//! | `PUT /_test/jobs/{project_id}/{job_id}` | makes a job, or changes it: `{"state":"WAITING"}`, with `"create":{"user_data":"…"}` where it is to have been created from that |
//! | `PUT /_test/unreadable-buckets` | has MPC read these buckets no longer: `["…"]` |
//! | `GET /_test/differences` | lists in what MPC differs from what is documented |
//! | `PUT /_test/differences` | replaces that: `["numeric_ids",{"lacks":{"version":1,"member":"user_data"}}]` |
//! | `DELETE /_test/differences` | makes it as documented again |
//! | `POST /_test/tokens` | issues a user token: `{"project_id":"…"}` |
//! | `DELETE /_test/tokens` | revokes all tokens of IAM's |
//! | `PUT /_test/keys` | accepts an access key: `{"id":"…","secret":"…","project_id":"…"}`, with `"security_token"` where it is temporary |
//! | `GET /_test/keys/{id}` | counts its bad signatures in a row: `{"failures":4,"locked":false}` |
//! | `DELETE /_test/keys/{id}` | revokes it, also where it was handed out |
//! | `PUT /_test/keys/{id}/actions` | has IAM allow it these actions only: `["mpc:editingTask:view"]` |
//! | `DELETE /_test/keys/{id}/actions` | has IAM allow it all of them again |
//! | `DELETE /_test/keys` | revokes all that were handed out |
//! | `PUT /_test/users` | lets a user sign in: `{"domain":"…","name":"…","password":"…","project_id":"…"}` |
//! | `GET /_test/users/{domain}/{name}` | counts the user's wrong passwords in a row: `{"failures":4,"locked":false}` |
//! | `PUT /_test/identity-providers` | believes a provider's one id token: `{"id":"…","urn":"…","id_token":"…","project_id":"…"}` |
//! | `PUT /_test/agencies` | has an agency: `{"urn":"…","trusts":{"provider":"…"},"project_id":"…"}`, or `{"access_key":"…"}` |
//! | `PUT /_test/pods` | lets a pod ask: `{"path":"…","token":"…","project_id":"…"}` |
//! | `PUT /_test/metadata` | makes the metadata service `{"mode":"v2"}`, version 1 `{"mode":{"v1":404}}`, or `{"mode":"no_agency"}` |
//! | `PUT /_test/metadata/rotation` | has its key replaced when so much is left: `{"before_end_s":3600}` |
//! | `DELETE /_test/metadata/key` | has its key replaced when it is next asked for |
//!
//! What is put takes the place of what has the same name. A fault strikes the next `times` requests, or all until
//! cleared where `times` is absent; the first that is left for the service is taken. See [`Fault`], [`Service`]
//! and [`Difference`] for all of them.

mod answer;
mod canonical;
mod cloud;
mod control;
mod differences;
mod faults;
mod federation;
mod iam;
mod keys;
mod lock;
mod metadata;
mod mpc;
mod pod_identity;
mod secrets;
mod seen;
mod serve;
mod sts;
mod tokens;
mod verify;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub use cloud::Cloud;
pub use differences::Difference;
pub use faults::{Fault, Planned};
pub use federation::IdentityProvider;
pub use iam::User;
pub use keys::AccessKey;
pub use lock::Attempts;
pub use metadata::MetadataMode;
pub use mpc::JobState;
pub use pod_identity::Pod;
pub use seen::Seen;
pub use serve::Service;
pub use sts::{Agency, Trusted};

use answer::{Problem, Reply};

/// A running stand-in. It stops when dropped.
pub struct TestServer {
    address: SocketAddr,
    scheme: &'static str,
    cloud: Arc<Cloud>,
    /// The accept loop, which owns the connections. A set, because it ends what it holds when dropped.
    tasks: JoinSet<()>,
}

/// Who may call, and how.
#[derive(Default)]
pub struct Options {
    /// The access keys that are accepted.
    pub access_keys: Vec<AccessKey>,
    /// The users who may sign in at IAM for a token.
    pub users: Vec<User>,
    /// The project that this machine's agency is for: the metadata service hands out keys for it. No metadata
    /// service where absent.
    pub metadata: Option<String>,
    /// The pods that may ask the pod identity agent for a key.
    pub pods: Vec<Pod>,
    /// The identity providers that IAM and STS believe.
    pub identity_providers: Vec<IdentityProvider>,
    /// The agencies that STS knows.
    pub agencies: Vec<Agency>,
    /// Names answered to besides the address and `localhost`, with or without the port. Others are no such API.
    pub hosts: Vec<String>,
    /// The server's side of TLS; plain HTTP where absent.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

impl TestServer {
    /// Binds, and serves until dropped. Must be called within a tokio runtime that does I/O and time.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn start(bind: SocketAddr, options: Options) -> io::Result<Self> {
        let listener = listen(bind)?;
        let address = listener.local_addr()?;
        let scheme = if options.tls.is_some() { "https" } else { "http" };
        let acceptor = options.tls.clone().map(TlsAcceptor::from);
        let cloud = Arc::new(Cloud::new(address, options));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, acceptor, Arc::clone(&cloud)));
        Ok(Self { address, scheme, cloud, tasks })
    }

    /// Where it listens, with the port it was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://IP:PORT`, or `https://` with TLS: what to configure as an endpoint.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// The cloud behind it: jobs, keys, tokens, faults, and what was seen.
    pub fn cloud(&self) -> &Arc<Cloud> {
        &self.cloud
    }

    /// Stops, and returns when the port is free.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

fn listen(bind: SocketAddr) -> io::Result<TcpListener> {
    let socket = if bind.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(bind)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, cloud: Arc<Cloud>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, peer)) => {
                connections.spawn(connection(stream, peer, acceptor.clone(), Arc::clone(&cloud)));
            }
            // No descriptor is free, or the caller is gone already: neither ends a server.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, acceptor: Option<TlsAcceptor>, cloud: Arc<Cloud>) {
    stream.set_nodelay(true).ok();
    let to_reset = match acceptor {
        None => converse(stream, peer, cloud).await,
        Some(acceptor) => match acceptor.accept(stream).await {
            Ok(stream) => converse(stream, peer, cloud).await.map(|stream| stream.into_inner().0),
            Err(_) => None,
        },
    };
    if let Some(stream) = to_reset {
        // Closed with nothing to linger for, a socket sends RST in place of FIN.
        stream.set_zero_linger().ok();
    }
}

/// Serves one connection to its end. Gives the stream back where it is to be reset.
async fn converse<S>(stream: S, peer: SocketAddr, cloud: Arc<Cloud>) -> Option<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(move |request| Box::pin(exchange(Arc::clone(&cloud), peer, request)));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let ended = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    let mut stream = connection.into_parts().io.into_inner();
    // The service fails for one reason only: the connection is to be cut.
    if ended.is_err_and(|error| error.is_user()) {
        return Some(stream);
    }
    stream.shutdown().await.ok();
    None
}

/// One request and its answer. An error cuts the connection.
async fn exchange(
    cloud: Arc<Cloud>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let mut seen = Seen::arriving(&head, peer, cloud.new_request_id());
    let for_the_test = control::serves(&seen.target);
    if !for_the_test {
        cloud.record(&seen);
    }
    let reply = match Limited::new(body, MAX_BODY).collect().await {
        Err(_) => Reply::of(Problem::BodyTooLarge.answer(&seen.request_id)),
        Ok(body) => {
            seen.body = body.to_bytes().into();
            cloud.amend(&seen);
            if for_the_test { Reply::of(control::answer(&cloud, &seen)) } else { cloud.serve(&seen) }
        }
    };
    tokio::time::sleep(reply.delay).await;
    let status = reply.answer.as_ref().map(|answer| answer.status.as_u16());
    if !for_the_test {
        seen.status = status;
        cloud.amend(&seen);
        let (method, target, request_id) = (&*seen.method, &*seen.target, &*seen.request_id);
        tracing::info!(method, target, status, request_id, "request");
    }
    let answer = reply.answer.ok_or(io::ErrorKind::ConnectionReset)?;
    answer.render(&seen.request_id, cloud.now()).map_err(io::Error::other)
}

/// Tests open a thousand connections at once.
const BACKLOG: u32 = 4096;
const MAX_BODY: usize = 1024 * 1024;

#[cfg(test)]
mod tests;
