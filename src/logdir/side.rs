//! Small files next to event files: the hyperparameters that Lightning and Ultralytics save, and the file that links an
//! experiment.
//!
//! Owns: their names and formats. Must not know: which names are knobs.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::launched::Launched;

/// A file next to event files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SideFile {
    /// Lightning's hyperparameters.
    HparamsYaml,
    /// The arguments of Ultralytics, and of programs that save theirs under the same name.
    ArgsYaml,
    /// `{"suggestion_id": "…"}`: which suggestion this run carries out.
    NextrunJson,
}

/// A longer side file is not read.
pub const MAX_SIDE_FILE: u64 = 1 << 20;

/// Maximum number of hyperparameters per file.
const MAX_NAMES: usize = 4096;

/// Deeper nesting is not followed.
const MAX_DEPTH: usize = 16;

impl SideFile {
    pub(super) fn of(name: &str) -> Option<SideFile> {
        match name {
            "hparams.yaml" => Some(SideFile::HparamsYaml),
            "args.yaml" => Some(SideFile::ArgsYaml),
            "nextrun.json" => Some(SideFile::NextrunJson),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            SideFile::HparamsYaml => "hparams.yaml",
            SideFile::ArgsYaml => "args.yaml",
            SideFile::NextrunJson => "nextrun.json",
        }
    }
}

/// The command in a `nextrun.json`. `owner` is the only user who may have written the file; the file's own statement
/// about its owner is ignored.
pub fn launched(json: &str, owner: Option<u32>) -> Option<Launched> {
    let mut launched: Launched = serde_json::from_str(json).ok()?;
    launched.owner = owner;
    (!launched.argv.is_empty()).then_some(launched)
}

/// The hyperparameters in a YAML file by name, those of nested maps joined with `.`.
///
/// Python programs write their own objects to such files. As much as possible is read: a class represents itself and
/// its objects, other type tags are skipped, and if the file cannot be parsed as a whole, each top-level entry is tried
/// separately.
pub fn hyperparameters(yaml: &str) -> BTreeMap<String, Json> {
    let plain = without_tags(yaml);
    let mut names: BTreeMap<String, Json> = yaml.lines().filter_map(class_of).collect();
    match serde_saphyr::from_str::<Json>(&plain) {
        Ok(value) => flatten("", value, MAX_DEPTH, &mut names),
        Err(_) => {
            for block in top_level_blocks(&plain) {
                if let Ok(value) = serde_saphyr::from_str::<Json>(&block) {
                    flatten("", value, MAX_DEPTH, &mut names);
                }
            }
        }
    }
    names
}

fn flatten(prefix: &str, value: Json, depth: usize, names: &mut BTreeMap<String, Json>) {
    match value {
        Json::Object(map) if depth > 0 => {
            for (key, value) in map {
                let name = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
                flatten(&name, value, depth - 1, names);
            }
        }
        _ if prefix.is_empty() || names.len() >= MAX_NAMES => {}
        // The value of a class without its tag.
        Json::String(text) if text.is_empty() && names.contains_key(prefix) => {}
        value => {
            names.insert(prefix.to_owned(), value);
        }
    }
}

/// A top-level entry that is a class (`optimizer: !!python/name:torch.optim.adam.Adam ''`), or an object of one.
fn class_of(line: &str) -> Option<(String, Json)> {
    let (name, tag) = line.split_once(": !!python/")?;
    let (kind, class) = tag.trim_end().trim_end_matches("''").trim_end().split_once(':')?;
    let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    (plain && matches!(kind, "name" | "object") && !class.is_empty()).then(|| (name.to_owned(), class.into()))
}

/// Removes tags such as `!!python/object:argparse.Namespace` before a value.
fn without_tags(yaml: &str) -> String {
    let mut plain = String::with_capacity(yaml.len());
    for line in yaml.split_inclusive('\n') {
        let mut rest = line;
        while let Some(at) = tag_start(rest) {
            let end = rest[at..].find(char::is_whitespace).map_or(rest.len(), |len| at + len);
            plain.push_str(&rest[..at]);
            rest = &rest[end..];
        }
        plain.push_str(rest);
    }
    plain
}

/// Where a tag can start: at the beginning of a line or after `: ` or `- `, so that text with an exclamation mark is
/// unchanged.
fn tag_start(line: &str) -> Option<usize> {
    let before = |at: usize| line[..at].trim_end();
    line.match_indices('!').map(|(at, _)| at).find(|&at| {
        let before_it = before(at);
        let separated = line[..at].ends_with([' ', '\t']) && before_it.ends_with([':', '-', '?']);
        before_it.is_empty() || separated
    })
}

/// The entries of the outermost map, each with the lines that belong to it.
fn top_level_blocks(yaml: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    for line in yaml.split_inclusive('\n') {
        let starts = line.starts_with(|c: char| !c.is_whitespace() && !matches!(c, '-' | '#' | '}' | ']'));
        match blocks.last_mut() {
            Some(block) if !starts => block.push_str(line),
            _ => blocks.push(line.to_owned()),
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(yaml: &str) -> Vec<String> {
        hyperparameters(yaml).into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn flat_and_nested_maps() {
        assert_eq!(
            shown("lr: 0.001\nmodel:\n  depth: 3\n  act: relu\nlist: [1, 2]\nnone: null\nbn: true\n"),
            ["bn=true", "list=[1,2]", "lr=0.001", "model.act=\"relu\"", "model.depth=3", "none=null"]
        );
    }

    #[test]
    fn python_objects_do_not_cost_the_other_keys() {
        let yaml = "args: !!python/object:argparse.Namespace\n  lr: 0.1\n  greeting: hello !world\nbatch_size: 32\n\
                    path: !!python/object/apply:pathlib.PosixPath\n- /\n- data\nshape: !!python/tuple\n- 1\n- 2\n";
        assert_eq!(
            shown(yaml),
            [
                "args=\"argparse.Namespace\"",
                "args.greeting=\"hello !world\"",
                "args.lr=0.1",
                "batch_size=32",
                "path=[\"/\",\"data\"]",
                "shape=[1,2]"
            ]
        );
    }

    #[test]
    fn classes_stand_for_themselves_and_for_their_objects() {
        let yaml = "criterion: !!python/object:torch.nn.modules.loss.BCEWithLogitsLoss\n  training: true\n\
                    optimizer: !!python/name:torch.optim.adam.Adam ''\nlr: 0.1\n";
        assert_eq!(
            shown(yaml),
            [
                "criterion=\"torch.nn.modules.loss.BCEWithLogitsLoss\"",
                "criterion.training=true",
                "lr=0.1",
                "optimizer=\"torch.optim.adam.Adam\""
            ]
        );
    }

    #[test]
    fn a_broken_entry_does_not_cost_the_others() {
        assert_eq!(shown("lr: 0.1\nbad: [1, 2\nbatch_size: 8\n"), ["batch_size=8", "lr=0.1"]);
        assert_eq!(shown("lr: 0.1\nfn: *nowhere\nbatch_size: 8\n"), ["batch_size=8", "lr=0.1"]);
    }

    #[test]
    fn a_command_belongs_to_who_wrote_its_file_whatever_the_file_says() {
        let json =
            r#"{"source": "run", "argv": ["python", "train.py"], "cwd": "/home/ada", "owner": 0, "exit_code": 1}"#;
        let found = launched(json, Some(1000)).unwrap();
        assert_eq!((found.argv.len(), found.cwd.as_str(), found.owner), (2, "/home/ada", Some(1000)));
        assert_eq!(launched(json, None).unwrap().owner, None);
        for none in [r#"{"suggestion_id": "s1"}"#, r#"{"source": "run", "argv": [], "cwd": "/"}"#, "", "[]"] {
            assert_eq!(launched(none, Some(1)), None, "{none}");
        }
    }

    #[test]
    fn nothing_and_nonsense_give_nothing() {
        for yaml in ["", "{}", "null", "- 1\n- 2\n", "just text", "\u{0}\u{1}", "a: &a [*a, *a]"] {
            assert!(shown(yaml).iter().all(|line| line.starts_with("a=")), "{yaml:?}");
        }
    }
}
