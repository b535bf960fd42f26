//! The known causes, by the lines they leave in the agent's log.

use std::time::Duration;

use iaso_plugin::capability::JournalLine;

/// Longest part of a line that is looked at.
const LINE_BYTES_MAX: usize = 4096;

/// What keeps the agent from working.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cause {
    /// The finding's code, without the plugin's name.
    pub(crate) code: &'static str,
    /// What it is, for a person.
    pub(crate) what: &'static str,
    /// What helps, for a person.
    pub(crate) advice: &'static str,
    /// Fixes that may help, best first. Empty: none, and a fix that is asked for refuses.
    pub(crate) remedies: &'static [&'static str],
    /// False when the agent works on, worse.
    pub(crate) fatal: bool,
    /// True when waiting may be enough, because the trouble is elsewhere.
    pub(crate) may_pass: bool,
}

const NONE: &[&str] = &[];
const RESTART: &[&str] = &["restart", "killall"];

const fn cause(code: &'static str, what: &'static str, advice: &'static str) -> Cause {
    Cause {
        code,
        what,
        advice,
        remedies: NONE,
        fatal: true,
        may_pass: false,
    }
}

const NODE_PASSWORD: Cause = cause(
    "node-password-rejected",
    "the server rejects this node's password",
    "delete the Secret <node>.node-password.k3s in kube-system once no older copy of this node runs; a restart is useless",
);
const CA_HASH: Cause = cause(
    "ca-hash-mismatch",
    "the cluster's CA is not the one that the token or the agent's directory knows",
    "join with a new token, and clear the agent's directory if its CA is old; a restart is useless",
);
const CERTIFICATE: Cause = cause(
    "certificate-expired",
    "a certificate has expired or is not yet valid",
    "check this host's clock, restart the server, then the agent, which draws new certificates when it starts",
);
const SERVER_NOT_READY: Cause = Cause {
    may_pass: true,
    ..cause(
        "server-not-ready",
        "the server answers, but is not ready",
        "look at the server; nothing on this node can help",
    )
};
const SERVER_UNREACHABLE: Cause = Cause {
    may_pass: true,
    ..cause(
        "server-unreachable",
        "the agent cannot reach the server",
        "probe the server's address and port from here, and look at DNS, proxy and firewall; a restart is useless",
    )
};
const DISK_FULL: Cause = cause(
    "disk-full",
    "the disk is full",
    "free space under /var/lib/rancher; a restart is useless until then",
);
const INOTIFY: Cause = cause(
    "inotify-exhausted",
    "inotify watches or instances, or open files, are used up",
    "raise fs.inotify.max_user_instances and max_user_watches with sysctl",
);
const CONNTRACK: Cause = Cause {
    fatal: false,
    ..cause(
        "conntrack-full",
        "the connection tracking table is full, and packets are dropped",
        "raise net.netfilter.nf_conntrack_max with sysctl",
    )
};
const MEMORY_CGROUP: Cause = cause(
    "no-memory-cgroup",
    "the kernel has no memory cgroup",
    "add cgroup_enable=memory cgroup_memory=1 to the kernel's command line and reboot",
);
const FLANNEL_INTERFACE: Cause = cause(
    "flannel-interface-missing",
    "the interface that flannel is to use is not there",
    "correct --flannel-iface, or bring the interface up",
);
const FLANNEL_DOWN: Cause = Cause {
    remedies: RESTART,
    ..cause("flannel-down", "flannel has stopped", "restart the agent")
};
const PLEG: Cause = Cause {
    remedies: RESTART,
    ..cause(
        "pleg-unhealthy",
        "the container runtime hangs or the disk is too slow (PLEG)",
        "restart the agent; if it comes back, reboot",
    )
};
const LOOPBACK: Cause = Cause {
    fatal: false,
    ..cause(
        "loopback-resolv-conf",
        "pods inherit a loopback name server from this host",
        "give kubelet another file with --resolv-conf",
    )
};

/// The cause that a line tells of. More telling words first: one line of k3s often wraps several.
pub(crate) fn cause_of(message: &str) -> Option<Cause> {
    let cut = (0..=LINE_BYTES_MAX.min(message.len()))
        .rev()
        .find(|at| message.is_char_boundary(*at))?;
    let line = message.get(..cut)?.to_ascii_lowercase();
    let has = |needle: &str| line.contains(needle);
    let any = |needles: &[&str]| needles.iter().any(|needle| line.contains(needle));
    let unreached = || {
        any(&[
            "eof",
            "connection refused",
            "connection reset",
            "i/o timeout",
            "no route to host",
            "no such host",
            "deadline exceeded",
        ])
    };
    let cause = if has("node password rejected") {
        NODE_PASSWORD
    } else if any(&[
        "does not match the cluster ca certificate hash",
        "certificate signed by unknown authority",
    ]) {
        CA_HASH
    } else if any(&["certificate has expired", "certificate is not yet valid"]) {
        CERTIFICATE
    } else if any(&["too many open files", "inotify watch limit"])
        || (has("inotify") && has("no space left on device"))
    {
        INOTIFY
    } else if has("no space left on device")
        || (has("eviction manager") && has("must evict pod") && has("ephemeral-storage"))
    {
        DISK_FULL
    } else if has("conntrack") && has("table full") {
        CONNTRACK
    } else if has("failed to find memory cgroup") {
        MEMORY_CGROUP
    } else if has("unable to find interface") {
        FLANNEL_INTERFACE
    } else if has("flannel exited") || (has("/run/flannel/subnet.env") && has("no such file")) {
        FLANNEL_DOWN
    } else if has("pleg is not healthy") {
        PLEG
    } else if has("server is not ready") && !unreached() {
        SERVER_NOT_READY
    } else if any(&["failed to get ca certs", "server is not ready"]) {
        SERVER_UNREACHABLE
    } else if has("resolv.conf includes loopback") || (has("plugin/loop") && has("detected")) {
        LOOPBACK
    } else {
        return None;
    };
    Some(cause)
}

/// The cause that the log tells of now: the latest fatal one since the last successful start, or else the latest that is not fatal.
///
/// `running_since` is when the unit became active, if it is. Lines older than the newest by more than `max_age` do not count.
pub(crate) fn latest(
    lines: &[JournalLine],
    unit: &str,
    running_since: Option<u64>,
    max_age: Duration,
) -> Option<(Cause, JournalLine)> {
    let started = lines
        .iter()
        .rposition(|line| is_start(&line.message, unit))
        .map_or(0, |at| at + 1);
    let newest = lines.iter().map(|line| line.at_unix_ms).max()?;
    let max_age_ms = u64::try_from(max_age.as_millis()).unwrap_or(u64::MAX);
    let oldest = newest
        .saturating_sub(max_age_ms)
        .max(running_since.unwrap_or(0));
    let mut milder = None;
    for line in lines
        .iter()
        .skip(started)
        .rev()
        .filter(|line| line.at_unix_ms >= oldest)
    {
        match cause_of(&line.message) {
            Some(cause) if cause.fatal => return Some((cause, line.clone())),
            Some(cause) if milder.is_none() => milder = Some((cause, line.clone())),
            Some(_) | None => {}
        }
    }
    milder
}

/// systemd's own line about a start that succeeded: `Started k3s-agent.service - Lightweight Kubernetes.`, or the description alone.
fn is_start(message: &str, unit: &str) -> bool {
    let Some(what) = message.strip_prefix("Started ") else {
        return false;
    };
    let name = unit.strip_suffix(".service").unwrap_or(unit);
    what.starts_with(name) || what.starts_with("Lightweight Kubernetes")
}

#[cfg(test)]
#[path = "causes_tests.rs"]
mod tests;
