//! When files count as complete, with a paused clock that tests advance.

use std::time::Duration;

use std::{fs, path::Path};

use tokio::time::{Instant, sleep};

use super::*;
use crate::clock;

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(std::time::SystemTime::from(clock::now()) - SETTLE_TIME * 30).unwrap();
}

fn replace(path: &Path, text: &str) {
    write(&path.with_extension("fresh"), text);
    fs::rename(path.with_extension("fresh"), path).unwrap();
}

/// Checks until the files are complete or as before, and returns the time that took.
async fn settled(files: &mut Files) -> (WatchOutcome, Duration) {
    let started = Instant::now();
    loop {
        files.look(|_| {}).await;
        match files.state() {
            WatchOutcome::Unsettled(_, left) => sleep(left).await,
            state @ (WatchOutcome::Same | WatchOutcome::Whole) => return (state, started.elapsed()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_some_parts_waits_for_the_others_and_is_believed_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    write(&one, "1");
    write(&other, "1");
    let mut files = Files::new([one.clone(), other.clone()]).together();
    assert_eq!(settled(&mut files).await, (WatchOutcome::Whole, Duration::ZERO), "old files are whole");
    files.take();
    assert_eq!(settled(&mut files).await.0, WatchOutcome::Same);
    replace(&one, "2");
    let both = async {
        sleep(SETTLE_TIME * 2).await;
        replace(&other, "2");
    };
    let ((state, took), ()) = tokio::join!(settled(&mut files), both);
    assert_eq!(state, WatchOutcome::Whole);
    assert!(took > SETTLE_TIME * 2, "{took:?}");
    files.take();
    replace(&other, "corrected");
    let (state, took) = settled(&mut files).await;
    assert_eq!(state, WatchOutcome::Whole);
    assert!(took >= HANG_TIMEOUT, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_written_in_place_is_whole_when_it_has_been_still() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    write(&path, "1");
    let mut files = Files::new([path.clone()]);
    settled(&mut files).await;
    files.take();
    fs::write(&path, "2").unwrap();
    let again = async {
        sleep(SETTLE_TIME / 2).await;
        fs::write(&path, "23").unwrap();
    };
    let ((state, took), ()) = tokio::join!(settled(&mut files), again);
    assert_eq!(state, WatchOutcome::Whole);
    assert!(took >= SETTLE_TIME + SETTLE_TIME / 2, "{took:?}");
}

#[tokio::test]
async fn a_rename_and_a_turned_link_are_whole_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for version in ["v1", "v2"] {
        fs::create_dir(path(version)).unwrap();
        fs::write(path(version).join("key"), version).unwrap();
    }
    std::os::unix::fs::symlink("v1", path("..data")).unwrap();
    std::os::unix::fs::symlink("..data/key", path("key")).unwrap();
    write(&path("plain"), "1");
    let mut files = Files::new([path("key"), path("plain")]);
    files.look(|_| {}).await;
    files.take();
    std::os::unix::fs::symlink("v2", path("..next")).unwrap();
    fs::rename(path("..next"), path("..data")).unwrap();
    files.look(|_| {}).await;
    assert_eq!(files.state(), WatchOutcome::Whole);
    files.take();
    replace(&path("plain"), "2");
    let started = Instant::now();
    loop {
        files.look(|_| {}).await;
        if files.state() == WatchOutcome::Whole {
            break;
        }
        files.changed().await;
    }
    assert!(started.elapsed() < SETTLE_TIME, "{:?}", started.elapsed());
}
