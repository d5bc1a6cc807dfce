//! Quoting of arguments for a shell and of values for Hydra, so that they remain data.
//!
//! Owns: quoting. Must not know: the meaning of arguments.

/// Quotes an argument for a POSIX shell if necessary.
pub fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Whether a command line is a single program with arguments, without shell syntax. A variable in front of it then
/// applies to all of it.
pub fn is_one_program(command: &str) -> bool {
    const BUILT_IN: [&str; 15] = [
        "cd", "export", "exec", "source", ".", "set", "ulimit", "umask", "module", "if", "for", "while", "eval",
        "trap", "!",
    ];
    let first = command.split_whitespace().next().unwrap_or_default();
    let assigns = first.contains('=');
    !BUILT_IN.contains(&first) && !assigns && !command.contains(['&', ';', '|', '<', '>', '(', ')', '{', '\n', '`'])
}

/// Quotes a text as a value of a Hydra override if necessary.
pub fn hydra(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.+-/".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
    }
}
