//! Options declared one by one: argparse, click, typer's `Option`, absl.

use serde_json::Value;

use super::{Opt, kind_of, kind_of_value};
use crate::command::python::{Argument, Source, Token};
use crate::launched::{Kind, Way};

/// `parser.add_argument("--lr", type=float, default=0.1)`.
pub(super) fn argparse(source: &Source) -> Vec<Opt> {
    let mut options: Vec<Opt> =
        source.calls(|name| name == "add_argument").filter_map(|(_, call)| argument(source, &call)).collect();
    for (_, call) in source.calls(|name| name == "set_defaults") {
        for Argument { name, value } in call {
            for option in options.iter_mut().filter(|option| Some(option.dest.as_str()) == name) {
                option.default = source.literal(value);
            }
        }
    }
    options
}

fn argument(source: &Source, call: &[Argument<'_>]) -> Option<Opt> {
    let names: Vec<String> = call
        .iter()
        .filter(|argument| argument.name.is_none())
        .filter_map(|argument| source.literal(argument.value)?.as_str().map(str::to_owned))
        .collect();
    if !names.first()?.starts_with('-') {
        return None;
    }
    let named = |name: &str| call.iter().find(|argument| argument.name == Some(name)).map(|argument| argument.value);
    let literal = |name: &str| named(name).and_then(|value| source.literal(value));
    let action = named("action").and_then(|value| {
        source
            .literal(value)
            .and_then(|text| text.as_str().map(str::to_owned))
            .or_else(|| Some(value.last()?.name()?.to_owned()))
    });
    let spelled = long_first(names);
    let dest =
        literal("dest").and_then(|dest| dest.as_str().map(str::to_owned)).unwrap_or_else(|| dest_of(&spelled[0]));
    let option = Opt { dest, help: text(source, named("help")), names: spelled, ..Opt::default() };
    let default = literal("default");
    Some(match action.as_deref() {
        Some("store_true") => switch(option, default.unwrap_or(Value::Bool(false))),
        Some("store_false") => {
            let off = option.names.first().cloned();
            Opt { names: Vec::new(), off, ..switch(option, default.unwrap_or(Value::Bool(true))) }
        }
        Some("BooleanOptionalAction") => {
            let off = option.names.iter().find_map(|name| name.strip_prefix("--")).map(|name| format!("--no-{name}"));
            Opt { off, default, ..switch(option, Value::Null) }
        }
        Some(action) if action != "store" => return None,
        _ => {
            let kind = match named("type") {
                Some(kind) => kind_of(kind),
                None if named("choices").is_some() => Kind::Text,
                // argparse returns the text unchanged.
                None => Kind::Text,
            };
            // Without a default, argparse has None.
            let default = if named("default").is_some() { default } else { Some(Value::Null) };
            Opt { kind, default, choices: texts(source, named("choices")), ..option }
        }
    })
}

/// `@click.option("--bn/--no-bn", default=True)`, `typer.Option(0.1, "--lr")` behind a parameter.
pub(super) fn click(source: &Source) -> Vec<Opt> {
    let decorated =
        |at: usize| (1..=3).any(|back| at.checked_sub(back).is_some_and(|before| source.tokens[before].is('@')));
    source
        .calls(|name| name == "option")
        .filter(|(at, _)| decorated(*at))
        .filter_map(|(_, call)| click_option(source, &call))
        .collect()
}

fn click_option(source: &Source, call: &[Argument<'_>]) -> Option<Opt> {
    let words: Vec<String> = call
        .iter()
        .filter(|argument| argument.name.is_none())
        .filter_map(|argument| source.literal(argument.value)?.as_str().map(str::to_owned))
        .collect();
    let named = |name: &str| call.iter().find(|argument| argument.name == Some(name)).map(|argument| argument.value);
    let literal = |name: &str| named(name).and_then(|value| source.literal(value));
    let (mut names, mut off) = (Vec::new(), None);
    for word in words.iter().filter(|word| word.starts_with('-')) {
        match word.split_once('/') {
            Some((on, no)) => {
                names.push(on.trim().to_owned());
                off = Some(no.trim().to_owned());
            }
            None => names.push(word.clone()),
        }
    }
    let names = long_first(names);
    let dest = words.iter().find(|word| !word.starts_with('-')).cloned().or_else(|| Some(dest_of(names.first()?)))?;
    let default = if named("default").is_some() { literal("default") } else { Some(Value::Null) };
    let option = Opt { dest, names, help: text(source, named("help")), ..Opt::default() };
    if off.is_some() || literal("is_flag") == Some(Value::Bool(true)) {
        let default = default.filter(|value| !value.is_null()).unwrap_or(Value::Bool(false));
        return Some(Opt { off, ..switch(option, default) });
    }
    let choices = named("type").map(|kind| listed(source, kind)).unwrap_or_default();
    let kind = named("type").map_or_else(|| kind_of_value(default.as_ref()), kind_of);
    Some(Opt { kind: if kind == Kind::Truthy { Kind::Bool } else { kind }, default, choices, ..option })
}

/// `flags.DEFINE_float("lr", 0.1, "Learning rate.")`.
pub(super) fn absl(source: &Source) -> Vec<Opt> {
    let defines = source.calls(|name| name.starts_with("DEFINE_"));
    defines
        .filter_map(|(at, call)| {
            let name = call.first().and_then(|argument| source.literal(argument.value)?.as_str().map(str::to_owned))?;
            let named =
                |name: &str| call.iter().find(|argument| argument.name == Some(name)).map(|argument| argument.value);
            let given =
                named("default").or_else(|| call.get(1).filter(|argument| argument.name.is_none()).map(|a| a.value));
            let default = given.and_then(|value| source.literal(value));
            let texts_given = call.iter().filter(|argument| argument.name.is_none()).skip(2);
            let help = text(source, named("help").or_else(|| texts_given.last().map(|argument| argument.value)));
            let option = Opt { names: vec![format!("--{name}")], dest: name.clone(), default, help, ..Opt::default() };
            Some(match source.tokens[at].name()? {
                "DEFINE_float" => Opt { kind: Kind::Float, ..option },
                "DEFINE_integer" => Opt { kind: Kind::Int, ..option },
                "DEFINE_string" => Opt { kind: Kind::Text, ..option },
                "DEFINE_bool" | "DEFINE_boolean" => {
                    let default = option.default.clone().unwrap_or(Value::Bool(false));
                    Opt { off: Some(format!("--no{name}")), ..switch(option, default) }
                }
                "DEFINE_enum" => {
                    let choices =
                        texts(source, named("enum_values").or_else(|| call.get(2).map(|argument| argument.value)));
                    Opt { kind: Kind::Text, choices, ..option }
                }
                _ => return None,
            })
        })
        .collect()
}

pub(super) fn switch(option: Opt, default: Value) -> Opt {
    Opt { way: Way::Switch, kind: Kind::Bool, default: Some(default), ..option }
}

/// The name that argparse and click derive from `--learning-rate`.
pub(super) fn dest_of(name: &str) -> String {
    name.trim_start_matches('-').replace('-', "_")
}

/// Long spellings before short ones.
fn long_first(mut names: Vec<String>) -> Vec<String> {
    names.sort_by_key(|name| !name.starts_with("--"));
    names
}

pub(super) fn text(source: &Source, value: Option<&[Token]>) -> String {
    let literal = value.and_then(|value| source.literal(value));
    literal.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The texts of a list: `["adam", "sgd"]`, or the keys of a dictionary by its name.
fn texts(source: &Source, value: Option<&[Token]>) -> Vec<String> {
    match value {
        Some([Token::Name(table), ..]) => super::keys_of(source, table),
        Some(value) => listed(source, value),
        None => Vec::new(),
    }
}

/// Every text in an expression.
fn listed(source: &Source, value: &[Token]) -> Vec<String> {
    match value {
        [Token::Name(list)] => super::keys_of(source, list),
        _ => value.iter().filter_map(Token::text).map(str::to_owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn argparse_is_read_with_its_actions() {
        let source = Source::read(
            r#"
DEFAULT = 3e-4
p.add_argument("-b", "--batch-size", type=int, default=32, help="batch " "size")
p.add_argument("--lr", type=float, default=DEFAULT)
p.add_argument("--bn", action="store_true")
p.add_argument("--no-aug", dest="aug", action="store_false")
p.add_argument("--norm", action=argparse.BooleanOptionalAction, default=True)
p.add_argument("--opt", choices=["adam", "sgd"], default="adam")
p.add_argument("--flag", type=bool, default=False)
p.add_argument("--flag2", type=str2bool, default=False)
p.add_argument("--flag3", type=lambda x: x.lower() == "true", default=False)
p.add_argument("--name")
p.add_argument("data")
p.add_argument("--version", action="version")
p.set_defaults(name="x")
"#,
        );
        let found = argparse(&source);
        let shown: Vec<String> = found
            .iter()
            .map(|o| {
                format!(
                    "{} {} {:?} {:?} {} {:?} {}",
                    o.dest,
                    o.names.join(","),
                    o.way,
                    o.kind,
                    o.default.clone().unwrap(),
                    o.off,
                    o.choices.join(",")
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "batch_size --batch-size,-b Argument Int 32 None ",
                "lr --lr Argument Float 0.0003 None ",
                "bn --bn Switch Bool false None ",
                "aug  Switch Bool true Some(\"--no-aug\") ",
                "norm --norm Switch Bool true Some(\"--no-norm\") ",
                "opt --opt Argument Text \"adam\" None adam,sgd",
                "flag --flag Argument Truthy false None ",
                "flag2 --flag2 Argument Bool false None ",
                "flag3 --flag3 Argument Bool false None ",
                "name --name Argument Text \"x\" None ",
            ]
        );
        assert_eq!(found[0].help, "batch size");
    }

    #[test]
    fn click_and_absl_are_read() {
        let source = Source::read(
            r#"
@click.command()
@click.option("--lr", default=0.1, type=float, help="rate")
@click.option("--bn/--no-bn", default=True)
@click.option("--opt", type=click.Choice(["adam", "sgd"]), default="sgd")
@click.option("--fast", is_flag=True)
def main(lr, bn, opt, fast): pass
flags.DEFINE_float("eta", 0.5, "Learning rate.")
flags.DEFINE_boolean("norm", False, "batch norm")
flags.DEFINE_enum("act", "relu", ["relu", "tanh"], "activation")
"#,
        );
        let found: Vec<Opt> = click(&source).into_iter().chain(absl(&source)).collect();
        let shown: Vec<String> =
            found.iter().map(|o| format!("{} {:?} {:?} {:?}", o.names[0], o.kind, o.off, o.choices)).collect();
        assert_eq!(
            shown,
            [
                "--lr Float None []",
                "--bn Bool Some(\"--no-bn\") []",
                "--opt Text None [\"adam\", \"sgd\"]",
                "--fast Bool None []",
                "--eta Float None []",
                "--norm Bool Some(\"--nonorm\") []",
                "--act Text None [\"relu\", \"tanh\"]",
            ]
        );
        assert_eq!((found[4].default.clone(), found[4].help.as_str()), (Some(json!(0.5)), "Learning rate."));
    }
}
