//! An upstream that does what a script says, byte by byte: for everything that no decent server does.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

use super::BOUND;

/// Ended when it is dropped.
pub(crate) struct Scripted {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
}

/// The proxy, as upstream sees it on one connection.
pub(crate) struct Peer {
    stream: TcpStream,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// Plays the script on every connection, which are counted from 0, and closes it at the script's end.
    pub(crate) fn start(script: impl Fn(usize, &mut Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream =
            Self { address: listener.local_addr().unwrap(), heads: Arc::default(), over: Arc::default() };
        let (heads, over, script) =
            (Arc::clone(&upstream.heads), Arc::clone(&upstream.over), Arc::new(script));
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                if over.load(Relaxed) {
                    return;
                }
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(BOUND)).unwrap();
                let mut peer = Peer { stream, heads: Arc::clone(&heads) };
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

    /// The heads of all requests so far, which were so many.
    pub(crate) fn saw(&self, count: usize) -> Vec<String> {
        let heads = self.heads.lock().unwrap().clone();
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
    /// Reads the head of a request. `None` where the connection ends before it does.
    pub(crate) fn request(&mut self) -> Option<String> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            self.stream.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        self.heads.lock().unwrap().push(head.clone());
        Some(head)
    }

    /// Writes bytes. Says whether the proxy still took them.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Waits until the proxy closes the connection.
    pub(crate) fn wait_until_closed(&mut self) {
        drop(io::copy(&mut self.stream, &mut io::sink()));
    }
}
