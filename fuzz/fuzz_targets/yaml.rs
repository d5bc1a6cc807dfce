//! Arbitrary text as a configuration and as a preset: it is read or rejected, and every mistake has a position in the
//! text.
#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use nextrun::config::{Vocabulary, parse};
use nextrun::daemon::vocabulary;
use nextrun::destinations::Preset;

/// A preset that is a file is not looked for: a text may name any file of the machine.
static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| Vocabulary { preset_file: None, ..vocabulary() });

fuzz_target!(|text: &str| {
    if let Err(problems) = parse(text, "fuzz.yaml", Path::new("/etc"), &VOCABULARY) {
        assert!(!problems.is_empty(), "refused without a reason");
        for problem in problems {
            assert!(problem.to_string().contains("fuzz.yaml"), "without a place: {problem}");
        }
    }
    if let Ok(preset) = Preset::parse("fuzz", text) {
        Arc::new(preset).failures();
    }
});
