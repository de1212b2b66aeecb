//! What do callers notice of thousands that are slow on purpose? They are answered all the same, and slow heads are cut.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    harness::{BOUND, Proxy, Setup, cancel, request},
    load::{Line, Open, Took, address, crowd, run},
    process::raise_descriptors,
    size, trail,
};

/// More connections are allowed than there are callers.
#[test]
fn slow_callers_below_the_cap() {
    beside_slow_callers("slow_callers_below_the_cap", |slow| slow + 64);
}

/// Twice as many are slow as connections are allowed: room is made for whoever brings a request.
#[test]
fn slow_callers_above_the_cap() {
    beside_slow_callers("slow_callers_above_the_cap", |slow| slow / 2);
}

fn beside_slow_callers(name: &str, cap: impl Fn(usize) -> usize) {
    raise_descriptors();
    let slow = size("SLOW", 200);
    let connections = cap(slow);
    let limits = format!("limits: {{ connections: {connections}, header_timeout: 1s }}");
    let proxy = Arc::new(trail::start(Setup::new().section(&limits)));
    let siege = Rc::new(Siege::on(&proxy, slow));
    let (alone, beside) = run(async {
        let call = |caller| legitimate(Arc::clone(&proxy), Rc::clone(&siege), caller);
        let alone = Took::of_all(crowd(CALLERS, call).await);
        // They go away when this is dropped.
        let mut besiegers = JoinSet::new();
        for number in 0..slow {
            besiegers.spawn_local(besiege(Rc::clone(&siege), number));
        }
        siege.is_complete().await;
        (alone, Took::of_all(crowd(CALLERS, call).await))
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
        siege.ends.borrow()
    );
    assert_eq!(ids.len(), calls, "one record each");
}

/// Slow callers, and what becomes of them.
struct Siege {
    to: SocketAddr,
    slow: usize,
    /// How many of them are there.
    connected: Cell<usize>,
    /// Those with a slow head that was cut.
    cut: RefCell<HashSet<usize>>,
    /// How slow heads ended, and how many.
    ends: RefCell<BTreeMap<&'static str, usize>>,
}

impl Siege {
    fn on(proxy: &Proxy, slow: usize) -> Self {
        let (connected, cut, ends) = Default::default();
        Self { to: address(proxy, "app"), slow, connected, cut, ends }
    }

    /// Waits until every one of them is there.
    async fn is_complete(&self) {
        let complete = async {
            while self.connected.get() < self.slow {
                sleep(TICK).await;
            }
        };
        timeout(BOUND, complete).await.unwrap();
    }

    /// Whether every slow head was cut, of those there are.
    fn was_beaten(&self) -> bool {
        self.connected.get() == 0 || self.cut.borrow().len() == self.slow.div_ceil(3)
    }
}

/// Cancels jobs, on a new connection now and then: for as long as it takes to see that slow heads are cut.
async fn legitimate(proxy: Arc<Proxy>, siege: Rc<Siege>, caller: usize) -> Took {
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

/// Is slow, in one of three ways, and comes back whenever it is cut off.
async fn besiege(siege: Rc<Siege>, number: usize) {
    loop {
        let mut open = Open::dial(siege.to).await;
        let first = open.write(if number % 3 == 1 { many() } else { String::new() }).await;
        siege.connected.update(|connected| siege.slow.min(connected + 1));
        match number % 3 {
            0 => {
                let end = slow_head(&mut open).await;
                siege.cut.borrow_mut().insert(number);
                *siege.ends.borrow_mut().entry(end).or_default() += 1;
            }
            // Never reads, and asks for more.
            1 if first.is_ok() => {
                while open.write("\r\n").await.is_ok() {
                    sleep(TICK).await;
                }
            }
            _ => open.ended().await,
        }
    }
}

/// A head of which a byte comes now and then. How it ends.
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
const TICK: Duration = Duration::from_millis(250);
