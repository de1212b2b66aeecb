//! The fuzzer that needs no other toolchain.
//!
//! ```sh
//! FUZZ_EXECUTIONS=500000000 cargo test --profile fuzz --lib fuzz:: -- --nocapture
//! ```

use std::{env, fs, path::Path, thread, time::Instant};

use super::{World, judge_head, mutate::Heads};

#[test]
fn nothing_is_permitted_but_a_call_of_the_grammar_and_every_such_call_is() {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let executions = number("FUZZ_EXECUTIONS").unwrap_or(30_000);
    let seed = number("FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    println!("FUZZ_SEED={seed} FUZZ_EXECUTIONS={executions} on {threads} threads");
    let (world, corpus, started) = (World::new(), corpus(), Instant::now());
    let run = |thread: u64| {
        let mut world = world.clone();
        let mut heads = Heads::new(seed.wrapping_add(thread), corpus.clone());
        let mut rng = fastrand::Rng::with_seed(seed ^ thread);
        let (mut input, mut permitted) = (Vec::new(), 0);
        for _ in 0..executions / threads {
            input.clear();
            // Mostly on the listener that proves every caller.
            input.push(rng.u8(..) * rng.u8(..2));
            input.extend_from_slice(heads.next(JOBS[rng.usize(..JOBS.len())]));
            let shown = Shown(&input);
            permitted += u64::from(world.judge(&input));
            drop(shown);
        }
        permitted
    };
    let permitted: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let rate = executions as f64 / started.elapsed().as_secs_f64() / threads as f64;
    println!("{permitted} permitted, {rate:.0} executions a second and thread");
    // A fuzzer that is refused everything tests one side only.
    assert!(permitted * 20 > executions, "only {permitted} of {executions} were permitted");
}

#[test]
fn hyper_reads_every_head_that_is_taken_in_the_same_way() {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let executions = number("FUZZ_HEADS").unwrap_or(10_000);
    let seed = number("FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("FUZZ_SEED={seed} FUZZ_HEADS={executions}");
    let (mut heads, mut taken) = (Heads::new(seed, corpus()), 0);
    for _ in 0..executions {
        let head = heads.next(JOBS[0]);
        let shown = Shown(head);
        taken += u64::from(judge_head(head));
        drop(shown);
    }
    assert!(taken * 4 > executions, "only {taken} of {executions} were taken");
}

#[test]
fn the_corpus_is_judged_as_its_names_say() {
    let mut world = World::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/decide");
    let mut judged = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let permitted = world.judge(&fs::read(&path).unwrap());
        assert_eq!(permitted, name.starts_with("permitted-"), "{name}");
        judged += 1;
    }
    assert!(judged >= 20, "only {judged}");
}

/// The heads of the corpus, without the byte that says the listener.
fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/decide");
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap()[1..].to_vec())
        .collect()
}

/// Printed where what comes of it is a panic.
struct Shown<'i>(&'i [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("the input: b\"{}\"", self.0.escape_ascii());
        }
    }
}

const JOBS: [&str; 5] = [
    "100211",
    "tmp-7",
    "release-7",
    "_-aZ09",
    "tmp-0123456789012345678901234567890123456789012345678901234567890",
];
