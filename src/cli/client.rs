//! The HTTP client of commands that query a running proxy, over TCP or a Unix socket.

use std::{path::Path, time::Duration};

use anyhow::Context;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, ToSocketAddrs, UnixStream},
    time::timeout,
};

/// An answer and its raw text.
pub(super) struct ClientResponse {
    pub(super) status: u16,
    pub(super) text: String,
}

impl ClientResponse {
    pub(super) fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default()
    }
}

/// Returns the head of a request, such as `GET /readyz`, to a proxy on this machine.
pub(super) fn head(request: &str) -> String {
    format!("{request} HTTP/1.1\r\nHost: localhost\r\n")
}

/// Sends a request over TCP, with an optional body. The head has neither `Connection` nor the empty line.
pub(super) async fn over_tcp(
    address: impl ToSocketAddrs,
    head: &str,
    body: Option<&str>,
) -> anyhow::Result<ClientResponse> {
    let length = body.map(|body| format!("Content-Length: {}\r\n", body.len())).unwrap_or_default();
    let request = format!("{head}{length}Connection: close\r\n\r\n{}", body.unwrap_or_default());
    ask(TcpStream::connect(address).await?, request).await
}

/// Sends a request over a Unix socket.
pub(super) async fn over_unix(path: &Path, head: &str, body: &str) -> anyhow::Result<ClientResponse> {
    let length = body.len();
    let request = format!("{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    ask(UnixStream::connect(path).await?, request).await
}

async fn ask(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: String,
) -> anyhow::Result<ClientResponse> {
    let exchange = async {
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        std::io::Result::Ok(text)
    };
    let text = timeout(REQUEST_TIMEOUT, exchange).await.context("no answer in time")??;
    let status =
        text.split(' ').nth(1).and_then(|status| status.parse().ok()).context("not an HTTP answer")?;
    Ok(ClientResponse { status, text })
}

/// Longer than any request takes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
