//! How a report reads.
//!
//! Owns: words and layout. Must not know: how a story is played.

use std::fmt;

use crate::facts::Knobs;

use super::{Results, Status};

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Status::Pass => "PASS",
            Status::Fail => "FAIL",
            Status::Error => "ERROR",
        })
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.problems.is_empty() {
            for problem in &self.problems {
                writeln!(f, "{problem}\n")?;
            }
            return write!(f, "ERROR: the test file has {} problems, so no test ran", self.problems.len());
        }
        for test in &self.tests {
            writeln!(f, "{:<5} {}", test.status, test.name)?;
            for line in test.findings.iter().flat_map(|finding| finding.lines()) {
                writeln!(f, "      {line}")?;
            }
            if test.status != Status::Pass {
                writeln!(f, "      walked:")?;
                for line in &test.walked {
                    writeln!(f, "        {line}")?;
                }
            }
        }
        let [pass, fail, error] = [Status::Pass, Status::Fail, Status::Error].map(|status| self.count(status));
        writeln!(f, "{pass} passed, {fail} failed, {error} in error")?;
        write!(f, "coverage: {} of {} outcomes and conclusions reached", self.ways - self.not_taken.len(), self.ways)?;
        let mut state = "";
        for way in &self.not_taken {
            if way.state == state {
                write!(f, ", {}", way.outcome)?;
            } else {
                write!(f, "\n  not reached: {} -> {}", way.state, way.outcome)?;
                state = &way.state;
            }
        }
        Ok(())
    }
}

/// Knobs in one line.
pub(super) fn knobs(knobs: &Knobs) -> String {
    let all: Vec<String> = knobs.iter().map(|(knob, value)| format!("{knob}: {value}")).collect();
    format!("{{{}}}", all.join(", "))
}

/// Two paths as a difference: `-` was expected and did not come, `+` came and was not expected.
pub(super) fn difference(expected: &[String], went: &[String]) -> String {
    let mut lines = Vec::new();
    let (mut i, mut j) = (0, 0);
    let common = common_lengths(expected, went);
    while i < expected.len() || j < went.len() {
        match (expected.get(i), went.get(j)) {
            (Some(a), Some(b)) if a == b => {
                lines.push(format!("    {a}"));
                i += 1;
                j += 1;
            }
            (Some(a), right) if right.is_none() || common[i + 1][j] >= common[i][j + 1] => {
                lines.push(format!("  - {a}"));
                i += 1;
            }
            (_, Some(b)) => {
                lines.push(format!("  + {b}"));
                j += 1;
            }
            _ => break,
        }
    }
    lines.join("\n")
}

/// Lengths of the longest common subsequences of all pairs of tails.
fn common_lengths(a: &[String], b: &[String]) -> Vec<Vec<usize>> {
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            table[i][j] = if a[i] == b[j] { table[i + 1][j + 1] + 1 } else { table[i + 1][j].max(table[i][j + 1]) };
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::difference;

    fn path(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_difference_keeps_what_is_common() {
        assert_eq!(difference(&path("a b c"), &path("a x c d")), "    a\n  - b\n  + x\n    c\n  + d");
        assert_eq!(difference(&path("a"), &path("")), "  - a");
        assert_eq!(difference(&path(""), &path("a a")), "  + a\n  + a");
    }
}
