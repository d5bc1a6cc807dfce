//! Browser sessions: one-time links, and the cookies that they set.
//!
//! Owns: the key, the signed data, and their validity. Must not know: pages, the meaning of permissions.
//!
//! Links and cookies are signed texts; only the use of a link is stored. Anyone who can read the key has the
//! permissions of the daemon's user, because it is stored next to the database.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The name of the key file in the state directory.
pub const KEY: &str = "login.key";

/// Validity of a link in seconds.
const LINK_HOLDS: u64 = 600;

/// Validity of a cookie in seconds.
pub(super) const COOKIE_HOLDS: u64 = 7 * 24 * 3600;

/// The permissions of a browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BrowserRight {
    /// Read.
    Read,
    /// Read, and act on behalf of a person.
    Act,
}

impl BrowserRight {
    fn word(self) -> &'static str {
        match self {
            BrowserRight::Read => "read",
            BrowserRight::Act => "act",
        }
    }

    fn of(word: &str) -> Option<BrowserRight> {
        [BrowserRight::Read, BrowserRight::Act].into_iter().find(|right| right.word() == word)
    }
}

/// Signs and verifies links and cookies.
pub struct Keyring {
    key: [u8; 32],
    /// When this process started, in seconds since the Unix epoch; it is unknown which links were used before.
    began: u64,
    used: Mutex<BTreeSet<String>>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyring(***)")
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The daemon has not created one.
    #[error("there is no {0}: start `nextrun watch` with `status.listen` in its configuration first")]
    NoKey(String),
    /// It is not a key.
    #[error("{0} is damaged: remove it and restart the daemon; everyone then has to log in again")]
    Damaged(String),
    /// It could not be read or made.
    #[error("could not {action} {path}: {source}")]
    Files {
        /// The operation.
        action: &'static str,
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The system provided no random numbers.
    #[error("the system provided no random numbers: {0}")]
    Random(String),
}

impl Keyring {
    /// The key of a state directory, created if necessary.
    ///
    /// # Errors
    /// It cannot be read or made.
    pub fn open_or_make(state: &Path, now: f64) -> Result<Keyring, LoginError> {
        match Keyring::open(state, now) {
            Err(LoginError::NoKey(_)) => {}
            other => return other,
        }
        let path = state.join(KEY);
        let failed = |source| LoginError::Files { action: "write", path: path.display().to_string(), source };
        let key = random::<32>()?;
        let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Keyring::open(state, now),
            Err(error) => return Err(failed(error)),
        };
        file.write_all(hex(&key).as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        Ok(Keyring::with(key, now))
    }

    /// The key of a state directory.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn open(state: &Path, now: f64) -> Result<Keyring, LoginError> {
        let path = state.join(KEY);
        let shown = path.display().to_string();
        match fs::read_to_string(&path) {
            Ok(text) => unhex(text.trim()).map(|key| Keyring::with(key, now)).ok_or(LoginError::Damaged(shown)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(LoginError::NoKey(shown)),
            Err(source) => Err(LoginError::Files { action: "read", path: shown, source }),
        }
    }

    fn with(key: [u8; 32], now: f64) -> Keyring {
        Keyring { key, began: seconds(now), used: Mutex::default() }
    }

    /// The code of a link that works once; `now` is in seconds since the Unix epoch.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn link(&self, right: BrowserRight, now: f64) -> Result<String, LoginError> {
        self.sign("link", right, seconds(now) + LINK_HOLDS)
    }

    /// Exchanges a link for a cookie; `None` if the link has expired or is invalid.
    pub(super) fn redeem(&self, code: &str, now: f64) -> Option<Result<String, LoginError>> {
        let (right, until) = self.check("link", code, now)?;
        // It is unknown whether a link created before this process has been used.
        if until < self.began.saturating_add(LINK_HOLDS) {
            return None;
        }
        let fresh = self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(code.to_owned());
        fresh.then(|| self.sign("cookie", right, seconds(now) + COOKIE_HOLDS))
    }

    /// The permissions of the bearer of a cookie.
    pub(super) fn right_of(&self, cookie: &str, now: f64) -> Option<BrowserRight> {
        self.check("cookie", cookie, now).map(|(right, _)| right)
    }

    fn sign(&self, what: &str, right: BrowserRight, until: u64) -> Result<String, LoginError> {
        let words = format!("{}.{until}.{}", right.word(), hex(&random::<12>()?));
        let signature = self.mac(what, &words).finalize().into_bytes();
        Ok(format!("{words}.{}", hex(&signature)))
    }

    fn check(&self, what: &str, signed: &str, now: f64) -> Option<(BrowserRight, u64)> {
        let (words, signature) = signed.rsplit_once('.')?;
        let signature: [u8; 32] = unhex(signature)?;
        self.mac(what, words).verify_slice(&signature).ok()?;
        let mut parts = words.split('.');
        let (right, until) = (BrowserRight::of(parts.next()?)?, parts.next()?.parse().ok()?);
        (seconds(now) < until).then_some((right, until))
    }

    /// A link is not a cookie, so an entry in the browser history grants nothing.
    fn mac(&self, what: &str, words: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(what.as_bytes());
        mac.update(b":");
        mac.update(words.as_bytes());
        mac
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time; a cast saturates")]
fn seconds(now: f64) -> u64 {
    now as u64
}

fn random<const N: usize>() -> Result<[u8; N], LoginError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| LoginError::Random(error.to_string()))?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(ring: &Keyring, right: BrowserRight, now: f64) -> String {
        ring.redeem(&ring.link(right, now).unwrap(), now).unwrap().unwrap()
    }

    #[test]
    fn a_link_works_once_and_its_cookie_holds() {
        let ring = Keyring::with([7; 32], 1000.0);
        let link = ring.link(BrowserRight::Act, 1000.0).unwrap();
        let cookie = ring.redeem(&link, 1010.0).unwrap().unwrap();
        assert_eq!(ring.right_of(&cookie, 1010.0), Some(BrowserRight::Act));
        assert!(ring.redeem(&link, 1011.0).is_none(), "once");
        assert_eq!(ring.right_of(&link, 1010.0), None, "a link is no cookie");
        assert!(ring.redeem(&cookie, 1010.0).is_none(), "nor the other way round");
        assert_eq!(ring.right_of(&cookie, 1010.0 + COOKIE_HOLDS as f64), None, "it holds no more");
    }

    #[test]
    fn nothing_else_opens() {
        let ring = Keyring::with([7; 32], 1000.0);
        let old = ring.link(BrowserRight::Read, 1000.0).unwrap();
        assert!(ring.redeem(&old, 1000.0 + LINK_HOLDS as f64).is_none(), "too late");
        let restarted = Keyring::with([7; 32], 1500.0);
        assert!(
            restarted.redeem(&ring.link(BrowserRight::Read, 1400.0).unwrap(), 1501.0).is_none(),
            "from before a restart"
        );
        let read = cookie(&ring, BrowserRight::Read, 1000.0);
        assert_eq!(ring.right_of(&read.replace("read", "act"), 1000.0), None);
        assert_eq!(Keyring::with([8; 32], 1000.0).right_of(&read, 1000.0), None, "another key");
        for text in ["", ".", "read.1.2.3", "é.é", "act.99999999999.00.zz"] {
            assert_eq!(ring.right_of(text, 1000.0), None, "{text}");
        }
    }

    #[test]
    fn the_key_is_made_once_and_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let state = tempfile::tempdir().unwrap();
        assert!(matches!(Keyring::open(state.path(), 0.0), Err(LoginError::NoKey(_))));
        let ring = Keyring::open_or_make(state.path(), 0.0).unwrap();
        let again = Keyring::open_or_make(state.path(), 0.0).unwrap();
        assert_eq!(ring.key, again.key);
        let mode = fs::metadata(state.path().join(KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(state.path().join(KEY), "short").unwrap();
        assert!(matches!(Keyring::open(state.path(), 0.0), Err(LoginError::Damaged(_))));
    }
}
