//! The server of the stand-in.

use std::{future::poll_fn, io, net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::{
    Cloud, Options, Seen,
    answer::{Problem, Reply},
    control,
};

/// A running stand-in. It stops when dropped.
pub struct TestServer {
    address: SocketAddr,
    scheme: &'static str,
    cloud: Arc<Cloud>,
    /// The accept loop, which owns the connections. A set, because dropping it ends its tasks.
    tasks: JoinSet<()>,
}

impl TestServer {
    /// Binds, and serves until dropped. Must be called within a tokio runtime that does I/O and time.
    ///
    /// # Errors
    /// If the address cannot be bound.
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

    /// Returns the address, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the endpoint to configure: `http://IP:PORT`, or `https://` with TLS.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Returns the cloud behind it.
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
            // No descriptor is free, or the caller is gone. Neither ends the server.
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
        // With a linger time of zero the socket sends RST instead of FIN.
        stream.set_zero_linger().ok();
    }
}

/// Serves a connection to its end. Returns the stream if it is to be reset.
async fn converse<S>(stream: S, peer: SocketAddr, cloud: Arc<Cloud>) -> Option<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(move |request| Box::pin(exchange(Arc::clone(&cloud), peer, request)));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let ended = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    let mut stream = connection.into_parts().io.into_inner();
    // The service fails only if the connection is to be cut.
    if ended.is_err_and(|error| error.is_user()) {
        return Some(stream);
    }
    stream.shutdown().await.ok();
    None
}

/// Handles one request. An error cuts the connection.
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
