//! The names of runs and jobs where one daemon watches several log directories: each begins with the name of its
//! directory.
//!
//! Owns: joining and separating both. Must not know: which directories there are.

use std::borrow::Cow;

/// The name of a run or job of a log directory among several: `vision` and `a/b` give `vision/a/b`. The directory itself
/// (`.`) has its name. With no name of a directory, nothing changes.
pub fn joined<'n>(directory: Option<&str>, name: &'n str) -> Cow<'n, str> {
    let Some(directory) = directory else { return Cow::Borrowed(name) };
    match name.strip_prefix('.').filter(|rest| rest.is_empty() || rest.starts_with('#')) {
        Some(writer) => format!("{directory}{writer}").into(),
        None => format!("{directory}/{name}").into(),
    }
}

/// The opposite of [`joined`]; `None` if it is not a name of this directory.
pub fn relative<'n>(directory: Option<&str>, name: &'n str) -> Option<Cow<'n, str>> {
    let Some(directory) = directory else { return Some(Cow::Borrowed(name)) };
    let rest = name.strip_prefix(directory)?;
    match rest.strip_prefix('/') {
        Some(below) => Some(Cow::Borrowed(below)),
        None if rest.is_empty() || rest.starts_with('#') => Some(format!(".{rest}").into()),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_joined_and_separated_again() {
        for (directory, name, whole) in [
            (None, "a/b", "a/b"),
            (None, ".", "."),
            (Some("vision"), "a/b", "vision/a/b"),
            (Some("vision"), "a#h.2", "vision/a#h.2"),
            (Some("vision"), ".", "vision"),
            (Some("vision"), ".#h.2", "vision#h.2"),
            (Some("vision"), ".hidden", "vision/.hidden"),
        ] {
            assert_eq!(joined(directory, name), whole);
            assert_eq!(relative(directory, whole).as_deref(), Some(name), "{whole}");
        }
        for other in ["visions/a", "nlp/a", "visio", "a/vision"] {
            assert_eq!(relative(Some("vision"), other), None, "{other}");
        }
    }
}
