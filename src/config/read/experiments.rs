//! The section `experiments`.

use serde_json::Value;

use crate::config::settings::Experiments;
use crate::config::words::Template;
use crate::yaml::{Fields, Kind, Node};

use super::Reader;

/// The placeholders of `output_dir`.
const HOLES: [&str; 2] = ["suggestion_id", "run_name"];

impl Reader<'_> {
    /// The environment of experiments. These variables are added to the default ones; `null` removes a variable.
    pub(super) fn experiments(&mut self, node: &Node) -> Experiments {
        let mut experiments = Experiments::default();
        let Some(fields) = Fields::new(node, "`experiments`", &["env", "output_dir"], &mut self.problems) else {
            return experiments;
        };
        if let Some(node) = fields.get("env") {
            self.variables(node, &mut experiments);
        }
        if let Some(node) = fields.get("output_dir")
            && let Some(text) = node.text("`output_dir`", &mut self.problems)
        {
            match Template::parse(text, &HOLES) {
                Ok(_) if text.starts_with('/') => experiments.output_dir = Some(text.to_owned()),
                Ok(_) => {
                    let help = "experiments run in directories other than that of this file";
                    self.problems.add_help(node.place, "`output_dir` must be an absolute path", help);
                }
                Err(reason) => self.problems.add(node.place, format!("`output_dir`: {reason}")),
            }
        }
        experiments
    }

    fn variables(&mut self, node: &Node, experiments: &mut Experiments) {
        for (key, node) in node.entries("`env`", &mut self.problems) {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if key.name.is_empty() || !key.name.chars().all(word) || key.name.starts_with(|c: char| c.is_ascii_digit())
            {
                self.problems.add(key.place, format!("`{}` is not a valid variable name", key.name));
                continue;
            }
            match &node.kind {
                Kind::Scalar(Value::Null) => drop(experiments.env.remove(&key.name)),
                Kind::Scalar(Value::String(text)) => drop(experiments.env.insert(key.name.clone(), text.clone())),
                Kind::Scalar(value) => drop(experiments.env.insert(key.name.clone(), value.to_string())),
                _ => self.problems.add(node.place, format!("the value of {} must be a text", key.name)),
            }
        }
    }
}
