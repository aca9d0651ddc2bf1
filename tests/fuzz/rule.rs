//! The rule language under a fuzzer; `make test` runs the same body on fixed inputs.

#![no_main]

mod rule_body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| rule_body::check(data));
