//! A thread that reads files. It is always the same one, because the allocator keeps freed memory per thread.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread,
};

use tokio::task::spawn_blocking;

use super::off_thread;

/// A thread that reads files, started with the first job and ended on drop.
#[derive(Debug, Default)]
pub struct Reader(Option<mpsc::Sender<Job>>);

type Job = Box<dyn FnOnce() + Send>;

impl Reader {
    /// Like [`off_thread`], on this thread. `None` if the work panicked.
    pub async fn off_thread<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
        hangs: impl FnOnce(),
    ) -> Option<T> {
        let (done, result) = mpsc::channel();
        // The receiver may be gone.
        self.give(Box::new(move || drop(done.send(work()))));
        // Waiting needs no memory, so any thread will do.
        off_thread(move || result.recv().ok(), hangs).await.flatten()
    }

    fn give(&mut self, job: Job) {
        let job = match &self.0 {
            Some(thread) => match thread.send(job) {
                Ok(()) => return,
                Err(mpsc::SendError(job)) => job,
            },
            None => job,
        };
        let (jobs, to_do) = mpsc::channel::<Job>();
        let work = move || {
            for job in to_do {
                // The panic has been logged, and the receiver gets no result.
                drop(catch_unwind(AssertUnwindSafe(job)));
            }
        };
        match thread::Builder::new().name("reader".into()).spawn(work) {
            Ok(_) => {
                drop(jobs.send(job));
                self.0 = Some(jobs);
            }
            // The system gives no thread, so use an idle one of the runtime.
            Err(_) => drop(spawn_blocking(job)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread::current;

    use super::*;

    #[tokio::test]
    async fn one_thread_does_it_all_also_after_a_panic() {
        let mut reader = Reader::default();
        let first = reader.off_thread(|| current().id(), || {}).await.unwrap();
        for _ in 0..3 {
            assert_eq!(reader.off_thread(|| current().id(), || {}).await, Some(first));
        }
        assert_eq!(reader.off_thread(|| panic!("as told"), || {}).await, None::<()>);
        assert_eq!(reader.off_thread(|| current().id(), || {}).await, Some(first));
        assert_ne!(first, current().id());
    }
}
