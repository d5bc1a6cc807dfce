//! The owner of a job: the user under whose account its experiments run if each owner has one.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::case::{Body, Message};
use crate::config::Settings;
use crate::launched::Launched;
use crate::logdir::Place;

/// Adds the owners of the job to a message: those named by the site, otherwise the user who started it, unless that is the
/// user of this process.
pub(super) fn tell_people(message: &mut Message, settings: &Settings, launched: Option<&Launched>) {
    let named = settings.owners.of(&message.subject).to_vec();
    let started = || {
        let user = launched?.owner.filter(|user| *user != 0 && *user != rustix::process::geteuid().as_raw())?;
        name_of(user)
    };
    let owners = if named.is_empty() { started().into_iter().collect() } else { named };
    if let Some(about) = message.body.about_mut() {
        about.owners = owners;
    }
}

/// Adds the owner of the job to a suggested run if a destination has accounts for owners.
pub(super) fn tell_owner(message: &mut Message, settings: &Settings) {
    if settings.destinations.iter().all(|destination| destination.accounts.is_none()) {
        return;
    }
    let Some((directory, job)) = settings.watch.of(&message.subject) else { return };
    let Some(Place::Disk(root)) = &directory.logdir else { return };
    let folder = root.join(&*job);
    let owner = || name_of(owner_of(&folder)?);
    match &mut message.body {
        Body::RunSuggested(run) => run.owner = owner(),
        Body::ApprovalAsked(asked) => asked.run.owner = owner(),
        Body::RunCancelled(run) => run.owner = owner(),
        _ => {}
    }
}

/// The user who owns a directory and every file in it, if no other user can write to it. Otherwise, anyone who can add
/// files could start runs in the owner's name.
fn owner_of(folder: &Path) -> Option<u32> {
    let of_folder = std::fs::metadata(folder).ok()?;
    let others_may_write = of_folder.mode() & 0o022 != 0;
    let mut files = std::fs::read_dir(folder).ok()?;
    let same = files.all(|file| {
        let metadata = file.ok().and_then(|file| file.path().symlink_metadata().ok());
        metadata.is_some_and(|metadata| metadata.uid() == of_folder.uid())
    });
    (same && !others_may_write).then_some(of_folder.uid())
}

fn name_of(user: u32) -> Option<String> {
    uzers::get_user_by_uid(user)?.name().to_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_that_others_may_write_is_nobodys() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("run");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("events.out.tfevents.1"), "").unwrap();
        let set = |mode| std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)).unwrap();
        set(0o755);
        assert_eq!(owner_of(&folder), Some(rustix::process::geteuid().as_raw()));
        set(0o777);
        assert_eq!(owner_of(&folder), None);
        assert_eq!(owner_of(&root.path().join("none")), None);
    }
}
