//! Reports of ended incidents as files: `reports/<incident>.md` and `.json`, written whole or not at all.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the report {}: check permissions and free space", path.display())]
pub struct ReportError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// Where the report of an incident lies.
#[must_use]
pub fn path(data_dir: &Path, incident: &str, extension: &str) -> PathBuf {
    // An incident's id is a node's name and a number; what else may come in a request must not leave the directory.
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' || c == '.' {
            c
        } else {
            '_'
        }
    };
    let name: String = incident.chars().take(300).map(plain).collect();
    data_dir.join("reports").join(format!("{name}.{extension}"))
}

/// Writes one file atomically: a temporary beside it, synced, renamed, and the directory synced.
///
/// # Errors
/// When the disk refuses.
pub fn write(path: &Path, content: &str) -> Result<(), ReportError> {
    write_all(path, content).map_err(|source| ReportError {
        path: path.to_owned(),
        source,
    })
}

fn write_all(path: &Path, content: &str) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    let temporary = path.with_extension("tmp");
    let mut file = std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    std::fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incident_cannot_name_a_path_outside() {
        let path = path(Path::new("/d"), "../../etc/x", "md");
        assert_eq!(path, Path::new("/d/reports/.._.._etc_x.md"));
    }

    #[test]
    fn a_report_replaces_the_one_before_it_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path(), "styx-1", "md");
        write(&path, "one").unwrap();
        write(&path, "two").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(
            std::fs::read_dir(dir.path().join("reports"))
                .unwrap()
                .count(),
            1
        );
    }
}
