//! The normalised form of a tag, in which different naming conventions look alike.
//!
//! Must not know: the meaning of words.

/// The words that say which data is measured, most believed list first.
pub(super) type Words<'a> = &'a [Vec<String>];

/// A folder and a tag in their normal form, with the way back to the text as it was logged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Text {
    normal: String,
    /// For each byte of `normal`, the bytes of the original that it stands for.
    origin: Vec<(usize, usize)>,
    original: String,
}

impl Text {
    /// Camel case is split, everything lower case, `_` for what is neither letter nor digit, `/` between parts.
    pub(super) fn new(folder: &str, tag: &str) -> Text {
        let folder = folder.trim_matches('/');
        let original = if folder.is_empty() || folder == "." { tag.to_owned() } else { format!("{folder}/{tag}") };
        let mut text = Text::default();
        let chars: Vec<(usize, char)> = original.char_indices().collect();
        for (i, &(at, c)) in chars.iter().enumerate() {
            let before = i.checked_sub(1).map(|i| chars[i].1);
            let after = chars.get(i + 1).map(|&(_, c)| c);
            text.push(c, (at, at + c.len_utf8()), starts_word(before, c, after));
        }
        text.trim_part();
        if text.normal.ends_with('/') {
            text.pop();
        }
        text.original = original;
        text
    }

    fn push(&mut self, c: char, from: (usize, usize), starts_word: bool) {
        if c == '/' || c == '\\' {
            self.trim_part();
            if !self.normal.is_empty() && !self.normal.ends_with('/') {
                self.put('/', from);
            }
        } else if c.is_alphanumeric() {
            if starts_word {
                self.separate((from.0, from.0));
            }
            c.to_lowercase().for_each(|lower| self.put(lower, from));
        } else {
            self.separate(from);
        }
    }

    fn put(&mut self, c: char, from: (usize, usize)) {
        self.normal.push(c);
        self.origin.resize(self.normal.len(), from);
    }

    fn separate(&mut self, from: (usize, usize)) {
        if !self.normal.is_empty() && !self.normal.ends_with(['_', '/']) {
            self.put('_', from);
        }
    }

    fn trim_part(&mut self) {
        if self.normal.ends_with('_') {
            self.pop();
        }
    }

    fn pop(&mut self) {
        self.normal.pop();
        self.origin.truncate(self.normal.len());
    }

    /// The normal form.
    pub(super) fn as_str(&self) -> &str {
        &self.normal
    }

    /// The text as it was logged that stands behind a range of the normal form.
    pub(super) fn original(&self, range: std::ops::Range<usize>) -> &str {
        match (self.origin.get(range.start), self.origin.get(range.end.wrapping_sub(1))) {
            (Some((start, _)), Some((_, end))) => self.original.get(*start..*end).unwrap_or_default(),
            _ => "",
        }
    }

    /// Takes out every occurrence of the words, and returns the place of the first list that one of them is in.
    pub(super) fn take(&self, words: Words<'_>) -> (Option<usize>, Text) {
        let mut found: Option<usize> = None;
        let mut rest = Text { original: self.original.clone(), ..Text::default() };
        let mut at = 0;
        for part in self.normal.split('/') {
            let mut inside = part;
            while !inside.is_empty() {
                let start = at + part.len() - inside.len();
                if let Some((list, length)) = leading_word(inside, words) {
                    found = Some(found.map_or(list, |other| other.min(list)));
                    inside = inside[length..].trim_start_matches('_');
                } else {
                    let length = inside.find('_').unwrap_or(inside.len());
                    rest.separate((self.origin[start].0, self.origin[start].0));
                    for (i, c) in inside[..length].char_indices() {
                        rest.put(c, self.origin[start + i]);
                    }
                    inside = inside[length..].trim_start_matches('_');
                }
            }
            at += part.len() + 1;
            if !rest.normal.is_empty() && !rest.normal.ends_with('/') && at < self.normal.len() {
                rest.put('/', self.origin[at - 1]);
            }
        }
        if rest.normal.ends_with('/') {
            rest.pop();
        }
        (found, rest)
    }
}

/// `trainLoss` and `MSELoss` have two words, `mAP` and `lossD` one.
fn starts_word(before: Option<char>, c: char, after: Option<char>) -> bool {
    c.is_uppercase() && before.is_some_and(char::is_alphanumeric) && after.is_some_and(char::is_lowercase)
}

/// The list, and the length, of a word that the text begins with; `val_0` and `val2` begin with `val`.
fn leading_word(text: &str, words: Words<'_>) -> Option<(usize, usize)> {
    let all = words.iter().enumerate().flat_map(|(list, words)| words.iter().map(move |word| (list, word)));
    let here = all.filter_map(|(list, word)| {
        let after = text.strip_prefix(word.as_str())?.trim_start_matches(|c: char| c.is_ascii_digit());
        (after.is_empty() || after.starts_with('_')).then_some((list, text.len() - after.len()))
    });
    here.max_by_key(|(_, length)| *length)
}

#[cfg(test)]
mod tests {
    use super::Text;
    use proptest::prelude::*;

    #[test]
    fn conventions_come_to_look_alike() {
        for (folder, tag, normal) in [
            (".", "Loss/Train", "loss/train"),
            ("validation", "epoch_loss", "validation/epoch_loss"),
            ("", "lr-SGD/pg1", "lr_sgd/pg1"),
            ("", "metrics/mAP_0.5:0.95", "metrics/map_0_5_0_95"),
            ("", "metrics/mAP50(B)", "metrics/map50_b"),
            ("", "trainLoss", "train_loss"),
            ("", "MSELoss", "mse_loss"),
            ("", "lossD", "lossd"),
            ("", "lm loss validation ppl", "lm_loss_validation_ppl"),
            ("", "grad_2.0_norm_total", "grad_2_0_norm_total"),
            ("", "//Policy/ Learning Rate /", "policy/learning_rate"),
            ("a/b", "..//__", "a/b"),
            ("", "", ""),
        ] {
            assert_eq!(Text::new(folder, tag).as_str(), normal, "{folder:?} {tag:?}");
        }
    }

    #[test]
    fn words_are_taken_out_whole() {
        let words = [vec!["val".to_owned(), "validation".to_owned()], vec!["test".to_owned()]];
        for (tag, found, rest) in [
            ("val/loss", Some(0), "loss"),
            ("Loss/val", Some(0), "loss"),
            ("epoch_val_loss", Some(0), "epoch_loss"),
            ("val2_loss", Some(0), "loss"),
            ("value_loss", None, "value_loss"),
            ("test/val_loss", Some(0), "loss"),
            ("latest/test", Some(1), "latest"),
            ("val", Some(0), ""),
        ] {
            let (list, left) = Text::new("", tag).take(&words);
            assert_eq!((list, left.as_str()), (found, rest), "{tag}");
        }
    }

    #[test]
    fn a_range_leads_back_to_what_was_logged() {
        let text = Text::new("", "Gradients/fc-1.Weight");
        assert_eq!(text.original(10..text.as_str().len()), "fc-1.Weight");
    }

    proptest! {
        #[test]
        fn any_text_has_a_normal_form_that_is_stable(folder in "\\PC{0,12}", tag in "\\PC{0,24}") {
            let once = Text::new(&folder, &tag);
            prop_assert!(!once.as_str().starts_with('/') && !once.as_str().ends_with('/'));
            prop_assert!(!once.as_str().contains("//") && !once.as_str().contains("__"));
            prop_assert_eq!(once.origin.len(), once.as_str().len());
            let words = [vec!["a".to_owned(), "b_c".to_owned()]];
            let (_, rest) = once.take(&words);
            prop_assert_eq!(rest.origin.len(), rest.as_str().len());
            prop_assert_eq!(rest.take(&words).0, None);
        }
    }
}
