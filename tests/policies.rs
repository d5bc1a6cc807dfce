//! Every policy that is shipped is free of problems.

use nextrun::policy::{Vocabulary, parse};
use nextrun::symptoms;

#[test]
fn every_policy_reads_without_a_problem() {
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/policies")).expect("policies are there") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if !name.ends_with(".yaml") || name.ends_with(".test.yaml") || name == "signals.yaml" {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("it can be read");
        let vocabulary = Vocabulary::new(symptoms::ids());
        if let Err(problems) = parse(&text, &name, &vocabulary) {
            panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
        }
    }
}
