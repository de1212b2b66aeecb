use tokio::{
    task::{JoinSet, yield_now},
    time::{advance, timeout},
};

use super::{super::state::Phase, *};

fn limiter(cap: usize) -> Arc<ConnectionLimiter> {
    ConnectionLimiter::new(&Limits { connections: cap, ..Limits::default() }, Connections::default())
}

fn asked_to_leave(permits: &[Permit]) -> Vec<bool> {
    permits.iter().map(|permit| permit.state.order() == CloseRequest::Leave).collect()
}

#[tokio::test(start_paused = true)]
async fn the_oldest_that_never_brought_a_call_goes_first() {
    let limiter = limiter(3);
    let mut permits = Vec::new();
    for _ in 0..3 {
        permits.push(limiter.permit().await);
        advance(SECOND).await;
    }
    let proven = &permits[0].state;
    proven.enter(Phase::Working);
    proven.prove();
    proven.enter(Phase::Idle);
    advance(SECOND).await;
    for _ in 0..3 {
        assert!(limiter.make_room());
        assert_eq!(
            asked_to_leave(&permits),
            [false, true, false],
            "one place is wanted, and one is on its way"
        );
    }
    drop(permits.remove(1));
    assert!(limiter.make_room());
    assert_eq!(asked_to_leave(&permits), [false, true]);
    // Its request arrived meanwhile and is answered first.
    permits[1].state.enter(Phase::Working);
    assert!(limiter.make_room());
    assert_eq!(asked_to_leave(&permits), [true; 2]);
    permits[0].state.enter(Phase::Working);
    assert!(!limiter.make_room());
}

#[tokio::test(start_paused = true)]
async fn where_all_are_at_work_each_answer_is_a_last_one_until_there_is_a_place() {
    let limiter = limiter(1);
    let first = limiter.permit().await;
    first.state.enter(Phase::Working);
    let mut second = pin!(limiter.permit());
    assert!(timeout(9 * SECOND, &mut second).await.is_err(), "the first is at work");
    assert!(limiter.is_crowded());
    let before = Instant::now();
    drop(first);
    let _second = second.await;
    assert_eq!((before.elapsed(), limiter.is_crowded()), (Duration::ZERO, false));
}

/// A caller that lingered after its last answer once kept its place for half a second.
#[tokio::test(start_paused = true)]
async fn whoever_has_been_answered_for_the_last_time_makes_room_at_once() {
    let limiter = limiter(8);
    let mut lingering = JoinSet::new();
    for _ in 0..8 {
        let permit = limiter.permit().await;
        permit.state.enter(Phase::Working);
        permit.state.enter(Phase::Closing);
        lingering.spawn(async move {
            std::future::poll_fn(|cx| match permit.state.poll_order(cx) {
                CloseRequest::Leave => std::task::Poll::Ready(()),
                CloseRequest::Stay | CloseRequest::Finish => std::task::Poll::Pending,
            })
            .await;
        });
    }
    let before = Instant::now();
    drop(limiter.permit().await);
    assert_eq!(before.elapsed(), Duration::ZERO);
}

/// The paused clock only advances when nothing can run, so an advance reveals a lost wake-up.
#[tokio::test(start_paused = true)]
async fn no_freed_place_is_lost_on_those_who_wait() {
    let (limiter, served) = (limiter(4), Arc::new(AtomicUsize::new(0)));
    let (mut callers, before) = (JoinSet::new(), Instant::now());
    for seed in 0..32 {
        let (limiter, served) = (Arc::clone(&limiter), Arc::clone(&served));
        callers.spawn(async move {
            let mut rng = fastrand::Rng::with_seed(seed);
            for _ in 0..500 {
                let permit = limiter.permit().await;
                // Busy, so it cannot be asked to leave.
                permit.state.enter(Phase::Working);
                for _ in 0..rng.usize(..4) {
                    yield_now().await;
                }
                served.fetch_add(1, Relaxed);
                drop(permit);
                if rng.bool() {
                    yield_now().await;
                }
            }
        });
    }
    callers.join_all().await;
    assert_eq!((served.load(Relaxed), before.elapsed()), (32 * 500, Duration::ZERO));
    assert_eq!(limiter.places.available_permits(), 4);
}

/// With threads and a real clock: each lost wake-up would cost a tick.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_place_is_lost_between_threads() {
    let limiter = limiter(2);
    let mut callers = JoinSet::new();
    for _ in 0..16 {
        let limiter = Arc::clone(&limiter);
        callers.spawn(async move {
            for _ in 0..2000 {
                let permit = limiter.permit().await;
                permit.state.enter(Phase::Working);
                yield_now().await;
            }
        });
    }
    let all = timeout(60 * SECOND, callers.join_all()).await;
    assert!(all.is_ok(), "32,000 places, of which each may cost 10 ms once it is forgotten");
    assert_eq!((limiter.places.available_permits(), limiter.open.lock().connections.len()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_after_the_stop_is_told_too() {
    let limiter = limiter(2);
    let before = limiter.permit().await;
    limiter.stop();
    for permit in [before, limiter.permit().await] {
        assert_eq!(permit.state.order(), CloseRequest::Finish);
    }
}

#[test]
fn lifetimes_differ_and_none_is_longer_than_configured() {
    let limiter = limiter(1);
    let lifetimes: Vec<Duration> = (0..100).map(|_| limiter.lifetime().until - Instant::now()).collect();
    let most = Limits::default().connection_lifetime;
    assert!(lifetimes.iter().all(|lifetime| (most.mul_f64(0.79)..=most).contains(lifetime)), "{lifetimes:?}");
    assert!(lifetimes.iter().max() > lifetimes.iter().min());
}

const SECOND: Duration = Duration::from_secs(1);
