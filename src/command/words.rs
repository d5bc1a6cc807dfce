//! Where a command sets a flag.
//!
//! Owns: the forms in which one or two arguments set something. Must not know: knobs and values.

use crate::launched::{Flag, Way};

/// A position in a command where a flag is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spot {
    /// `--lr 0.1`: the places of both words.
    Pair(usize, usize),
    /// `--lr=0.1`, `lr=0.1`, `-b32`: the position of the argument, and the byte at which its value begins.
    Joined(usize, usize),
    /// A switch.
    Alone(usize),
}

/// Every position where a flag is set, in order. `from` is the first argument that belongs to the script; `assignments`
/// are the positions of `NAME=VALUE` before it.
pub(super) fn spots(argv: &[String], from: usize, assignments: &[usize], flag: &Flag) -> Vec<Spot> {
    match flag.way {
        Way::Argument => arguments(argv, from, flag),
        Way::Switch => {
            let own = |word: &str| names(flag).chain(flag.off.as_deref()).any(|name| alike(name, word));
            let places = (from..argv.len()).filter(|at| own(&argv[*at]));
            places.map(Spot::Alone).collect()
        }
        Way::KeyValue => {
            let value = |at: usize| {
                let key = argv[at].split_once('=')?.0;
                (key.trim_start_matches('+') == flag.name).then_some(Spot::Joined(at, key.len() + 1))
            };
            (from..argv.len()).filter_map(value).collect()
        }
        Way::Environment => {
            let own = |at: &usize| argv.get(*at)?.split_once('=').filter(|(name, _)| *name == flag.name).map(|_| *at);
            assignments.iter().filter_map(own).map(|at| Spot::Joined(at, flag.name.len() + 1)).collect()
        }
        Way::File | Way::Overrides => Vec::new(),
    }
}

fn names(flag: &Flag) -> impl Iterator<Item = &str> {
    std::iter::once(flag.name.as_str()).chain(flag.also.iter().map(String::as_str)).filter(|name| !name.is_empty())
}

/// Whether two arguments are the same option. Some parsers treat `-` and `_` alike, which a command that ran proves.
pub(super) fn alike(name: &str, word: &str) -> bool {
    name == word || (name.starts_with("--") && name.replace('_', "-") == word.replace('_', "-"))
}

fn arguments(argv: &[String], from: usize, flag: &Flag) -> Vec<Spot> {
    let mut spots = Vec::new();
    let mut at = from;
    while let Some(word) = argv.get(at) {
        let (head, joined) = word.split_once('=').map_or((word.as_str(), false), |(head, _)| (head, true));
        if word == "--" {
            break;
        }
        if names(flag).any(|name| alike(name, head)) {
            if joined {
                spots.push(Spot::Joined(at, head.len() + 1));
            } else if at + 1 < argv.len() {
                spots.push(Spot::Pair(at, at + 1));
                at += 1;
            }
        } else if let Some(name) =
            names(flag).find(|name| is_short(name) && word.starts_with(*name) && !word.starts_with("--"))
        {
            spots.push(Spot::Joined(at, name.len()));
        }
        at += 1;
    }
    spots
}

fn is_short(name: &str) -> bool {
    name.len() == 2 && name.starts_with('-')
}

/// The value at a place; a switch has none.
pub(super) fn value_at(argv: &[String], spot: Spot) -> Option<&str> {
    match spot {
        Spot::Pair(_, at) => argv.get(at).map(String::as_str),
        Spot::Joined(at, from) => argv.get(at).and_then(|word| word.get(from..)),
        Spot::Alone(_) => None,
    }
}

/// Whether an argument can be the value of the preceding option.
pub(super) fn may_be_value(word: &str) -> bool {
    !word.starts_with('-') || word.parse::<f64>().is_ok() || word == "-"
}

/// A path without `.`, `..` and double slashes; relative paths are relative to `folder`.
pub(super) fn absolute(folder: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{folder}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    format!("/{}", parts.join("/"))
}

/// An absolute path relative to `folder`: empty for the folder itself.
pub(super) fn below<'p>(folder: &str, path: &'p str) -> Option<&'p str> {
    let rest = path.strip_prefix(folder.trim_end_matches('/'))?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_is_found_in_each_of_its_forms() {
        let argv: Vec<String> = "LR=1 python t.py --lr 0.1 --lr=0.2 --lr-decay 3 -b32 -b 16 +a.lr=4 --batch_size 8"
            .split(' ')
            .map(str::to_owned)
            .collect();
        let find = |name: &str, also: &[&str], way| {
            let flag = Flag {
                name: name.into(),
                also: also.iter().map(|a| (*a).to_owned()).collect(),
                way,
                ..Flag::default()
            };
            let spots = spots(&argv, 3, &[0], &flag);
            spots.into_iter().filter_map(|spot| value_at(&argv, spot)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(find("--lr", &[], Way::Argument), "0.1 0.2");
        assert_eq!(find("--batch-size", &["-b"], Way::Argument), "32 16 8");
        assert_eq!(find("a.lr", &[], Way::KeyValue), "4");
        assert_eq!(find("LR", &[], Way::Environment), "1");
    }

    #[test]
    fn paths_are_compared_by_their_parts() {
        assert_eq!(absolute("/a/b", "../c/./d//e"), "/a/c/d/e");
        assert_eq!(absolute("/a", "/b/"), "/b");
        assert_eq!(
            (below("/a", "/a/b"), below("/a", "/a"), below("/a", "/ab"), below("/", "/a")),
            (Some("b"), Some(""), None, Some("a"))
        );
    }
}
