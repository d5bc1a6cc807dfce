//! Environments of commands, stored in the user's state directory for the runner of the same user.
//!
//! Owns: the files and their permissions. Must not know: which command an environment belongs to.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use crate::command::is_secret_name;

/// Environments unused for three months are removed.
const KEPT: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Longer files are not environments: by default, the kernel passes at most 6 MiB.
const LONGEST: u64 = 8 << 20;

/// The location of environments: in the user's state directory, according to the variables; `None` if they do not
/// define one.
pub fn folder(variables: &BTreeMap<String, String>) -> Option<PathBuf> {
    let set = |name: &str| variables.get(name).filter(|value| value.starts_with('/'));
    let state =
        set("XDG_STATE_HOME").map(PathBuf::from).or_else(|| Some(Path::new(set("HOME")?).join(".local/state")))?;
    Some(state.join("nextrun").join("environments"))
}

/// The environment of this process, without names and values that are not UTF-8.
pub fn variables() -> BTreeMap<String, String> {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    std::env::vars_os().filter_map(text).collect()
}

/// Stores an environment without values that look like secrets, and returns its id; identical environments have the
/// same id.
///
/// # Errors
///
/// The file cannot be written.
pub fn keep(folder: &Path, variables: &BTreeMap<String, String>) -> io::Result<String> {
    let plain: BTreeMap<&String, &String> = variables.iter().filter(|(name, _)| !is_secret_name(name)).collect();
    let text = serde_json::to_string(&plain)?;
    let id: String = Sha256::digest(text.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // Created with its final permissions, so that no one else can read it at any moment.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(folder.join(format!("{id}.json")))?;
    forget(folder);
    Ok(id)
}

/// The environment with the given id.
///
/// # Errors
///
/// It does not exist, or other users can access its file and may have written it.
pub fn kept(folder: &Path, id: &str) -> io::Result<BTreeMap<String, String>> {
    let refused = |why: &str| io::Error::new(io::ErrorKind::PermissionDenied, format!("the environment {id} {why}"));
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(refused("is not a valid name"));
    }
    let nofollow = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits().cast_signed();
    let path = folder.join(format!("{id}.json"));
    let file = File::options().read(true).custom_flags(nofollow).open(&path).map_err(|error| {
        let why = format!(
            "{}: {error}: this is where the environment of the command was stored, unless `nextrun run` had another \
             XDG_STATE_HOME or HOME",
            path.display()
        );
        io::Error::new(error.kind(), why)
    })?;
    let about = file.metadata()?;
    let own = about.is_file() && about.nlink() == 1 && about.uid() == rustix::process::geteuid().as_raw();
    if !own || about.mode() & 0o077 != 0 {
        return Err(refused("is accessible to other users"));
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text)?;
    serde_json::from_str(&text).map_err(io::Error::from)
}

/// Removes old environments. Failures are harmless.
fn forget(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let modified = entry.metadata().and_then(|about| about.modified());
        let old = modified.is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age > KEPT));
        if old {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_environment_is_kept_for_its_user_alone_and_without_secrets() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = folder(&variables(&[("XDG_STATE_HOME", dir.path().to_str().expect("text"))])).expect("a folder");
        let id =
            keep(&folder, &variables(&[("PATH", "/bin"), ("HF_TOKEN", "hf_x"), ("LR", "0.1")])).expect("it is kept");
        let path = folder.join(format!("{id}.json"));
        assert_eq!(fs::metadata(&path).expect("a file").mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&folder).expect("a folder").mode() & 0o777, 0o700);
        assert_eq!(kept(&folder, &id).expect("it is there"), variables(&[("PATH", "/bin"), ("LR", "0.1")]));
        assert_eq!(keep(&folder, &variables(&[("LR", "0.1"), ("PATH", "/bin")])).expect("it is kept"), id);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("its mode");
        assert!(kept(&folder, &id).is_err(), "others may read it");
        for name in ["", "../x", "0/1", "zz"] {
            assert!(kept(&folder, name).is_err(), "{name}");
        }
    }

    #[test]
    fn the_state_folder_is_the_users() {
        assert_eq!(
            folder(&variables(&[("HOME", "/home/ada")])),
            Some("/home/ada/.local/state/nextrun/environments".into())
        );
        assert_eq!(folder(&variables(&[("XDG_STATE_HOME", "relative")])), None);
    }
}
