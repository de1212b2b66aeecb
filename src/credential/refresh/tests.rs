//! The life of a credential, with a paused clock that tests advance.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread,
};

use tokio::task::{JoinSet, spawn_blocking};

use super::*;
use crate::{
    clock,
    credential::{
        Credential, Expiry, Lease, ProvideFuture, Token, Unavailable, Verdict, health::KeyHealthRegistry,
    },
    secret::Secret,
    signing::SigningKey,
};

/// A scripted source that counts its requests.
#[derive(Clone, Default)]
struct Scripted {
    script: Arc<Mutex<VecDeque<ScriptedResult>>>,
    asked: Arc<AtomicU32>,
    files: Vec<PathBuf>,
}

enum ScriptedResult {
    /// A token, or a key if its name begins with `AK`, with this lifetime, returned after this delay.
    Gives(&'static str, Option<Duration>, Duration),
    Fails,
    RefusesPassword,
}

impl Provide for Scripted {
    fn provide(&mut self) -> ProvideFuture<'_> {
        self.asked.fetch_add(1, Relaxed);
        let told = self.script.lock().unwrap().pop_front();
        Box::pin(async move {
            match told {
                Some(ScriptedResult::Gives(text, life, after)) => {
                    sleep(after).await;
                    let end =
                        |life| Expiry { at: clock::now() + life, clock: clock::Clocks::default().of("iam") };
                    Ok(Provided { credential: credential(text), expires_at: life.map(end) })
                }
                Some(ScriptedResult::RefusesPassword) => Err(ProvideError::WrongPassword("iam".into())),
                Some(ScriptedResult::Fails) | None => Err(ProvideError::NoAgency),
            }
        })
    }

    fn files(&self) -> Vec<PathBuf> {
        self.files.clone()
    }
}

impl Scripted {
    fn new(script: impl IntoIterator<Item = ScriptedResult>) -> Self {
        Self { script: Arc::new(Mutex::new(script.into_iter().collect())), ..Self::default() }
    }

    /// A source that reads a file that does not exist yet.
    fn with_file(script: impl IntoIterator<Item = ScriptedResult>) -> (Self, tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        (Self { files: vec![file.clone()], ..Self::new(script) }, folder, file)
    }

    fn asked(&self) -> u32 {
        self.asked.load(Relaxed)
    }

    /// Starts the renewal, which ends with the set.
    fn start(&self) -> (Arc<CachedCredential>, JoinSet<()>) {
        let cached = Arc::new(CachedCredential::new("prod".into(), "scripted", KeyHealthRegistry::default()));
        let mut refresher = Refresher::of(Arc::clone(&cached), Box::new(self.clone()));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                refresher.round().await;
                refresher.rest().await;
            }
        });
        (cached, tasks)
    }
}

fn credential(text: &str) -> Credential {
    let secret = Secret::new(text);
    if text.starts_with("AK") {
        return Credential::Key(SigningKey::new(text, &secret, None).unwrap());
    }
    Credential::Token(Token::new(&secret).unwrap())
}

fn gives(token: &'static str, life: u64) -> ScriptedResult {
    ScriptedResult::Gives(token, Some(Duration::from_secs(life)), Duration::ZERO)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

async fn leased(cached: &CachedCredential) -> Result<String, Unavailable> {
    let lease = cached.lease(soon()).await?;
    let text = match lease.credential() {
        Credential::Token(token) => token.header().to_str().unwrap().to_owned(),
        Credential::Key(key) => key.access_key().to_owned(),
    };
    cached.answered(lease, Verdict::Accepted);
    Ok(text)
}

/// The maximum number of unanswered signatures.
async fn three(cached: &CachedCredential, deadline: Instant) -> Vec<Lease> {
    let mut leases = Vec::new();
    for _ in 0..3 {
        leases.push(cached.lease(deadline).await.unwrap());
    }
    leases
}

const HOUR: u64 = 3600;

#[tokio::test(start_paused = true)]
async fn it_is_renewed_at_four_fifths_of_its_life_and_nobody_waits() {
    let source = Scripted::new([gives("a", HOUR), gives("b", HOUR)]);
    let (cached, _task) = source.start();
    assert_eq!(leased(&cached).await.unwrap(), "a");
    sleep(Duration::from_secs(HOUR * 4 / 5 * 94 / 100)).await;
    assert_eq!((leased(&cached).await.unwrap().as_str(), source.asked()), ("a", 1));
    sleep(Duration::from_secs(HOUR * 4 / 5 * 6 / 100 + 1)).await;
    assert_eq!((leased(&cached).await.unwrap().as_str(), source.asked()), ("b", 2));
}

#[test]
fn what_lives_for_hours_is_renewed_40_minutes_before_its_end_at_the_latest() {
    let minutes = |life: u64, jitter| renewed_after(Duration::from_secs(life * 60), jitter).as_secs() / 60;
    for (life, latest) in [(10, 8), (60, 48), (119, 95), (120, 80), (150, 110), (240, 192), (1440, 1152)] {
        assert_eq!(minutes(life, 0.0), latest, "{life}");
        let earliest = minutes(life, 1.0);
        assert!((latest * 94 / 100..=latest).contains(&earliest), "{life}: {earliest}");
    }
    assert_eq!(renewed_after(Duration::from_millis(10), 0.0), MIN_BACKOFF);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_leaves_the_last_value_until_it_truly_expires() {
    let source = Scripted::new([gives("a", HOUR)]);
    let (cached, _task) = source.start();
    assert_eq!(leased(&cached).await.unwrap(), "a");
    sleep(Duration::from_secs(HOUR - 2)).await;
    assert!(source.asked() > 5, "asked again and again");
    assert_eq!(leased(&cached).await.unwrap(), "a");
    assert!(cached.state().problem.unwrap().contains("this machine has no agency"));
    sleep(Duration::from_secs(1)).await;
    let Err(Unavailable::Missing(after)) = leased(&cached).await else { panic!("it has expired") };
    assert!(after <= MAX_BACKOFF, "{after:?}");
    assert!(!cached.is_ready());
    source.script.lock().unwrap().push_back(gives("b", HOUR));
    sleep(after).await;
    assert_eq!(leased(&cached).await.unwrap(), "b");
    assert_eq!(cached.state().problem, None);
}

#[tokio::test(start_paused = true)]
async fn the_pauses_between_failures_grow_to_a_minute() {
    let source = Scripted::new([]);
    let (cached, _task) = source.start();
    cached.asked_once().await;
    sleep(Duration::from_secs(HOUR)).await;
    let asked = source.asked();
    assert!((60..=130).contains(&asked), "{asked} times in an hour");
    for (failures, most) in [(1, 1), (2, 2), (6, 32), (7, 60), (1000, 60)] {
        assert_eq!(pause_after(failures, 0.0), Duration::from_secs(most));
        assert_eq!(pause_after(failures, 1.0), Duration::from_secs(most) / 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_calls_wait_for_one_first_value() {
    let slow = ScriptedResult::Gives("a", None, Duration::from_secs(2));
    let source = Scripted::new([slow]);
    let (cached, _task) = source.start();
    let mut calls = JoinSet::new();
    for _ in 0..1000 {
        let cached = Arc::clone(&cached);
        calls.spawn(async move { leased(&cached).await.unwrap() });
    }
    assert!(calls.join_all().await.iter().all(|token| token == "a"));
    assert_eq!(source.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_calls_with_a_token_that_has_ended_are_one_fetch() {
    let slow = ScriptedResult::Gives("b", Some(Duration::from_secs(HOUR)), Duration::from_secs(2));
    let source = Scripted::new([gives("a", HOUR), slow]);
    let (cached, _task) = source.start();
    leased(&cached).await.unwrap();
    let mut calls = JoinSet::new();
    for call in 0..1000 {
        let cached = Arc::clone(&cached);
        calls.spawn(async move {
            let deadline = Instant::now() + Duration::from_secs(30);
            let lease = cached.lease(deadline).await.unwrap();
            // The answers come in one by one: some when the new token is there already.
            sleep(Duration::from_millis(call * 5)).await;
            let newer = cached.lease_newer(&lease.leased(), deadline).await.unwrap();
            assert_ne!(newer.credential(), lease.credential());
        });
    }
    calls.join_all().await;
    assert_eq!(source.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn calls_after_its_end_wait_for_a_new_one_together() {
    let source = Scripted::new([
        gives("a", 100),
        ScriptedResult::Fails,
        ScriptedResult::Fails,
        ScriptedResult::Fails,
        ScriptedResult::Fails,
        ScriptedResult::Gives("b", None, Duration::from_secs(20)),
    ]);
    let (cached, _task) = source.start();
    leased(&cached).await.unwrap();
    sleep(Duration::from_secs(101)).await;
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let cached = Arc::clone(&cached);
        calls.spawn(async move { leased(&cached).await });
    }
    let tokens = calls.join_all().await;
    assert!(tokens.iter().all(|token| token.as_deref() == Ok("b")), "{tokens:?}");
    assert_eq!(source.asked(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_source_with_nothing_new_is_not_asked_by_every_call() {
    let source = Scripted::new((0..50).map(|_| gives("a", HOUR)));
    let (cached, _task) = source.start();
    leased(&cached).await.unwrap();
    let lease = cached.lease(soon()).await.unwrap();
    for _ in 0..100 {
        assert!(cached.lease_newer(&lease.leased(), soon()).await.is_err());
    }
    assert_eq!(source.asked(), 2);
    sleep(UNCHANGED_COOLDOWN).await;
    assert!(cached.lease_newer(&lease.leased(), soon()).await.is_err());
    assert_eq!(source.asked(), 3);
    assert_eq!(leased(&cached).await.unwrap(), "a", "which is in force meanwhile");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_not_tried_again_for_a_quarter_of_an_hour() {
    let source = Scripted::new([ScriptedResult::RefusesPassword, gives("a", HOUR)]);
    let (cached, _task) = source.start();
    for _ in 0..100 {
        assert!(leased(&cached).await.is_err());
        sleep(Duration::from_secs(8)).await;
    }
    assert_eq!(source.asked(), 1);
    sleep(Duration::from_secs(100)).await;
    assert_eq!((leased(&cached).await.unwrap().as_str(), source.asked()), ("a", 2));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_tried_again_when_its_file_changes() {
    let script = [ScriptedResult::RefusesPassword, gives("a", HOUR)];
    let (source, _folder, file) = Scripted::with_file(script);
    std::fs::write(&file, "wrong").unwrap();
    let (cached, _task) = source.start();
    cached.asked_once().await;
    std::fs::write(&file, "right").unwrap();
    // A thread compares the file by this clock and reads it by the real one.
    sleep(POLL_INTERVAL).await;
    for _ in 0..100 {
        if source.asked() == 2 {
            break;
        }
        sleep(Duration::from_secs(1)).await;
        spawn_blocking(|| thread::sleep(Duration::from_millis(20))).await.unwrap();
    }
    assert_eq!((leased(&cached).await.unwrap().as_str(), source.asked()), ("a", 2));
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_is_given_again_keeps_its_standing() {
    let source = Scripted::new([gives("AK1", 100), gives("AK1", 100), gives("AK2", 100)]);
    let (cached, _task) = source.start();
    for _ in 0..3 {
        let lease = cached.lease(soon()).await.unwrap();
        cached.answered(lease, Verdict::Refused);
    }
    assert!(matches!(cached.lease(soon()).await, Err(Unavailable::HeldBack(_))));
    assert_eq!(source.asked(), 2, "it was asked for another one");
    assert!(cached.state().held_back.is_some());
    sleep(Duration::from_secs(90)).await;
    assert_eq!(leased(&cached).await.unwrap(), "AK2", "a new value starts afresh");
    assert_eq!(cached.state().held_back, None);
}

#[tokio::test(start_paused = true)]
async fn the_same_value_will_do_when_it_is_given_again_for_longer() {
    let mut script = vec![gives("a", 100)];
    script.extend((0..4).map(|_| ScriptedResult::Fails));
    script.push(gives("a", 100));
    let source = Scripted::new(script);
    let (cached, _task) = source.start();
    leased(&cached).await.unwrap();
    sleep(Duration::from_secs(101)).await;
    assert_eq!(leased(&cached).await.as_deref(), Ok("a"));
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_already_is_no_credential() {
    let source = Scripted::new([gives("a", 0)]);
    let (cached, _task) = source.start();
    assert!(leased(&cached).await.is_err());
    assert!(cached.state().problem.unwrap().contains("check this machine's clock"));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_value_that_is_held_back_then_is_lent_the_next_one() {
    let source = Scripted::new([gives("AK1", HOUR), gives("AK2", HOUR)]);
    let (cached, _task) = source.start();
    let deadline = Instant::now() + Duration::from_secs(30);
    let tried = three(&cached, deadline).await;
    let refusals = async { tried.into_iter().for_each(|lease| cached.answered(lease, Verdict::Refused)) };
    let (waited, ()) = tokio::join!(leased(&cached), refusals);
    assert_eq!((waited.as_deref(), source.asked()), (Ok("AK2"), 2));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_answers_to_a_key_that_is_replaced_is_lent_the_next_one() {
    let (source, _folder, file) = Scripted::with_file([gives("AK1", HOUR), gives("AK2", HOUR)]);
    let (cached, _task) = source.start();
    let deadline = Instant::now() + Duration::from_secs(60);
    let _silent = three(&cached, deadline).await;
    std::fs::write(&file, "touched").unwrap();
    assert_eq!(leased(&cached).await.as_deref(), Ok("AK2"));
    assert_eq!(source.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_vain_is_told_so_at_its_soon() {
    let source = Scripted::new([gives("AK1", HOUR)]);
    let (cached, _task) = source.start();
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut silent = three(&cached, deadline).await;
    assert_eq!(cached.lease(deadline).await.err(), Some(Unavailable::Crowded));
    assert!(deadline - Instant::now() <= Duration::from_millis(100));
    silent.pop();
    assert!(cached.lease(deadline).await.is_ok(), "one that was given up gave its place back");
}

#[tokio::test(start_paused = true)]
async fn what_upstream_says_has_ended_is_not_ready_until_it_is_believed_or_replaced() {
    let source = Scripted::new([gives("a", HOUR), gives("a", HOUR)]);
    let (cached, _task) = source.start();
    let lease = cached.lease(soon()).await.unwrap();
    let value = lease.leased();
    cached.answered(lease, Verdict::Ended);
    assert!(cached.is_ready(), "there may be a newer one");
    cached.ended(&value);
    assert!(!cached.is_ready());
    assert_eq!(cached.state().unusable(), Some("expired, upstream says"));
    assert!(cached.state().problem.unwrap().contains("APIGW.0307"));
    assert!(cached.lease_newer(&value, soon()).await.is_err());
    assert!(!cached.is_ready(), "the same one, given again, has ended too");
    assert_eq!(leased(&cached).await.as_deref(), Ok("a"));
    assert!(cached.is_ready());
}

#[tokio::test(start_paused = true)]
async fn that_a_file_holds_nothing_new_keeps_nobody_from_asking() {
    let script = [gives("a", HOUR), gives("a", HOUR), gives("b", HOUR)];
    let (source, _folder, file) = Scripted::with_file(script);
    let (cached, _task) = source.start();
    let lease = cached.lease(soon()).await.unwrap();
    std::fs::write(&file, "touched").unwrap();
    // The thread that reads the file may be late, and what it finds counts when it has been still.
    let asked_again = async {
        while source.asked() < 2 {
            sleep(POLL_INTERVAL).await;
        }
    };
    tokio::time::timeout(POLL_INTERVAL * 20, asked_again).await.unwrap();
    assert!(cached.lease_newer(&lease.leased(), soon()).await.is_ok());
    assert_eq!(source.asked(), 3);
}
