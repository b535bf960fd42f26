//! The operator's configuration of this plugin, and which file systems it chooses.

use std::collections::BTreeMap;
use std::time::Duration;

use iaso_plugin::Config;
use iaso_plugin::capability::Disk;

pub(crate) const KEYS: &[&str] = &[
    "paths",
    "ignore",
    "used_warn_percent",
    "used_critical_percent",
    "inodes_warn_percent",
    "inodes_critical_percent",
    "full_within_warn",
    "full_within_critical",
    "growth_window",
];

/// Most file systems that are looked at; those that hold a path come first.
const MOUNTS_MAX: usize = 32;

/// A file system, and those of the configured paths that lie on it.
#[derive(Debug, Clone)]
pub(crate) struct Mount {
    pub(crate) disk: Disk,
    pub(crate) holds: Vec<String>,
}

/// What is looked at, and when it is too much.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// What the node cannot do without, wherever it is mounted.
    paths: Vec<String>,
    /// Mount points that are left out, with all that is mounted below them.
    ignore: Vec<String>,
    pub(crate) used_warn_percent: u64,
    pub(crate) used_critical_percent: u64,
    pub(crate) inodes_warn_percent: u64,
    pub(crate) inodes_critical_percent: u64,
    pub(crate) full_within_warn: Duration,
    pub(crate) full_within_critical: Duration,
    pub(crate) growth_window: Duration,
}

impl Settings {
    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        let paths = |key: &str, default: &[&str]| {
            let paths = config.list(key, default)?;
            match paths.iter().find(|path| !path.starts_with('/')) {
                None => Ok(paths),
                Some(wrong) => Err(format!(
                    "configuration key `{key}` must be absolute paths, not `{wrong}`"
                )),
            }
        };
        let percent = |key: &str, default| config.number(key, default, 1..=100);
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let settings = Self {
            paths: paths(
                "paths",
                &["/", "/var/lib/rancher/k3s", "/var/lib/kubelet", "/var/log"],
            )?,
            ignore: paths("ignore", &["/snap", "/boot/efi"])?,
            used_warn_percent: percent("used_warn_percent", 85)?,
            used_critical_percent: percent("used_critical_percent", 95)?,
            inodes_warn_percent: percent("inodes_warn_percent", 85)?,
            inodes_critical_percent: percent("inodes_critical_percent", 95)?,
            full_within_warn: config.duration("full_within_warn", hours(24))?,
            full_within_critical: config.duration("full_within_critical", hours(4))?,
            growth_window: config.duration("growth_window", hours(6))?,
        };
        let ordered = settings.used_warn_percent <= settings.used_critical_percent
            && settings.inodes_warn_percent <= settings.inodes_critical_percent
            && settings.full_within_warn >= settings.full_within_critical;
        if ordered {
            Ok(settings)
        } else {
            Err(
                "a warning must come before its critical: raise the `…critical…` key, or lower the `…warn…` one"
                    .to_owned(),
            )
        }
    }

    /// One entry for each mount point, the last mounted of several; those that hold a configured path first.
    pub(crate) fn chosen(&self, disks: Vec<Disk>) -> Vec<Mount> {
        let mut by_mount: BTreeMap<String, Mount> = BTreeMap::new();
        for disk in disks {
            let holds = Vec::new();
            by_mount.insert(disk.mount.clone(), Mount { disk, holds });
        }
        for path in &self.paths {
            let home = by_mount
                .keys()
                .filter(|mount| is_within(path, mount))
                .max_by_key(|mount| mount.len())
                .cloned();
            if let Some(mount) = home.and_then(|home| by_mount.get_mut(&home)) {
                mount.holds.push(path.clone());
            }
        }
        let ignored = |mount: &str| self.ignore.iter().any(|path| is_within(mount, path));
        let mut mounts: Vec<Mount> = by_mount
            .into_values()
            .filter(|mount| !mount.holds.is_empty() || !ignored(&mount.disk.mount))
            .collect();
        mounts.sort_by_key(|mount| mount.holds.is_empty());
        mounts.truncate(MOUNTS_MAX);
        mounts
    }
}

fn is_within(path: &str, directory: &str) -> bool {
    let directory = directory.trim_end_matches('/');
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
