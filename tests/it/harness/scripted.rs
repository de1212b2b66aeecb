//! An upstream that follows a script byte by byte, for behaviour no proper server shows.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use nix::{
    libc::linger,
    sys::socket::{setsockopt, sockopt::Linger},
};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::BOUND;

/// Stopped when dropped.
pub(crate) struct Scripted {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

/// A connection from the proxy, as upstream sees it.
pub(crate) struct Peer {
    stream: Box<dyn Channel>,
    tcp: TcpStream,
    /// Bytes read that belong to no head so far.
    read: Vec<u8>,
    heads: Arc<Mutex<Vec<String>>>,
}

trait Channel: Read + Write + Send {}

impl<C: Read + Write + Send> Channel for C {}

impl Scripted {
    /// Runs the script on every connection, numbered from 0, and closes it at the script's end.
    pub(crate) fn start(script: impl Fn(usize, &mut Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = Self {
            address: listener.local_addr().unwrap(),
            heads: Arc::default(),
            connections: Arc::default(),
            over: Arc::default(),
        };
        let (heads, over, script) =
            (Arc::clone(&upstream.heads), Arc::clone(&upstream.over), Arc::new(script));
        let connections = Arc::clone(&upstream.connections);
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                if over.load(Relaxed) {
                    return;
                }
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(BOUND)).unwrap();
                connections.fetch_add(1, Relaxed);
                let tcp = stream.try_clone().unwrap();
                let (stream, heads) = (Box::new(stream), Arc::clone(&heads));
                let mut peer = Peer { stream, tcp, read: Vec::new(), heads };
                let script = Arc::clone(&script);
                thread::spawn(move || script(number, &mut peer));
            }
        });
        upstream
    }

    /// Answers the first request of each connection with these bytes, and closes it.
    pub(crate) fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |_, peer| {
            peer.request();
            peer.write(&bytes);
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The number of connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// The heads of all requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// The heads of all requests so far, asserted to be this many.
    pub(crate) fn saw(&self, count: usize) -> Vec<String> {
        let heads = self.heads();
        assert_eq!(heads.len(), count, "{heads:#?}");
        heads
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        // Wakes the listener.
        drop(TcpStream::connect(self.address));
    }
}

impl Peer {
    /// Reads the head of a request. `None` if the connection ends before it is complete.
    pub(crate) fn request(&mut self) -> Option<String> {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            let mut bytes = [0; 1024];
            let count = self.stream.read(&mut bytes).ok().filter(|count| *count > 0)?;
            self.read.extend_from_slice(&bytes[..count]);
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        self.heads.lock().unwrap().push(head.clone());
        Some(head)
    }

    /// Writes bytes. Returns whether the proxy still accepted them.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Reads the next bytes.
    pub(crate) fn request_bytes(&mut self) {
        drop(self.stream.read(&mut [0; 1024]));
    }

    /// Continues with TLS. Returns whether the handshake succeeded.
    pub(crate) fn secure(&mut self, config: Arc<ServerConfig>) -> bool {
        let mut tls = ServerConnection::new(config).unwrap();
        let mut tcp = self.tcp.try_clone().unwrap();
        while tls.is_handshaking() {
            if tls.complete_io(&mut tcp).is_err() {
                return false;
            }
        }
        self.stream = Box::new(StreamOwned::new(tls, tcp));
        true
    }

    /// Makes the connection close with RST instead of FIN.
    pub(crate) fn reset_at_end(&self) {
        setsockopt(&self.tcp, Linger, &linger { l_onoff: 1, l_linger: 0 }).unwrap();
    }

    /// Relays bytes in both directions until either side closes.
    pub(crate) fn relay(&mut self, to: SocketAddr) {
        let far = TcpStream::connect(to).unwrap();
        let pass_on = |mut from: TcpStream, mut to: TcpStream| {
            drop(io::copy(&mut from, &mut to));
            drop(to.shutdown(Shutdown::Write));
        };
        let (near, there) = (self.tcp.try_clone().unwrap(), far.try_clone().unwrap());
        let back = thread::spawn(move || pass_on(there, near));
        pass_on(self.tcp.try_clone().unwrap(), far);
        back.join().unwrap();
    }

    /// Waits until the proxy closes the connection.
    pub(crate) fn wait_until_closed(&mut self) {
        drop(io::copy(&mut self.stream, &mut io::sink()));
    }
}
