//! Arguments that nobody thought of.

use pause_contract::{Program, TERMINATED, VERSION, WARNING};
use pause_tests::shipped;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// Where the arguments made up below start from. They are the same in every run until this is changed.
const SEED: u64 = 20_260_821;

/// As likely to come near `-v` as to be anything else.
fn argument() -> impl Strategy<Value = Vec<u8>> {
    let near = prop_oneof![Just(b'-'), Just(b'v'), Just(b'V'), Just(0x0d), Just(0xad), Just(b'w')];
    prop_oneof![proptest::collection::vec(near, 0..4), proptest::collection::vec(1..=u8::MAX, 0..40)]
}

#[test]
fn exactly_the_version_options_print_the_version() {
    println!("seed {SEED}"); // Shown when the test fails.
    // What hangs would have to be waited for again and again, while smaller arguments are looked for.
    let max_shrink_time = 1000;
    let rng_seed = RngSeed::Fixed(SEED);
    let config = Config { cases: 1000, rng_seed, max_shrink_time, failure_persistence: None, ..Config::default() };
    let pause = Program::new(&[], shipped());
    let outcome = TestRunner::new(config).run(&proptest::collection::vec(argument(), 0..6), |arguments| {
        let asks = arguments.iter().any(|argument| argument == b"-v" || argument == b"-V");
        let start = pause.another().args(arguments.into_iter().map(OsString::from_vec));
        if asks {
            start.ended().exited(0, VERSION, "");
        } else {
            start.asleep().terminated().exited(0, "", [WARNING, TERMINATED].concat());
        }
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
