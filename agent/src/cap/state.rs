//! What each plugin keeps between runs: one private file for each plugin, replaced in one step.

use std::path::PathBuf;

use iaso_host::CapError;

use crate::disk;

/// Larger than the quota of 64 KiB by what its encoding may cost.
const FILE_BYTES_MAX: u64 = 512 << 10;

/// A directory of states.
pub struct States {
    directory: PathBuf,
}

impl States {
    /// States in `directory`, which is made when something is first kept.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// What the plugin has kept.
    pub fn load(&self, plugin: &str) -> Result<Option<Vec<u8>>, CapError> {
        disk::read_bounded(&self.file(plugin)?, FILE_BYTES_MAX)
            .map_err(|error| CapError::Other(error.to_string()))
    }

    /// Replaces what the plugin has kept.
    pub fn save(&self, plugin: &str, state: &[u8]) -> Result<(), CapError> {
        if state.len() as u64 > FILE_BYTES_MAX {
            return Err(CapError::TooLarge(format!("the state of {plugin}")));
        }
        let file = self.file(plugin)?;
        disk::private_dir(&self.directory)
            .and_then(|()| disk::write_atomic(&file, state))
            .map_err(|error| CapError::Unavailable(error.to_string()))
    }

    fn file(&self, plugin: &str) -> Result<PathBuf, CapError> {
        if !crate::config::is_plugin_name(plugin) {
            return Err(CapError::Other(format!(
                "`{plugin}` is not a plugin's name"
            )));
        }
        Ok(self.directory.join(format!("{plugin}.state")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_plugin_reads_its_own_state_and_no_name_leads_out_of_the_directory() {
        let root = tempfile::tempdir().expect("temporary directory");
        let states = States::new(root.path().join("state"));
        assert_eq!(states.load("coredns"), Ok(None));
        states.save("coredns", b"1").expect("save");
        assert_eq!(states.load("coredns"), Ok(Some(b"1".to_vec())));
        assert_eq!(states.load("k3s-agent"), Ok(None));
        for name in ["..", "../x", "", "a/b"] {
            assert!(states.load(name).is_err(), "{name:?}");
        }
    }
}
