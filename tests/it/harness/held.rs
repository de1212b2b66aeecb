//! An upstream that holds requests until a test releases them.

use std::sync::{
    Mutex,
    mpsc::{Receiver, Sender, channel},
};

use super::{BOUND, Scripted};

pub(crate) struct Held {
    upstream: Scripted,
    arrived: Receiver<()>,
    gate: Mutex<Option<Sender<()>>>,
}

impl Held {
    /// Answers each head with this, one per connection.
    pub(crate) fn answering(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let (gate, closed) = channel::<()>();
        let (arrive, arrived) = channel();
        let (closed, arrive) = (Mutex::new(closed), Mutex::new(arrive));
        let upstream = Scripted::start(move |_, peer| {
            let Some(head) = peer.request() else { return };
            // The test may be over, with the receiver gone.
            if arrive.lock().unwrap().send(()).is_err() {
                return;
            }
            // Open when nobody holds its other end.
            assert!(closed.lock().unwrap().recv().is_err());
            peer.write(answer(&head));
        });
        Self { upstream, arrived, gate: Mutex::new(Some(gate)) }
    }

    /// The upstream, with the heads it has received.
    pub(crate) fn upstream(&self) -> &Scripted {
        &self.upstream
    }

    pub(crate) fn url(&self) -> String {
        self.upstream.url()
    }

    /// Waits for this number of calls.
    pub(crate) fn has(&self, calls: usize) {
        (0..calls).for_each(|_| self.arrived.recv_timeout(BOUND).unwrap());
    }

    pub(crate) fn let_go(&self) {
        drop(self.gate.lock().unwrap().take());
    }
}
