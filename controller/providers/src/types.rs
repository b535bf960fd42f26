//! The provider-neutral words: machines, operations, metrics, scripts.

use std::fmt;

use jiff::Timestamp;

use crate::Secret;

/// Longest id that is taken from configuration or from a provider, in bytes.
const ID_BYTES_MAX: usize = 128;

/// An id that could not have come from a provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{id:?} is not an id: use 1 to 128 of the characters A-Z a-z 0-9 . _ : -")]
pub struct IdError {
    id: String,
}

fn checked(id: String) -> Result<String, IdError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
    // "." and ".." would change the path of a URL that an id is put into.
    if id.is_empty()
        || id.len() > ID_BYTES_MAX
        || !id.chars().all(allowed)
        || id.chars().all(|c| c == '.')
    {
        return Err(IdError {
            id: id.chars().take(ID_BYTES_MAX).collect(),
        });
    }
    Ok(id)
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Takes an id as the provider writes it.
            pub fn new(id: impl Into<String>) -> Result<Self, IdError> {
                checked(id.into()).map(Self)
            }

            /// The id as the provider writes it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<u64> for $name {
            fn from(id: u64) -> Self {
                Self(id.to_string())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;

            fn from_str(id: &str) -> Result<Self, IdError> {
                Self::new(id)
            }
        }
    };
}

id_type!(
    /// A machine, as its provider calls it.
    MachineId
);
id_type!(
    /// One act of the provider on one machine.
    OperationId
);
id_type!(
    /// A stored first-boot script.
    ScriptId
);

/// What the provider says a machine is doing. It can be wrong: an isolated machine is `Running` too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MachineState {
    /// Running, as far as the hypervisor knows.
    Running,
    /// On its way up.
    Starting,
    /// On its way down.
    Stopping,
    /// Powered off: provably not running.
    Stopped,
    /// Being made for the first time.
    Creating,
    /// Bought, and not set up yet.
    Initial,
    /// The provider itself sees trouble.
    Error,
    /// About to be suspended (billing, abuse).
    Suspending,
    /// Coming back from suspension.
    Unsuspending,
    /// Suspended (billing, abuse): only a person can help.
    Suspended,
    /// Being destroyed.
    Destroying,
    /// Gone.
    Destroyed,
    /// Being installed anew.
    Recreating,
    /// A backup or snapshot is being put back.
    Restoring,
    /// Running the rescue image.
    Recovery,
    /// Leaving the rescue image.
    StoppingRecovery,
    /// A word that is newer than this program.
    Other(String),
}

impl MachineState {
    /// The state in the provider-neutral spelling (`stopping_recovery`).
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Creating => "creating",
            Self::Initial => "initial",
            Self::Error => "error",
            Self::Suspending => "suspending",
            Self::Unsuspending => "unsuspending",
            Self::Suspended => "suspended",
            Self::Destroying => "destroying",
            Self::Destroyed => "destroyed",
            Self::Recreating => "recreating",
            Self::Restoring => "restoring",
            Self::Recovery => "recovery",
            Self::StoppingRecovery => "stopping_recovery",
            Self::Other(word) => word,
        }
    }
}

impl fmt::Display for MachineState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One look at a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its id.
    pub id: MachineId,
    /// The host name the provider knows it by.
    pub hostname: String,
    /// What the provider says it is doing.
    pub state: MachineState,
    /// The provider has an action in hand, or forbids actions: nothing may be started now.
    pub locked: bool,
    /// Public addresses, version 4 first.
    pub addresses: Vec<std::net::IpAddr>,
    /// The operating-system image, where the provider tells.
    pub template: Option<String>,
    /// When the machine was bought or made, where the provider tells.
    pub created_at: Option<Timestamp>,
}

/// How far an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationState {
    /// Taken, not finished.
    Pending,
    /// Finished as ordered.
    Done,
    /// Finished, and it failed. The only thing that means "failed".
    Failed,
}

/// One act of the provider on one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its id, for [`crate::Provider::poll`].
    pub id: OperationId,
    /// The provider's free-text name for it. Good for people; match on it only with care.
    pub name: String,
    /// How far it is.
    pub state: OperationState,
    /// When the provider took the order, by the provider's clock.
    pub created_at: Timestamp,
    /// When it last changed, by the provider's clock.
    pub updated_at: Timestamp,
}

/// How a machine is to be installed.
#[derive(Debug)]
pub struct RecreateSpec {
    /// The provider's number of the operating-system image.
    pub template_id: u64,
    /// The new root password: stored, and read back, before it comes here.
    pub password: Secret,
    /// The script to run at first boot.
    pub script_id: Option<ScriptId>,
}

/// A recreate that the provider has taken.
#[derive(Debug)]
pub struct Recreation {
    /// What to poll.
    pub operation: Operation,
    /// The password, from a provider that draws its own ([`PasswordFlow::Returned`]).
    pub password: Option<Secret>,
}

/// One measured value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// When, by the provider's clock, to the second.
    pub at: Timestamp,
    /// How much, in the unit that the field says.
    pub value: f64,
}

/// What the hypervisor measured, each series oldest first. A series that the provider does not have is empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    /// Time since boot, in milliseconds.
    pub uptime_ms: Vec<Sample>,
    /// Bytes that came in over the public network.
    pub incoming_bytes: Vec<Sample>,
    /// Bytes that went out over the public network.
    pub outgoing_bytes: Vec<Sample>,
    /// Processor use, in per cent.
    pub cpu_percent: Vec<Sample>,
    /// Memory in use, in bytes.
    pub ram_bytes: Vec<Sample>,
    /// Disk in use, in bytes.
    pub disk_bytes: Vec<Sample>,
}

/// A stored first-boot script, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Its id.
    pub id: ScriptId,
    /// The name it was stored under.
    pub name: String,
}

/// How the root password of a recreated machine is agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordFlow {
    /// The provider takes ours.
    Taken,
    /// The provider draws one and returns it once.
    Returned,
    /// The provider draws one and e-mails it: a person is needed.
    Emailed,
}

/// How a recreated machine learns what to install.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstBoot {
    /// A stored script, by id.
    Script {
        /// Longest script, in bytes.
        bytes_max: usize,
    },
    /// User data sent with the order.
    UserData {
        /// Longest user data, in bytes.
        bytes_max: usize,
    },
    /// It cannot.
    Nothing,
}

/// How a provider recreates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecreateCapabilities {
    /// How the password is agreed.
    pub password: PasswordFlow,
    /// How the first boot is steered.
    pub first_boot: FirstBoot,
    /// The caller picks the image.
    pub picks_image: bool,
    /// Snapshots go too, so that taking one first is pointless.
    pub destroys_snapshots: bool,
}

/// What a provider can do at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each one is a call that exists or does not, independent of the others"
)]
pub struct Capabilities {
    /// `get`, `start` and `power_cycle`.
    pub power: bool,
    /// `recreate`, and how.
    pub recreate: Option<RecreateCapabilities>,
    /// `recovery_start` and `recovery_stop`.
    pub recovery: bool,
    /// `metrics`, with the uptime that proves a reboot.
    pub metrics: bool,
    /// `actions` and `poll` read the provider's own record.
    pub operations: bool,
    /// `set_root_password`.
    pub root_password: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_change_the_path_of_a_url() {
        for bad in [
            "",
            "..",
            ".",
            "1/2",
            "1?x",
            "1#",
            "a b",
            "1%2f",
            "ü",
            &"9".repeat(129),
        ] {
            assert!(MachineId::new(bad).is_err(), "{bad:?} was taken");
        }
        for good in ["712695", "i-0abc", "pve:100", "a.b_c"] {
            assert_eq!(
                MachineId::new(good).map(|id| id.to_string()),
                Ok(good.to_owned())
            );
        }
    }
}
