//! Secret values and their sources, which are never the configuration itself.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The environment variables that can contain secrets.
pub type Variables = BTreeMap<String, String>;

/// Maximum size of a secret file in bytes; a larger file is probably the wrong one.
const MAX_BYTES: u64 = 64 * 1024;

/// A token, a signing secret, or an address with a secret path. Prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Stores `value` without surrounding white space, such as a newline at the end of a file.
    pub fn new(value: &str) -> Secret {
        Secret(value.trim().to_owned())
    }

    /// The value, for the request that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<'de> serde::Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Secret::new(&String::deserialize(from)?))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The source of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A separate file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// The systemd credential of that name (`LoadCredential=`).
    Credential(String),
}

/// Why a secret cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("could not read the secret file {path} ({source}): create it, readable by the user that runs nextrun")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is too large.
    #[error("the secret file {path} has more than {MAX_BYTES} bytes: name a file that contains only the secret")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file or the variable is empty.
    #[error("{place} is empty: put the secret there")]
    Empty {
        /// The expected location.
        place: String,
    },
    /// The variable does not exist.
    #[error("the environment variable {name} is not set: set it, or use `file` or `credential`")]
    Env {
        /// Its name.
        name: String,
    },
    /// The service has no credentials.
    #[error(
        "there is no credential {name} because CREDENTIALS_DIRECTORY is not set: start nextrun as a systemd service \
         with LoadCredential={name}:PATH, or use `file` or `env`"
    )]
    NoCredentials {
        /// The name of the credential.
        name: String,
    },
}

impl SecretSource {
    /// Reads the secret.
    ///
    /// # Errors
    ///
    /// The secret does not exist, cannot be read, or is empty.
    pub fn read(&self, variables: &Variables) -> Result<Secret, SecretError> {
        match self {
            SecretSource::File(path) => read_file(path),
            SecretSource::Env(name) => {
                let value = variables.get(name).ok_or_else(|| SecretError::Env { name: name.clone() })?;
                filled(value, || format!("the environment variable {name}"))
            }
            SecretSource::Credential(name) => match variables.get("CREDENTIALS_DIRECTORY") {
                Some(directory) => read_file(&Path::new(directory).join(name)),
                None => Err(SecretError::NoCredentials { name: name.clone() }),
            },
        }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretSource::File(path) => write!(f, "file {}", path.display()),
            SecretSource::Env(name) => write!(f, "environment variable {name}"),
            SecretSource::Credential(name) => write!(f, "credential {name}"),
        }
    }
}

fn read_file(path: &Path) -> Result<Secret, SecretError> {
    let failed = |source| SecretError::File { path: path.to_owned(), source };
    let text = super::read_at_most(path, MAX_BYTES).map_err(failed)?;
    let text = text.ok_or_else(|| SecretError::TooLarge { path: path.to_owned() })?;
    filled(&text, || format!("the secret file {}", path.display()))
}

fn filled(value: &str, place: impl Fn() -> String) -> Result<Secret, SecretError> {
    if value.trim().is_empty() { Err(SecretError::Empty { place: place() }) } else { Ok(Secret::new(value)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_prints() {
        let secret = Secret::new("hunter2\n");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn it_is_read_from_where_it_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "from-file\n").unwrap();
        let mut variables = Variables::from([("TOKEN".to_owned(), "from-env".to_owned())]);
        let read = |source: SecretSource, variables: &Variables| {
            source.read(variables).map(|secret| secret.expose().to_owned()).map_err(|error| error.to_string())
        };
        assert_eq!(read(SecretSource::File(folder.path().join("token")), &variables), Ok("from-file".to_owned()));
        assert_eq!(read(SecretSource::Env("TOKEN".to_owned()), &variables), Ok("from-env".to_owned()));
        let credential = || SecretSource::Credential("token".to_owned());
        assert!(read(credential(), &variables).unwrap_err().contains("LoadCredential=token:PATH"));
        variables.insert("CREDENTIALS_DIRECTORY".to_owned(), folder.path().display().to_string());
        assert_eq!(read(credential(), &variables), Ok("from-file".to_owned()));
    }

    #[test]
    fn what_is_not_there_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let error = || SecretSource::File(path.clone()).read(&Variables::new()).unwrap_err();
        assert!(matches!(error(), SecretError::File { .. }));
        std::fs::write(&path, " \n").unwrap();
        assert!(matches!(error(), SecretError::Empty { .. }));
        std::fs::write(&path, "x".repeat(100_000)).unwrap();
        assert!(matches!(error(), SecretError::TooLarge { .. }));
        let unset = SecretSource::Env("NO_SUCH".to_owned()).read(&Variables::new());
        assert!(matches!(unset, Err(SecretError::Env { .. })));
    }
}
