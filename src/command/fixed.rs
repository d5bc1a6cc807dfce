//! Settings that are hard-coded in a script's source: the optimizer, its learning rate, the batch size.
//!
//! Owns: the calls that set them. Must not know: options. If two calls differ, the setting is unknown.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::python::{Argument, Source, Token};
use crate::jobs::canonical_value;

/// Classes of optimizers, as PyTorch, Keras and Optax name them.
const OPTIMIZERS: &[&str] = &[
    "SGD",
    "Adam",
    "AdamW",
    "RMSprop",
    "RMSProp",
    "Adagrad",
    "Adadelta",
    "Adamax",
    "NAdam",
    "Nadam",
    "RAdam",
    "Lion",
    "Adafactor",
    "adam",
    "adamw",
    "sgd",
    "rmsprop",
    "adagrad",
    "lion",
];

/// The calls in a program's sources.
#[derive(Debug, Default)]
pub(super) struct Fixed {
    optimizers: BTreeSet<String>,
    /// The learning rate of each created optimizer, if it is a number.
    rates: Vec<Option<String>>,
    batches: BTreeSet<String>,
    epochs: BTreeSet<String>,
}

impl Fixed {
    /// Records a source file.
    pub(super) fn note(&mut self, source: &Source) {
        // A lower-case name is an optimizer only with the name of its library: `optax.adam`.
        let is_made = |at: usize| {
            let behind = at >= 2 && source.tokens[at - 1].is('.');
            let library = behind && source.tokens[at - 2].is_name("optax");
            source.tokens[at].name().is_some_and(|name| name.starts_with(char::is_uppercase) || library)
        };
        for (at, call) in source.calls(|name| OPTIMIZERS.contains(&name)).filter(|(at, _)| is_made(*at)) {
            let name = source.tokens[at].name().unwrap_or_default().to_ascii_lowercase();
            self.optimizers.insert(name);
            let named = ["lr", "learning_rate"].iter().find_map(|name| number_of(source, &call, name));
            // Keras' first argument is the rate; PyTorch's is the parameters, and then comes the rate.
            let positional = call.iter().filter(|argument| argument.name.is_none()).take(2);
            let first = positional.filter_map(|argument| number(source, argument.value)).next();
            self.rates.push(named.or(first));
        }
        for (_, call) in source.calls(|name| name == "compile") {
            let named = call.iter().find(|argument| argument.name == Some("optimizer"));
            let given = named.or_else(|| call.first().filter(|argument| argument.name.is_none()));
            // A text selects an optimizer with its defaults.
            if let Some([Token::Text(Some(name))]) = given.map(|argument| argument.value)
                && OPTIMIZERS.iter().any(|known| known.eq_ignore_ascii_case(name))
            {
                self.optimizers.insert(name.to_ascii_lowercase());
                self.rates.push(None);
            }
        }
        let loaders = source.calls(|name| name == "DataLoader" || name == "fit");
        self.batches.extend(loaders.filter_map(|(_, call)| number_of(source, &call, "batch_size")));
        let trainings = source.calls(|name| name == "fit" || name == "Trainer");
        self.epochs.extend(
            trainings.filter_map(|(_, call)| {
                ["epochs", "max_epochs"].iter().find_map(|name| number_of(source, &call, name))
            }),
        );
    }

    /// The known settings, by canonical name.
    pub(super) fn settings(&self) -> BTreeMap<String, Value> {
        let one = |set: &BTreeSet<String>| set.first().filter(|_| set.len() == 1).cloned();
        let rate = match self.rates.as_slice() {
            [Some(rate)] => Some(rate.clone()),
            _ => None,
        };
        let known = [
            ("optimizer", one(&self.optimizers)),
            ("learning_rate", rate),
            ("batch_size", one(&self.batches)),
            ("epochs", one(&self.epochs)),
        ];
        let value =
            |(knob, text): (&str, Option<String>)| Some((knob.to_owned(), canonical_value(knob, &Value::from(text?))?));
        known.into_iter().filter_map(value).collect()
    }
}

fn number_of(source: &Source, call: &[Argument<'_>], name: &str) -> Option<String> {
    number(source, call.iter().find(|argument| argument.name == Some(name))?.value)
}

/// A number in the source, or a constant name in capitals; other names may be changed elsewhere.
fn number(source: &Source, value: &[Token]) -> Option<String> {
    match value {
        [Token::Number(_)] => {}
        [Token::Name(name)] if name.chars().all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit()) => {}
        _ => return None,
    }
    source.literal(value)?.as_f64().map(|number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings(text: &str) -> Value {
        let mut fixed = Fixed::default();
        fixed.note(&Source::read(text));
        json!(fixed.settings())
    }

    #[test]
    fn what_the_source_sets_is_known() {
        let torch = "LR = 0.5\nloader = DataLoader(data, batch_size=64, shuffle=True)\no = torch.optim.SGD(net.parameters(), lr=LR)\n";
        assert_eq!(settings(torch), json!({"batch_size": 64, "learning_rate": 0.5, "optimizer": "sgd"}));
        let keras = "model.compile(keras.optimizers.Adam(0.01), 'mse')\nmodel.fit(x, y, epochs=5, batch_size=8)\n";
        assert_eq!(settings(keras), json!({"batch_size": 8, "epochs": 5, "learning_rate": 0.01, "optimizer": "adam"}));
        assert_eq!(settings("model.compile(optimizer='rmsprop')\n"), json!({"optimizer": "rmsprop"}));
        assert_eq!(settings("o = optax.adam(1e-3)\n"), json!({"learning_rate": 0.001, "optimizer": "adam"}));
    }

    #[test]
    fn what_may_be_something_else_is_not_known() {
        assert_eq!(settings("a = SGD(p, lr=0.1)\nb = Adam(q, lr=0.2)\n"), json!({}));
        assert_eq!(settings("a = Adam(p, lr=0.1)\nb = Adam(q, lr=0.2)\n"), json!({"optimizer": "adam"}));
        assert_eq!(settings("o = Adam(p, lr=args.lr)\nDataLoader(d, batch_size=n)\n"), json!({"optimizer": "adam"}));
        assert_eq!(settings("lr = 0.1\nlr = read()\no = Adam(p, lr=lr)\nadam(3)\n"), json!({"optimizer": "adam"}));
        assert_eq!(settings("class Adam:\n    pass\ndef SGD(lr): pass\n"), json!({}));
    }
}
