//! The lock that the runner puts on itself, for good, while it is still one thread and has seen nothing of a plugin.
//!
//! **Invariants**
//! - Each layer holds by itself; one that this machine does not give is reported with the reason, and the others are put on all the same.
//! - Nothing here can be undone: neither by the runner nor by what takes it over.
//!
//! What each is for: a user of its own (files, signals, ptrace by ownership), no capabilities, no-new-privs (no setuid program gives any
//! back), an empty network namespace, limits (address space, data, files, processes, core), landlock (no file, no TCP, no abstract socket, no
//! signal), seccomp (the few system calls that running compiled code takes, see [`filter`]).

pub mod filter;

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::UnixStream;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, Ruleset, RulesetAttr as _, RulesetStatus, Scope,
};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use serde::{Deserialize, Serialize};

/// Address space: the pool maps 2 GiB of it and uses what its plugins use.
const ADDRESS_SPACE_BYTES_MAX: u64 = 4 << 30;
/// Open files: the socket, the epoll, and the memory images of loaded plugins.
const FILES_MAX: u64 = 1024;
/// Bytes of one file: memory images are files without a name.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Processes and threads of the runner's own user, over all agents of this machine.
const PROCESSES_MAX: u64 = 256;

/// How a runner is to be locked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Its user, when the agent is root.
    pub uid: u32,
    /// Its group, when the agent is root.
    pub gid: u32,
    /// Bytes of memory that it may write to.
    pub memory_bytes: u64,
}

/// One layer of the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layer {
    /// It holds.
    On,
    /// A part of it holds; what does not, and why.
    Partly(String),
    /// It does not; why, and what would help.
    Off(String),
}

impl Layer {
    fn of<E: std::fmt::Display>(result: Result<(), E>, what: &str) -> Self {
        match result {
            Ok(()) => Self::On,
            Err(error) => Self::Off(format!("{what}: {error}")),
        }
    }
}

/// All layers of the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// A user of its own.
    pub own_user: Layer,
    /// No capability is left.
    pub no_capabilities: Layer,
    /// No program that it could start would have more rights.
    pub no_new_privs: Layer,
    /// A network namespace with nothing in it.
    pub network: Layer,
    /// Resource limits.
    pub limits: Layer,
    /// Landlock.
    pub landlock: Layer,
    /// Seccomp.
    pub seccomp: Layer,
}

impl Layers {
    /// Each with its name in metrics and messages.
    #[must_use]
    pub fn all(&self) -> [(&'static str, &Layer); 7] {
        [
            ("own-user", &self.own_user),
            ("no-capabilities", &self.no_capabilities),
            ("no-new-privs", &self.no_new_privs),
            ("network", &self.network),
            ("limits", &self.limits),
            ("landlock", &self.landlock),
            ("seccomp", &self.seccomp),
        ]
    }

    /// In one line: what holds, then what does not and why.
    #[must_use]
    pub fn words(&self) -> String {
        let on = self.all().into_iter().filter(|(_, l)| **l == Layer::On);
        let on: Vec<&str> = on.map(|(name, _)| name).collect();
        let mut words = on.join(", ");
        for (name, layer) in self.all() {
            match layer {
                Layer::On => {}
                Layer::Partly(why) => words.extend(["; ", name, " in part: ", why]),
                Layer::Off(why) => words.extend(["; no ", name, ": ", why]),
            }
        }
        words
    }
}

/// Takes the socket that the agent gave as standard input, and closes everything else.
pub fn adopt_socket() -> io::Result<UnixStream> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.peer_addr()?; // An error for whatever is no connected socket.
    let null = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    let keep = [0, 1, 2, socket.as_raw_fd()];
    for fd in open_files().into_iter().filter(|fd| !keep.contains(fd)) {
        // The one that listed them, and `null`, are closed already or soon.
        if fd != null.as_raw_fd() {
            let _ = nix::unistd::close(fd);
        }
    }
    Ok(socket)
}

fn open_files() -> Vec<i32> {
    let listed = std::fs::read_dir("/proc/self/fd").map(|entries| {
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok()?.parse().ok())
            .collect()
    });
    listed.unwrap_or_else(|_| (3..1024).collect())
}

/// Puts on every layer. Call it while there is one thread; [`no_more_threads`] follows when all threads are there.
#[must_use]
pub fn lock(limits: &Limits) -> Layers {
    let mut layers = lock_without_seccomp(limits);
    layers.seccomp = Layer::of(
        filter::first(),
        "the kernel refuses the filter (CONFIG_SECCOMP_FILTER)",
    );
    layers
}

/// All but the filter of system calls: what still holds if that one has a hole.
#[must_use]
pub fn lock_without_seccomp(limits: &Limits) -> Layers {
    // When memory runs out, the runner goes before the agent. Before the user changes: the file is the old one's.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let network = network();
    let own_user = own_user(limits);
    let no_capabilities = Layer::of(drop_capabilities(), "the kernel refuses to drop them");
    let held = set_limits(limits, own_user == Layer::On);
    // A change of user takes both back, so they come after it. Without them the kernel's own rules for other users hold.
    let _ = prctl::set_dumpable(false);
    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
    let no_new_privs = Layer::of(prctl::set_no_new_privs(), "the kernel does not know it");
    Layers {
        own_user,
        no_capabilities,
        no_new_privs,
        network,
        limits: held,
        landlock: landlock(),
        seccomp: Layer::Off("not put on".to_owned()),
    }
}

/// From here on no thread can begin, and the filter cannot be added to.
pub fn no_more_threads(layers: &mut Layers) {
    if layers.seccomp == Layer::On
        && let Err(error) = filter::second()
    {
        layers.seccomp = Layer::Partly(format!("threads can still begin: {error}"));
    }
}

fn network() -> Layer {
    if !geteuid().is_root() {
        return Layer::Off(
            "the agent does not run as root; sockets are denied by seccomp alone".to_owned(),
        );
    }
    Layer::of(
        unshare(CloneFlags::CLONE_NEWNET),
        "a namespace needs CAP_SYS_ADMIN and a unit that allows it (RestrictNamespaces=net)",
    )
}

fn own_user(limits: &Limits) -> Layer {
    if !geteuid().is_root() {
        return Layer::Off("the agent does not run as root: the runner has its user".to_owned());
    }
    let (uid, gid) = (Uid::from_raw(limits.uid), Gid::from_raw(limits.gid));
    let changed = setgroups(&[])
        .and_then(|()| setresgid(gid, gid, gid))
        .and_then(|()| setresuid(uid, uid, uid));
    Layer::of(changed, "another user needs CAP_SETUID and CAP_SETGID")
}

fn drop_capabilities() -> rustix::io::Result<()> {
    let none = CapabilitySet::empty();
    set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )
}

fn set_limits(limits: &Limits, has_own_user: bool) -> Layer {
    let mut wanted = vec![
        (Resource::RLIMIT_AS, ADDRESS_SPACE_BYTES_MAX),
        (Resource::RLIMIT_DATA, limits.memory_bytes),
        (Resource::RLIMIT_NOFILE, FILES_MAX),
        (Resource::RLIMIT_FSIZE, FILE_BYTES_MAX),
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_MEMLOCK, 0),
        (Resource::RLIMIT_MSGQUEUE, 0),
    ];
    if has_own_user {
        // It counts all that a user runs, so it says something only about a user who runs nothing else.
        wanted.push((Resource::RLIMIT_NPROC, PROCESSES_MAX));
    }
    let mut refused = Vec::new();
    for (resource, most) in wanted {
        let most = nix::sys::resource::getrlimit(resource).map_or(most, |(_, hard)| hard.min(most));
        if let Err(error) = setrlimit(resource, most, most) {
            refused.push(format!("{resource:?}: {error}"));
        }
    }
    if refused.is_empty() {
        Layer::On
    } else {
        Layer::Partly(refused.join(", "))
    }
}

fn landlock() -> Layer {
    /// The first with bounds for signals and abstract sockets.
    const ABI_WANTED: ABI = ABI::V6;
    let restricted = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI_WANTED))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(ABI_WANTED)))
        .and_then(|rules| rules.scope(Scope::from_all(ABI_WANTED)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self);
    match restricted.map(|status| status.ruleset) {
        Ok(RulesetStatus::FullyEnforced) => Layer::On,
        Ok(RulesetStatus::PartiallyEnforced) => Layer::Partly(
            "this kernel's landlock knows files, but not yet all of TCP, signals and abstract sockets (Linux 6.12 does)"
                .to_owned(),
        ),
        Ok(RulesetStatus::NotEnforced) => Layer::Off(
            "this kernel has no landlock, or it is not among its security modules (lsm=landlock,…)".to_owned(),
        ),
        Err(error) => Layer::Off(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_hold_is_named_with_the_reason_after_what_does() {
        let layers = Layers {
            own_user: Layer::Off("the agent is not root".to_owned()),
            no_capabilities: Layer::On,
            no_new_privs: Layer::On,
            network: Layer::Off("the agent is not root".to_owned()),
            limits: Layer::On,
            landlock: Layer::Partly("an old kernel".to_owned()),
            seccomp: Layer::On,
        };
        assert_eq!(
            layers.words(),
            "no-capabilities, no-new-privs, limits, seccomp; no own-user: the agent is not root; no network: the agent is not root; \
             landlock in part: an old kernel"
        );
    }
}
