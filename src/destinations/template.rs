//! Templates over structures: a payload is a tree whose leaf strings are templates, so that no value can break its
//! quoting.
//!
//! Owns: the notation. Must not know: messages, presets, HTTP.
//!
//! - A leaf string is a minijinja template; an undefined name is an error (`is defined`, `default`).
//! - A leaf that consists of a single expression, `"{{ x }}"`, becomes the value of `x` with its type.
//! - `{if: CONDITION, then: NODE, else: NODE}` becomes one of the two nodes. Without `else`, it can become nothing: an
//!   absent element of a list, or an absent key of a map.
//! - `{for: NAME in LIST, each: NODE}` becomes a list with one element for each element of LIST.
//! - Within a list, the lists produced by `for`, and by a list under `then` or `else`, are spliced in.

use std::collections::BTreeMap;

use minijinja::{Environment, Error, ErrorKind, Value as Jinja};
use serde_json::{Map, Value};

/// The values available to templates, by name.
pub(super) type Scope = BTreeMap<String, Jinja>;

/// Why a template could not be read or rendered.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct TemplateError {
    /// Position in the structure, as `body.blocks[2].text`.
    place: String,
    /// The problem, with the template itself.
    reason: String,
}

/// A structure with templates, checked for syntax.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Constant(Value),
    Typed(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
    If { condition: String, then: Box<Node>, otherwise: Option<Box<Node>> },
    For { name: String, list: String, each: Box<Node> },
}

impl Node {
    /// Reads a structure; `place` is its name in messages.
    ///
    /// # Errors
    /// The position of the first template that does not parse.
    pub(super) fn parse(value: &Value, place: &str, environment: &Environment<'_>) -> Result<Node, TemplateError> {
        match value {
            Value::String(text) => leaf(text, place, environment),
            Value::Array(items) => {
                let parse = |(index, item)| Node::parse(item, &format!("{place}[{index}]"), environment);
                Ok(Node::List(items.iter().enumerate().map(parse).collect::<Result<_, _>>()?))
            }
            Value::Object(map) => Node::parse_map(map, place, environment),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(Node::Constant(value.clone())),
        }
    }

    fn parse_map(map: &Map<String, Value>, place: &str, environment: &Environment<'_>) -> Result<Node, TemplateError> {
        let child = |key: &str, value: &Value| Node::parse(value, &format!("{place}.{key}"), environment);
        if let (Some(Value::String(condition)), Some(then)) = (map.get("if"), map.get("then")) {
            check(environment.compile_expression(condition), place, condition)?;
            let then = Box::new(child("then", then)?);
            let otherwise = map.get("else").map(|node| child("else", node)).transpose()?.map(Box::new);
            return Ok(Node::If { condition: condition.clone(), then, otherwise });
        }
        if let (Some(Value::String(head)), Some(each)) = (map.get("for"), map.get("each")) {
            let Some((name, list)) = head.split_once(" in ") else {
                let reason = format!("`for: {head}` must be written as `for: NAME in LIST`");
                return Err(TemplateError { place: place.to_owned(), reason });
            };
            check(environment.compile_expression(list), place, list)?;
            let each = Box::new(child("each", each)?);
            return Ok(Node::For { name: name.trim().to_owned(), list: list.to_owned(), each });
        }
        let parse = |(key, value): (&String, &Value)| Ok((key.clone(), child(key, value)?));
        Ok(Node::Map(map.iter().map(parse).collect::<Result<_, _>>()?))
    }

    /// The structure with every template rendered; `None` is an `if` without a value.
    ///
    /// # Errors
    /// The position of the first template that fails, for example because of an undefined name.
    pub(super) fn render(
        &self,
        environment: &Environment<'_>,
        scope: &Scope,
        place: &str,
    ) -> Result<Option<Value>, TemplateError> {
        Ok(Some(match self {
            Node::Constant(value) => value.clone(),
            Node::Text(text) => Value::String(
                environment.render_str(text, context(scope)).map_err(|error| failed(place, text, &error))?,
            ),
            Node::Typed(expression) => {
                let value =
                    evaluate(environment, scope, expression).map_err(|error| failed(place, expression, &error))?;
                serde_json::to_value(value).map_err(|error| TemplateError {
                    place: place.to_owned(),
                    reason: format!("{expression:?} has no JSON form: {error}"),
                })?
            }
            Node::List(items) => Value::Array(render_list(items, environment, scope, place)?),
            Node::Map(entries) => {
                let mut map = Map::new();
                for (key, node) in entries {
                    if let Some(value) = node.render(environment, scope, &format!("{place}.{key}"))? {
                        map.insert(key.clone(), value);
                    }
                }
                Value::Object(map)
            }
            Node::If { condition, then, otherwise } => {
                let holds =
                    evaluate(environment, scope, condition).map_err(|error| failed(place, condition, &error))?;
                let chosen = if holds.is_true() { Some(then) } else { otherwise.as_ref() };
                return chosen.map_or(Ok(None), |node| node.render(environment, scope, place));
            }
            Node::For { name, list, each } => {
                let list = evaluate(environment, scope, list)
                    .and_then(|list| list.try_iter())
                    .map_err(|error| failed(place, list, &error))?;
                let mut rendered = Vec::new();
                for (index, item) in list.enumerate() {
                    let mut scope = scope.clone();
                    scope.insert(name.clone(), item);
                    rendered.extend(each.render(environment, &scope, &format!("{place}[{index}]"))?);
                }
                Value::Array(rendered)
            }
        }))
    }
}

fn render_list(
    items: &[Node],
    environment: &Environment<'_>,
    scope: &Scope,
    place: &str,
) -> Result<Vec<Value>, TemplateError> {
    let mut rendered = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let value = item.render(environment, scope, &format!("{place}[{index}]"))?;
        match (item, value) {
            (Node::If { .. } | Node::For { .. }, Some(Value::Array(values))) => rendered.extend(values),
            (_, value) => rendered.extend(value),
        }
    }
    Ok(rendered)
}

fn leaf(text: &str, place: &str, environment: &Environment<'_>) -> Result<Node, TemplateError> {
    if !["{{", "{%", "{#"].iter().any(|mark| text.contains(mark)) {
        return Ok(Node::Constant(Value::String(text.to_owned())));
    }
    let inner = text.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
    if let Some(expression) = inner
        && !["{{", "}}", "{%", "{#"].iter().any(|mark| expression.contains(mark))
    {
        check(environment.compile_expression(expression), place, text)?;
        return Ok(Node::Typed(expression.trim().to_owned()));
    }
    check(environment.template_from_str(text), place, text)?;
    Ok(Node::Text(text.to_owned()))
}

fn context(scope: &Scope) -> Jinja {
    Jinja::from_pairs(scope.iter().map(|(name, value)| (name.clone(), value.clone())))
}

fn evaluate(environment: &Environment<'_>, scope: &Scope, expression: &str) -> Result<Jinja, Error> {
    let value = environment.compile_expression(expression)?.eval(context(scope))?;
    if value.is_undefined() { Err(Error::from(ErrorKind::UndefinedError)) } else { Ok(value) }
}

/// Rejects an expression that does not parse.
///
/// # Errors
/// Its position and the problem.
pub(super) fn check_expression(
    environment: &Environment<'_>,
    expression: &str,
    place: &str,
) -> Result<(), TemplateError> {
    check(environment.compile_expression(expression), place, expression)
}

/// Whether an expression is truthy: not false, 0 or empty.
///
/// # Errors
/// Its position and why it failed, for example because of an undefined name.
pub(super) fn holds(
    environment: &Environment<'_>,
    scope: &Scope,
    expression: &str,
    place: &str,
) -> Result<bool, TemplateError> {
    let value = evaluate(environment, scope, expression).map_err(|error| failed(place, expression, &error))?;
    Ok(value.is_true())
}

fn check<T>(parsed: Result<T, Error>, place: &str, template: &str) -> Result<(), TemplateError> {
    parsed.map(drop).map_err(|error| failed(place, template, &error))
}

fn failed(place: &str, template: &str, error: &Error) -> TemplateError {
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    let line =
        error.line().filter(|_| template.contains('\n')).map(|line| format!(" in line {line}")).unwrap_or_default();
    TemplateError {
        place: place.to_owned(),
        reason: format!("{}{detail}{line} of {:?}", error.kind(), template.trim()),
    }
}

#[cfg(test)]
mod tests {
    use minijinja::UndefinedBehavior;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn environment() -> Environment<'static> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment
    }

    fn render(template: Value, values: Value) -> Result<Value, String> {
        let environment = environment();
        let node = Node::parse(&template, "body", &environment).map_err(|error| error.to_string())?;
        let scope = values
            .as_object()
            .unwrap()
            .iter()
            .map(|(k, v)| (k.clone(), Jinja::from(minijinja::value::Serde(v))))
            .collect();
        Ok(node.render(&environment, &scope, "body").map_err(|error| error.to_string())?.unwrap_or(json!("(nothing)")))
    }

    #[test]
    fn a_lone_expression_keeps_its_type_and_any_other_leaf_is_text() {
        let values =
            json!({"n": 3, "f": 0.5, "list": [1, null], "map": {"b": 1, "a": 2.0}, "yes": true, "s": "{{ n }}"});
        for (template, want) in [
            (json!("{{ n }}"), json!(3)),
            (json!(" {{ f }} "), json!(0.5)),
            (json!("{{ list }}"), json!([1, null])),
            (json!("{{ yes }}"), json!(true)),
            (json!("{{ s }}"), json!("{{ n }}")),
            (json!("{{ n }} of {{ f }}"), json!("3 of 0.5")),
            (json!("n={{ n }}"), json!("n=3")),
            (json!("plain"), json!("plain")),
            (json!(null), json!(null)),
        ] {
            assert_eq!(render(template.clone(), values.clone()), Ok(want), "{template}");
        }
        let order = render(json!("{{ map }}"), values).unwrap().to_string();
        assert_eq!(order, r#"{"b":1,"a":2.0}"#, "keys keep their order, numbers their form");
    }

    #[test]
    fn conditions_and_loops_make_lists_and_maps() {
        let template = json!({
            "list": [
                "first",
                {"for": "x in xs", "each": {"n": "{{ x.n }}", "last": {"if": "x.n == 2", "then": true}}},
                {"if": "xs | length > 5", "then": "many", "else": ["a", "few"]},
                {"if": "false", "then": "never"},
            ],
            "alone": {"for": "x in xs", "each": "{{ x.n }}"},
            "absent": {"if": "none_such is defined", "then": "{{ none_such }}"},
        });
        let want = json!({
            "list": ["first", {"n": 1}, {"n": 2, "last": true}, "a", "few"],
            "alone": [1, 2],
        });
        assert_eq!(render(template, json!({"xs": [{"n": 1}, {"n": 2}]})), Ok(want));
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        for (template, values, words) in [
            (json!({"a": ["{{ x"]}), json!({}), ["body.a[0]", "syntax error"]),
            (json!({"a": "{{ lss }}"}), json!({}), ["body.a", "undefined"]),
            (json!({"a": "got {{ x.y.z }}"}), json!({"x": {}}), ["body.a", "undefined"]),
            (json!({"for": "x of xs", "each": 1}), json!({}), ["body", "NAME in LIST"]),
            (json!({"for": "x in n", "each": 1}), json!({"n": 1}), ["body", "not iterable"]),
            (json!("{{ x | nosuch }}"), json!({"x": 1}), ["body", "filter"]),
        ] {
            let message = render(template, values).unwrap_err();
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_filter("JSON", |number| number.is_finite()).prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((".*", inner), 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn data_goes_through_unchanged(data in any_json()) {
            let got = render(json!({"data": "{{ data }}"}), json!({"data": data})).unwrap();
            prop_assert_eq!(got["data"].to_string(), data.to_string());
        }
    }
}
