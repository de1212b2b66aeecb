//! A thread that reads files. A thread that serves nobody, the same one each time: the allocator keeps what a thread
//! has let go of for that thread, so with another one each time there would be as much of it as threads.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread,
};

use tokio::task::spawn_blocking;

use super::off_thread;

/// A thread that reads. It is started with the first job, and ends when this is dropped.
#[derive(Debug, Default)]
pub struct Reader(Option<mpsc::Sender<Job>>);

type Job = Box<dyn FnOnce() + Send>;

impl Reader {
    /// Does what [`off_thread`] does, on this thread. `None` where the work panicked.
    pub async fn off_thread<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
        hangs: impl FnOnce(),
    ) -> Option<T> {
        let (done, result) = mpsc::channel();
        // Nobody may be waiting any more.
        self.give(Box::new(move || drop(done.send(work()))));
        // Waiting takes no memory, so any thread will do.
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
                // The panic was told, and whoever waits for the job hears that there is no result.
                drop(catch_unwind(AssertUnwindSafe(job)));
            }
        };
        match thread::Builder::new().name("reader".into()).spawn(work) {
            Ok(_) => {
                drop(jobs.send(job));
                self.0 = Some(jobs);
            }
            // There is no thread to be had, unless one of those that are there is idle.
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
