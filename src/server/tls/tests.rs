use rustls::version;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::upstream::loopback::{connected, tls};

async fn accepted(mut socket: TcpStream, config: Arc<ServerConfig>) -> io::Result<TlsStream> {
    let mut session = Session::new(config)?;
    session.handshake(&mut socket).await?;
    Ok(TlsStream { socket, session })
}

#[tokio::test]
async fn what_is_said_arrives_whole_both_ways_and_so_does_the_end() {
    for version in [&version::TLS13, &version::TLS12] {
        let (config, connector) = tls(&[version]);
        let (near, far) = connected().await;
        let (client, server) =
            tokio::join!(connector.connect("localhost".try_into().unwrap(), near), accepted(far, config));
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        let said: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let talks = async {
            for piece in said.chunks(7919) {
                client.write_all(piece).await.unwrap();
            }
            client.shutdown().await.unwrap();
            let mut heard = Vec::new();
            // Without `close_notify` this is an error.
            client.read_to_end(&mut heard).await.unwrap();
            heard
        };
        let echoes = async {
            let mut heard = Vec::new();
            server.read_to_end(&mut heard).await.unwrap();
            server.write_all(&heard).await.unwrap();
            server.flush().await.unwrap();
            server.shutdown().await.unwrap();
            (heard, server)
        };
        let (echo, (heard, server)) = tokio::join!(talks, echoes);
        assert!(echo == said && heard == said, "{version:?}");
        let session = &server.session;
        assert_eq!((server.cached(), session.outgoing.capacity()), (0, 0), "an idle one has no buffers");
    }
}

#[tokio::test]
async fn a_hello_without_end_is_given_up() {
    let (config, _) = tls(&[&version::TLS13]);
    let (mut near, far) = connected().await;
    let floods = async move {
        // A client hello of 16 MiB, in whole records.
        let mut message = vec![1, 0xff, 0xff, 0xff];
        loop {
            message.resize(16 * 1024, 0);
            let mut record = vec![0x16, 3, 1, 0x40, 0];
            record.append(&mut message);
            if near.write_all(&record).await.is_err() {
                return;
            }
        }
    };
    let (error, ()) = tokio::join!(async { accepted(far, config).await.err().unwrap() }, floods);
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
}

#[tokio::test]
async fn a_failure_is_told_to_the_caller() {
    let (config, _) = tls(&[&version::TLS13]);
    let (_, stranger) = tls(&[&version::TLS13]);
    let (near, far) = connected().await;
    let asked = stranger.connect("localhost".try_into().unwrap(), near);
    let (asked, taken) = tokio::join!(asked, accepted(far, config));
    assert!(asked.is_err() && taken.is_err());
    let (config, _) = tls(&[&version::TLS13]);
    let (mut near, far) = connected().await;
    let speaks = async {
        near.write_all(b"DELETE / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut alert = Vec::new();
        near.read_to_end(&mut alert).await.unwrap();
        alert
    };
    let (alert, taken) = tokio::join!(speaks, accepted(far, config));
    // A record of an alert (RFC 8446, section 5.1).
    assert_eq!((alert.first(), taken.is_err()), (Some(&21), true));
}
