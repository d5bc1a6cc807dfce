//! Which GPUs there are.
//!
//! Owns: what `nvidia-smi` says. Must not know: which job has which. GPUs are named by UUID: the driver, CUDA and others
//! number them each in their own order.

use std::process::{Command, Stdio};

/// The UUIDs of the GPUs of this machine that `wanted` names, by UUID, the beginning of one, or index; all where it names
/// none.
pub(super) fn find(wanted: Option<&[String]>) -> Vec<String> {
    let output = Command::new("nvidia-smi")
        .args(["--query-gpu=index,uuid", "--format=csv,noheader,nounits"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let listed = match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        // No driver, or none that works: there are no GPUs to give out.
        Ok(_) | Err(_) => String::new(),
    };
    choose(&listed, wanted)
}

fn choose(listed: &str, wanted: Option<&[String]>) -> Vec<String> {
    let gpus: Vec<(&str, &str)> = listed
        .lines()
        .filter_map(|line| line.split_once(',').map(|(index, uuid)| (index.trim(), uuid.trim())))
        .filter(|(_, uuid)| uuid.starts_with("GPU-") || uuid.starts_with("MIG-"))
        .collect();
    let Some(wanted) = wanted else { return gpus.iter().map(|(_, uuid)| (*uuid).to_owned()).collect() };
    let mut chosen = Vec::new();
    for name in wanted {
        let is = |(index, uuid): &&(&str, &str)| index == name || (name.len() > 4 && uuid.starts_with(name.as_str()));
        match gpus.iter().find(is) {
            Some((_, uuid)) if !chosen.contains(&(*uuid).to_owned()) => chosen.push((*uuid).to_owned()),
            Some(_) => {}
            // Slices of a GPU are not in the list; they are named as they are.
            None if name.starts_with("MIG-") => chosen.push(name.clone()),
            None => tracing::warn!(gpu = name, "nvidia-smi knows no such GPU"),
        }
    }
    chosen
}

/// The GPUs that the environment leaves to this process.
pub(super) fn visible() -> Option<Vec<String>> {
    let names = std::env::var("CUDA_VISIBLE_DEVICES").ok()?;
    Some(names.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "0, GPU-aaaa1111-2222\n1, GPU-bbbb1111-2222\nNo devices were found\n";

    #[test]
    fn gpus_are_chosen_by_uuid_or_index() {
        let chosen = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            choose(LISTED, Some(&names))
        };
        assert_eq!(choose(LISTED, None), ["GPU-aaaa1111-2222", "GPU-bbbb1111-2222"]);
        assert_eq!(chosen(&["1", "GPU-bbbb"]), ["GPU-bbbb1111-2222"]);
        assert_eq!(chosen(&["GPU-", "7"]), Vec::<String>::new());
        assert_eq!(chosen(&["MIG-x"]), ["MIG-x"]);
        assert_eq!(choose("", None), Vec::<String>::new());
    }
}
