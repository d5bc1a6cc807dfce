//! Detects the GPUs.
//!
//! Owns: the output of `nvidia-smi`. Must not know: the assignment of jobs. GPUs are identified by UUID because the
//! driver, CUDA and other libraries number them differently.

use std::process::{Command, Stdio};

/// The UUIDs of the GPUs on this machine selected by `wanted`: by UUID, prefix of a UUID, or index; all if it is empty.
pub(super) fn find(wanted: Option<&[String]>) -> Vec<String> {
    let output = Command::new("nvidia-smi")
        .args(["--query-gpu=index,uuid", "--format=csv,noheader,nounits"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let listed = match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        // Without a working driver, there are no GPUs to assign.
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
            // GPU slices are not in the list; their names are used unchanged.
            None if name.starts_with("MIG-") => chosen.push(name.clone()),
            None => tracing::warn!(gpu = name, "nvidia-smi does not list this GPU"),
        }
    }
    chosen
}

/// The GPUs that the environment makes visible to this process.
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
