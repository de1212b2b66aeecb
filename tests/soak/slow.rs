//! Thousands of slow callers: normal callers are still answered, and slow heads are cut.

use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    harness::{BOUND, Proxy, Setup, cancel, request, wait_for},
    load::{Line, Open, Over, Took, address, crowd, run},
    process::raise_descriptors,
    size, trail,
};

/// More connections allowed than callers.
#[test]
fn slow_callers_below_the_cap() {
    beside_slow_callers("slow_callers_below_the_cap", |slow| slow + 64);
}

/// Twice as many slow callers as connections allowed: room is made for those with a request.
#[test]
fn slow_callers_above_the_cap() {
    beside_slow_callers("slow_callers_above_the_cap", |slow| slow / 2);
}

fn beside_slow_callers(name: &str, cap: impl Fn(usize) -> usize) {
    raise_descriptors();
    let slow = size("SLOW", 200);
    let connections = cap(slow);
    let limits = format!("limits: {{ connections: {connections}, header_timeout: 2s }}");
    let proxy = Arc::new(trail::start(Setup::new().section(&limits)));
    let siege = Arc::new(Siege::on(&proxy, slow));
    let call = || {
        let all = run(crowd(CALLERS, |caller| legitimate(Arc::clone(&proxy), Arc::clone(&siege), caller)));
        Took::of_all(all)
    };
    let alone = call();
    let beside = thread::scope(|scope| {
        let over = Over(&siege.over);
        // On a separate thread, so as not to disturb the measured callers.
        scope.spawn(|| run(besiegers(&siege)));
        wait_for("slow callers", || siege.is_complete().then_some(()));
        let beside = call();
        drop(over);
        beside
    });
    let (calls, mut ids) = (alone.len() + beside.len(), HashSet::new());
    trail::read(Arc::into_inner(proxy).unwrap(), calls, |record| {
        if record["outcome"] == "forwarded" {
            record.says(json!({ "http.response.status_code": 204 }));
            assert!(ids.insert(record.text("request.id").to_owned()), "twice: {record:?}");
        }
    });
    println!(
        "{name}: {slow} slow callers, {connections} connections allowed: {} calls alone {alone}; {} calls beside them \
         {beside}; p99 {:.1} times; slow heads: {:?}",
        alone.len(),
        beside.len(),
        beside.times(&alone),
        siege.ends.lock().unwrap()
    );
    assert_eq!(ids.len(), calls, "one record each");
}

/// Slow callers and their fates.
struct Siege {
    to: SocketAddr,
    slow: usize,
    over: AtomicBool,
    /// The number of them that have connected.
    connected: AtomicUsize,
    /// Those whose slow head was cut.
    cut: Mutex<HashSet<usize>>,
    /// The number of slow heads by their end.
    ends: Mutex<BTreeMap<&'static str, usize>>,
}

impl Siege {
    fn on(proxy: &Proxy, slow: usize) -> Self {
        let (over, connected, cut, ends) = Default::default();
        Self { to: address(proxy, "app"), slow, over, connected, cut, ends }
    }

    /// Whether all have connected.
    fn is_complete(&self) -> bool {
        self.connected.load(Relaxed) >= self.slow
    }

    /// Whether there are slow heads and all were cut.
    fn was_beaten(&self) -> bool {
        !self.is_complete() || self.cut.lock().unwrap().len() == self.slow.div_ceil(3)
    }
}

/// Runs all slow callers until the end.
async fn besiegers(siege: &Arc<Siege>) {
    let mut besiegers = JoinSet::new();
    for number in 0..siege.slow {
        besiegers.spawn_local(besiege(Arc::clone(siege), number));
    }
    while !siege.over.load(Relaxed) {
        sleep(TICK / 10).await;
    }
}

/// Cancels jobs, occasionally on a new connection, until slow heads have been cut.
async fn legitimate(proxy: Arc<Proxy>, siege: Arc<Siege>, caller: usize) -> Took {
    let (mut line, mut took) = (Line::to(&proxy, "app"), Took::default());
    let (job, calls, mut enough) = (format!("s{caller}"), 50.max(siege.slow / 5), None);
    while took.len() < calls || !siege.was_beaten() {
        if took.len() >= calls {
            let since: &mut Instant = enough.get_or_insert_with(Instant::now);
            assert!(since.elapsed() < BOUND, "slow heads are not cut");
        }
        if took.len().is_multiple_of(10) {
            line = Line::to(&proxy, "app");
        }
        proxy.queue(&job);
        let start = Instant::now();
        let answer = line.ask(cancel(&job)).await;
        took.since(start);
        assert_eq!(answer.status, 204, "{answer:?}");
    }
    took
}

/// Is slow in one of three ways, and reconnects whenever it is cut off.
async fn besiege(siege: Arc<Siege>, number: usize) {
    loop {
        // Out of step, and slow to reconnect.
        sleep(4 * TICK.mul_f64(fastrand::f64())).await;
        let mut open = Open::dial(siege.to).await;
        siege.connected.fetch_add(1, Relaxed);
        match number % 3 {
            0 => {
                let end = slow_head(&mut open).await;
                siege.cut.lock().unwrap().insert(number);
                *siege.ends.lock().unwrap().entry(end).or_default() += 1;
            }
            // Sends more requests without reading.
            1 => {
                let mut bytes = many();
                while open.write(&bytes).await.is_ok() {
                    bytes = "\r\n".into();
                    sleep(TICK).await;
                }
            }
            _ => open.ended().await,
        }
    }
}

/// Sends a head one byte at a time, and returns its end.
async fn slow_head(open: &mut Open) -> &'static str {
    let begin = cancel("none");
    let mut bytes = begin.trim_end().bytes().chain(std::iter::repeat(b'a'));
    loop {
        if open.write([bytes.next().unwrap()]).await.is_err() {
            return "closed";
        }
        match timeout(TICK, open.answer()).await {
            Ok(Ok(answer)) => {
                answer.is_refusal(408, "PROXY.RequestTimeout");
                return "408";
            }
            Ok(Err(_)) => return "closed",
            Err(_) => {}
        }
    }
}

/// Requests that cost nothing upstream, and many answers.
fn many() -> String {
    request("DELETE", "/v2/nothing", &[]).repeat(20)
}

const CALLERS: usize = 8;
/// How slow they are.
const TICK: Duration = Duration::from_millis(500);
