//! Settings that a program wrote as a text: JSON, `name: value` lines, a Markdown table, or a printed `Namespace`.
//!
//! Owns: the tags and forms of such texts. Must not know: which settings are knobs.

use serde_json::{Map, Value};

/// Last parts of tags under which programs write all their settings.
const TAGS: &[&str] = &[
    "args",
    "arguments",
    "config",
    "configs",
    "cfg",
    "flags",
    "hparams",
    "hparam",
    "hyperparameters",
    "hyperparams",
    "hyper_parameters",
    "opt",
    "options",
    "params",
    "parameters",
    "settings",
    "setup",
];

/// Longer names are sentences.
const LONGEST_NAME: usize = 60;

/// Whether a text with this tag contains the settings of its program, and not of a part of it. `add_text` appends
/// `/text_summary`.
pub(super) fn is_of_settings(tag: &str) -> bool {
    let tag = tag.trim_end_matches("/text_summary").to_ascii_lowercase().replace('-', "_");
    let (of, last) = tag.rsplit_once('/').unwrap_or(("train", &tag));
    TAGS.contains(&last) && ["train", "training", "run", "job"].contains(&of)
}

/// The settings in a text, by the names that the program gave them.
pub(super) fn settings_in(text: &str) -> Map<String, Value> {
    let text = text.trim().trim_start_matches("```json").trim_matches('`').trim();
    if let Ok(Value::Object(settings)) = serde_json::from_str(text) {
        return settings;
    }
    let mut settings = Map::new();
    let mut ambiguous = Vec::new();
    for (name, value) in text.lines().flat_map(|line| line.split("<br>")).flat_map(parts).filter_map(entry_of) {
        if settings.get(&name).is_some_and(|other| *other != value) {
            ambiguous.push(name);
        } else {
            settings.insert(name, value);
        }
    }
    // Parts of a program may have settings of the same name.
    settings.retain(|name, _| !ambiguous.contains(name));
    settings
}

/// The settings of a line: several of them have several signs, as in `lr=0.1, batch=32`.
fn parts(line: &str) -> Vec<&str> {
    let line = line.split_once(" #").map_or(line, |(settings, _comment)| settings);
    let several = line.matches(['=', ':']).count() > 1;
    if several && !line.trim_start().starts_with('|') { line.split(", ").collect() } else { vec![line] }
}

/// One setting: `lr: 0.1`, `--lr=0.1`, `- **lr**: 0.1`, `| lr | 0.1 |`, `Namespace(lr=0.1`.
fn entry_of(entry: &str) -> Option<(String, Value)> {
    let plain = entry.replace(['*', '`', '\\'], "");
    let plain = plain.trim();
    let (name, value) = if plain.starts_with('|') {
        let cells: Vec<&str> = plain.trim_matches('|').split('|').collect();
        (*cells.first()?, *cells.get(1).filter(|_| cells.len() == 2)?)
    } else {
        plain.split_once([':', '='])?
    };
    // The name of the class whose object was printed is none of its settings.
    let name = name.rsplit('(').next()?;
    let around = |c: char| c.is_whitespace() || "\"'-,{}()".contains(c);
    let (name, value) = (name.trim_matches(around), value.trim_matches(|c| c != '-' && around(c)));
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.len() <= LONGEST_NAME
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    (is_name && !value.is_empty()).then(|| (name.to_owned(), value.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tags_of_settings_are_known_by_their_last_part() {
        assert!(["args/text_summary", "Config", "train/hyper-parameters/text_summary"].into_iter().all(is_of_settings));
        assert!(!["model_config/text_summary", "samples", "text"].into_iter().any(is_of_settings));
    }

    #[test]
    fn settings_are_read_in_the_forms_in_which_programs_write_them() {
        let expected = json!({"lr": "0.001", "batch-size": "64", "optim": "adam", "bn": "True", "clip": "None"});
        for text in [
            "lr: 0.001  \nbatch-size: 64  \noptim: adam  \nbn: True  \nclip: None",
            "lr=0.001\nbatch-size = 64\noptim='adam'\nbn=True\nclip=None",
            "|param|value|\n|-|-|\n|lr|0.001|\n|batch-size|64|\n|optim|adam|\n|bn|True|\n|clip|None|",
            "- **lr**: 0.001\n- **batch-size**: 64\n- **optim**: `adam`\n- **bn**: True\n- **clip**: None",
            "a second try, lr=0.001, batch-size=64, optim=adam, bn=True, clip=None",
            "{'lr': 0.001, 'batch-size': 64, 'optim': 'adam', 'bn': True, 'clip': None}",
            "lr: 0.001, batch-size: 64, optim: adam, bn: True, clip: None",
            "lr: 0.001  # the peak\nbatch-size: 64\noptim: adam\nbn: True\nclip: None",
            "Namespace(lr=0.001, batch-size=64, optim='adam', bn=True, clip=None)",
            "--lr=0.001<br>--batch-size=64<br>--optim=adam<br>--bn=True<br>--clip=None",
            "{'lr': 0.001,\n 'batch-size': 64,\n 'optim': 'adam',\n 'bn': True,\n 'clip': None}",
        ] {
            let mut read = settings_in(text);
            read.remove("param");
            assert_eq!(Value::Object(read), expected, "{text}");
        }
        assert_eq!(settings_in("```json\n{\"lr\": 0.001, \"bn\": true}\n```")["bn"], true);
        assert_eq!(settings_in("| lr | 0.1 | the rate |\n|lr|batch|decay|"), Map::new(), "a table of another form");
        assert_eq!(settings_in("Config(lr=-0.1, name='a')")["lr"], "-0.1");
    }

    #[test]
    fn what_two_parts_of_a_program_set_differently_is_not_known() {
        let read =
            settings_in("train = dict(\n    batch_size=32,\n    lr=0.1)\ntest = dict(\n    batch_size=1)\nlr=0.1");
        assert_eq!((read.get("lr"), read.get("batch_size")), (Some(&"0.1".into()), None));
    }

    #[test]
    fn prose_contains_no_settings() {
        assert!(settings_in("A run to see: does it learn at all?\n\nWe hope so, see http://example.org").is_empty());
    }
}
