//! The fuzzer that runs on the stable toolchain.
//!
//! ```sh
//! FUZZ_EXECUTIONS=500000000 cargo test --profile fuzz --lib fuzz::tests::nothing -- --nocapture
//! FUZZ_HEADS=500000000 cargo test --profile fuzz --lib fuzz::tests::hyper -- --nocapture
//! ```

use std::{collections::BTreeSet, env, fs, path::Path, thread, time::Instant};

use fastrand::Rng;

use super::{
    World, judge_head,
    mutate::Heads,
    oracle::{CREATES, FORMS, VIEWS},
};
use crate::operation::CATALOGUE;

#[test]
fn nothing_is_permitted_but_a_call_of_the_grammar_and_every_such_call_is() {
    let world = World::new();
    let run = Run::of("FUZZ_EXECUTIONS", 30_000);
    let permitted = run.on_all_cores(|mut heads, mut rng, executions| {
        let (mut world, mut input, mut permitted) = (world.clone(), Vec::new(), 0);
        for _ in 0..executions {
            input.clear();
            // Mostly on the listener that identifies every caller.
            input.push(rng.u8(..) * rng.u8(..2));
            input.extend_from_slice(heads.next(JOBS[rng.usize(..JOBS.len())]));
            let shown = Shown(&input);
            permitted += u64::from(world.judge(&input));
            drop(shown);
        }
        permitted
    });
    // If everything were refused, it would test one side only.
    assert!(permitted * 20 > run.executions, "only {permitted} were permitted");
}

#[test]
fn hyper_reads_every_head_that_is_taken_in_the_same_way() {
    let run = Run::of("FUZZ_HEADS", 10_000);
    let taken = run.on_all_cores(|mut heads, mut rng, executions| {
        let mut taken = 0;
        for _ in 0..executions {
            let head = heads.next(JOBS[rng.usize(..JOBS.len())]);
            let shown = Shown(head);
            taken += u64::from(judge_head(head));
            drop(shown);
        }
        taken
    });
    assert!(taken * 4 > run.executions, "only {taken} were taken");
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

#[test]
fn the_plain_reading_knows_every_operation_of_the_catalogue() {
    let url = |template: &str| template.replace("{project_id}", "P").replace("{job_id}", "J");
    let known = CATALOGUE.iter().map(|row| format!("{} {}", row.method, url(row.template)));
    let read = [&FORMS[..], &VIEWS, &CREATES]
        .concat()
        .into_iter()
        .map(|form| form.trim_end_matches("?J").to_owned());
    assert_eq!(read.collect::<BTreeSet<_>>(), known.collect());
}

/// A run of the fuzzer, determined by its seed.
struct Run {
    executions: u64,
    seed: u64,
}

impl Run {
    /// Creates a run with the length in this variable.
    fn of(variable: &str, executions: u64) -> Self {
        let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
        let seed = number("FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
        let executions = number(variable).unwrap_or(executions);
        println!("FUZZ_SEED={seed} {variable}={executions}");
        Self { executions, seed }
    }

    /// Divides the executions between the cores. Returns the total of their results.
    fn on_all_cores(&self, work: impl Fn(Heads, Rng, u64) -> u64 + Sync) -> u64 {
        let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
        let (corpus, work, started) = (corpus(), &work, Instant::now());
        let found: u64 = thread::scope(|scope| {
            let start = |number: u64| {
                let heads = Heads::new(self.seed.wrapping_add(number), corpus.clone());
                let rng = Rng::with_seed(self.seed ^ number);
                scope.spawn(move || work(heads, rng, self.executions / threads))
            };
            let threads: Vec<_> = (0..threads).map(start).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        let rate = self.executions as f64 / started.elapsed().as_secs_f64() / threads as f64;
        println!("{found} of {} came to something, {rate:.0} a second and thread", self.executions);
        found
    }
}

/// Returns the heads of the corpus without the byte for the listener.
fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/decide");
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap()[1..].to_vec())
        .collect()
}

/// Prints the input of a panic.
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
