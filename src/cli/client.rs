//! How does a command ask a running proxy? One request on a connection of its own, over TCP or a Unix socket.

use std::{path::Path, time::Duration};

use anyhow::Context;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, ToSocketAddrs, UnixStream},
    time::timeout,
};

/// An answer, with its text as it came.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) text: String,
}

/// Asks over TCP. The request is the text of a head without `Connection` and without its empty line.
pub(super) async fn over_tcp(address: impl ToSocketAddrs, request: &str) -> anyhow::Result<Answer> {
    ask(TcpStream::connect(address).await?, request).await
}

/// Asks over a Unix socket.
pub(super) async fn over_unix(path: &Path, request: &str) -> anyhow::Result<Answer> {
    ask(UnixStream::connect(path).await?, request).await
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> anyhow::Result<Answer> {
    let exchange = async {
        stream.write_all(format!("{request}Connection: close\r\n\r\n").as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        std::io::Result::Ok(text)
    };
    let text = timeout(PATIENCE, exchange).await.context("no answer in time")??;
    let status =
        text.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no answer of HTTP")?;
    Ok(Answer { status, text })
}

/// Longer than any request may take.
const PATIENCE: Duration = Duration::from_secs(60);
