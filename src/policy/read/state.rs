//! One state of the file.
//!
//! Owns: the keys of a state. Must not know: the graph of states.

use crate::policy::file::{CONCLUDE, Order, Phase, State, Try};
use crate::policy::guard::{Expression, When};
use crate::yaml::{Fields, Kind, Node, suggest};

use super::Reader;

const KEYS: [&str; 10] = ["first", "else", "try", "only", "order", "before_each", "found", "empty", "seed", "held"];
/// The keys of each kind of state.
const FIRST: &[&str] = &["first", "else"];
const TRY: &[&str] = &["try", "only", "order", "before_each", "found", "empty"];
const CONFIRM: &[&str] = &["seed", "held", "else"];

impl Reader<'_> {
    pub(super) fn state(&mut self, name: &str, node: &Node) -> Option<State> {
        let fields = Fields::new(node, &format!("state `{name}`"), &KEYS, &mut self.problems)?;
        let known = [FIRST, TRY, CONFIRM].into_iter().find(|keys| fields.get(keys[0]).is_some());
        let Some(known) = known else {
            let help = "add `first` (tests whose condition is true), `try` (tests in order) or `seed: next` (confirm)";
            self.problems.add_help(node.place, format!("state `{name}` does nothing"), help);
            return None;
        };
        for key in KEYS.iter().filter(|key| !known.contains(*key)).filter_map(|key| fields.key(key)) {
            let message = format!("`{}` cannot be combined with `{}` in state `{name}`", key.name, known[0]);
            self.problems.add(key.place, message);
        }
        let phase = match known[0] {
            "first" => {
                Phase::First { tests: self.tests_of(&fields, "first"), onward: self.way(&fields, "else", name)? }
            }
            "try" => Phase::Try(self.tries(name, &fields)?),
            _ => self.confirm(name, &fields)?,
        };
        Some(State { name: name.to_owned(), phase })
    }

    fn confirm(&mut self, name: &str, fields: &Fields<'_>) -> Option<Phase> {
        if let Some(node) = fields.get("seed")
            && node.text("`seed`", &mut self.problems).is_some_and(|seed| seed != "next")
        {
            self.problems.add(node.place, "`seed` can only be `next`");
        }
        Some(Phase::Confirm { held: self.way(fields, "held", name)?, onward: self.way(fields, "else", name)? })
    }

    fn tries(&mut self, name: &str, fields: &Fields<'_>) -> Option<Try> {
        let order = fields.get("order").and_then(|node| {
            let order = node.text("`order`", &mut self.problems)?;
            match order {
                "listed" => Some(Order::Listed),
                "information" => Some(Order::Information),
                other => {
                    let help = suggest(other, ["listed", "information"]);
                    self.problems.add_maybe(node.place, format!("there is no order `{other}`"), help);
                    None
                }
            }
        });
        if let Some(node) = fields.get("only")
            && node.text("`only`", &mut self.problems).is_some_and(|only| only != "suspected")
        {
            self.problems.add(node.place, "`only` can only be `suspected`");
        }
        let mut before_each = Vec::new();
        let items = fields.get("before_each").map_or(&[][..], |n| n.items("`before_each`", &mut self.problems));
        for item in items {
            if let (Some(when), go) = self.guarded(item, "an item of `before_each`", name) {
                before_each.push((when, go));
            } else {
                self.problems.add(item.place, "an item of `before_each` needs `when` and `go`");
            }
        }
        Some(Try {
            tests: self.tests_of(fields, "try"),
            order: order.unwrap_or(Order::Listed),
            only_suspected: fields.get("only").is_some(),
            before_each,
            found: match fields.get("found") {
                Some(node) => self.target(node, name),
                None => CONCLUDE.to_owned(),
            },
            empty: self.empty(name, fields)?,
        })
    }

    /// One name, or a list of conditions that ends with a name.
    fn empty(&mut self, name: &str, fields: &Fields<'_>) -> Option<Vec<(Option<Expression>, String)>> {
        let node = fields.need("empty", &format!("state `{name}`"), &mut self.problems)?;
        let Kind::List(items) = &node.kind else { return Some(vec![(None, self.target(node, name))]) };
        let ways: Vec<(Option<Expression>, String)> = items
            .iter()
            .map(|item| match item.kind {
                Kind::Map(_) => self.guarded(item, "an item of `empty`", name),
                _ => (None, self.target(item, name)),
            })
            .collect();
        if ways.last().is_none_or(|(when, _)| when.is_some()) {
            self.problems.add(node.place, "`empty` must end with a name: the next state if no condition is true");
        }
        Some(ways)
    }

    /// `{ when: CONDITION, go: NAME }`.
    fn guarded(&mut self, node: &Node, what: &str, state: &str) -> (Option<Expression>, String) {
        let Some(fields) = Fields::new(node, what, &["when", "go"], &mut self.problems) else {
            return (None, String::new());
        };
        let when = fields.need("when", what, &mut self.problems);
        let when = when.and_then(|node| self.guard(node, When::Entering));
        let go = fields.need("go", what, &mut self.problems);
        (when, go.map(|node| self.target(node, state)).unwrap_or_default())
    }

    fn way(&mut self, fields: &Fields<'_>, key: &str, name: &str) -> Option<String> {
        let node = fields.need(key, &format!("state `{name}`"), &mut self.problems)?;
        Some(self.target(node, name))
    }

    /// The name of a state or of a conclusion.
    fn target(&mut self, node: &Node, state: &str) -> String {
        let known = self.outline.targets.clone();
        let name = self.known_name(node, "state or conclusion", &known);
        if name == state {
            self.problems.add(node.place, format!("state `{state}` leads to itself"));
        }
        name
    }

    /// A list of tests; `tips` expands to the file's own list.
    pub(super) fn tests_of(&mut self, fields: &Fields<'_>, key: &str) -> Vec<String> {
        let mut tests: Vec<String> = Vec::new();
        for item in fields.get(key).map_or(&[][..], |n| n.items(&format!("`{key}`"), &mut self.problems)) {
            let tips = item.kind == Kind::Scalar("tips".into());
            let names = if tips { self.outline.tips.clone() } else { vec![self.test_name(item)] };
            for name in names {
                // `tips` omits tests that are listed by name; listing a name twice is a mistake.
                if !tests.contains(&name) {
                    tests.push(name);
                } else if !tips {
                    self.problems.add(item.place, format!("`{name}` is listed twice: a test runs at most once"));
                }
            }
        }
        tests
    }
}
