//! The records of the plugin interface as plain Rust, for the broker and for whoever reads a plugin's results.
//!
//! They mirror `plugins/wit/plugin.wit` field by field; that file says what each value means. Nothing here knows wasmtime, and
//! everything can cross a process boundary.

use serde::{Deserialize, Serialize};

/// The hatch for what a record does not have yet.
pub type Attributes = Vec<(String, String)>;

/// Declares records that mirror the interface file.
macro_rules! records {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $ty:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $name { $($(#[$field_doc])* pub $field: $ty,)* }
    )*};
}

records! {
    /// One thing that a check found.
    Finding {
        /// Stable and dotted, beginning with the plugin's name.
        code: String,
        /// `ok`, `info`, `warning`, `critical` or `unknown`.
        severity: String,
        /// What was looked at.
        subject: String,
        /// One sentence for a person.
        summary: String,
        /// Fixes of this plugin that may help, best first.
        remedies: Vec<String>,
        /// Anything else.
        attributes: Attributes,
    }
    /// A fix that a plugin offers.
    FixDescription {
        /// Its name, for `plan` and `apply`.
        name: String,
        /// One sentence for a person.
        summary: String,
        /// True when it interrupts something that works.
        disruptive: bool,
    }
    /// What a fix would do.
    FixPlan {
        /// `apply`, `refuse` or `nothing`.
        verdict: String,
        /// Why, for a person.
        reason: String,
        /// What will be done, in order.
        steps: Vec<String>,
        /// Anything else.
        attributes: Attributes,
    }
    /// What a fix did.
    FixOutcome {
        /// `fixed`, `unchanged`, `refused` or `failed`.
        outcome: String,
        /// Why, for a person.
        reason: String,
        /// What was done, in order.
        steps: Vec<String>,
        /// Anything else.
        attributes: Attributes,
    }
    /// How a connection attempt ended.
    ConnectOutcome {
        /// `connected`, `refused`, `timeout`, `unreachable` or `unresolved`.
        outcome: String,
        /// The address that was tried; empty when unresolved.
        address: String,
        /// Microseconds until the outcome was known.
        elapsed_us: u64,
        /// The operating system's words, if any.
        detail: String,
    }
    /// How a series of echo requests ended.
    PingOutcome {
        /// Requests sent.
        sent: u32,
        /// Replies received.
        received: u32,
        /// Shortest round trip in microseconds; 0 when nothing was received.
        rtt_min_us: u64,
        /// Mean round trip in microseconds.
        rtt_avg_us: u64,
        /// Longest round trip in microseconds.
        rtt_max_us: u64,
        /// `icmp-raw`, `icmp-datagram` or `udp`.
        method: String,
        /// `ok`, `timeout`, `unreachable`, `too-big` or `unresolved`.
        outcome: String,
        /// The address that was tried.
        address: String,
    }
    /// What one name server answered.
    DnsAnswer {
        /// `NOERROR`, `NXDOMAIN`, `SERVFAIL`, …
        rcode: String,
        /// Record data in presentation form.
        records: Vec<String>,
        /// The answer did not fit.
        truncated: bool,
        /// The server speaks for the zone.
        authoritative: bool,
        /// Microseconds until the answer.
        elapsed_us: u64,
    }
    /// An HTTP answer.
    HttpResponse {
        /// Status code.
        status: u16,
        /// Header names and values.
        headers: Vec<(String, String)>,
        /// The body, cut to what was asked for.
        body: Vec<u8>,
        /// More would have followed.
        truncated: bool,
        /// Microseconds until the body was read.
        elapsed_us: u64,
    }
    /// A unit of the init system.
    Unit {
        /// Its name.
        name: String,
        /// `loaded`, `not-found`, `masked`, `error`, …
        load_state: String,
        /// `active`, `activating`, `inactive`, `failed`, `deactivating`, `reloading`.
        active_state: String,
        /// `running`, `start`, `auto-restart`, `dead`, …
        sub_state: String,
        /// Why it last ended.
        last_result: String,
        /// Automatic restarts since it was last started by hand.
        restarts: u32,
        /// Milliseconds in the present active-state; none when the host cannot tell.
        in_state_ms: Option<u64>,
        /// Main process, 0 when there is none.
        main_pid: u32,
        /// Exit code or signal of the last main process.
        exit_status: i32,
        /// Anything else.
        attributes: Attributes,
    }
    /// One line of a unit's log.
    JournalLine {
        /// Milliseconds since the Unix epoch.
        at_unix_ms: u64,
        /// 0 (emergency) to 7 (debug).
        priority: u8,
        /// The text.
        message: String,
    }
    /// How a script ended.
    ScriptOutcome {
        /// Its exit code.
        exit_code: i32,
        /// The last 4 KiB of both streams.
        output: String,
        /// Microseconds it took.
        elapsed_us: u64,
    }
    /// Facts about this host.
    Facts {
        /// The host's name.
        hostname: String,
        /// The Kubernetes node's name.
        node: String,
        /// Kernel release.
        kernel: String,
        /// Distribution and version.
        os: String,
        /// Milliseconds since boot.
        uptime_ms: u64,
        /// Wall clock, milliseconds since the Unix epoch.
        now_unix_ms: u64,
        /// Processors.
        cpus: u32,
        /// Load average over one minute, in thousandths.
        load1_milli: u64,
        /// Memory in all.
        memory_total_bytes: u64,
        /// Memory that can be had.
        memory_available_bytes: u64,
        /// Anything else.
        attributes: Attributes,
    }
    /// A mounted file system.
    Disk {
        /// Where it is mounted.
        mount: String,
        /// Its size.
        total_bytes: u64,
        /// What is free for an ordinary user.
        available_bytes: u64,
        /// Its inodes.
        inodes_total: u64,
        /// Free inodes.
        inodes_available: u64,
        /// It cannot be written to.
        read_only: bool,
    }
    /// A line of the routing table.
    Route {
        /// CIDR.
        destination: String,
        /// Empty: on the link.
        gateway: String,
        /// The link's name.
        interface: String,
        /// Lower wins.
        metric: u32,
    }
    /// A network link.
    Link {
        /// Its name.
        name: String,
        /// It carries packets.
        up: bool,
        /// Largest packet in bytes.
        mtu: u32,
        /// Addresses with their prefixes.
        addresses: Vec<String>,
    }
    /// What a path is.
    Stat {
        /// `file`, `directory`, `socket`, `symlink`, `device`, `fifo` or `missing`.
        kind: String,
        /// Bytes.
        size: u64,
        /// Milliseconds since the Unix epoch.
        modified_unix_ms: u64,
        /// Permission bits.
        mode: u32,
    }
    /// A part of a file.
    Chunk {
        /// Its bytes.
        data: Vec<u8>,
        /// More follows.
        truncated: bool,
    }
    /// A pod of this node.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
        /// `Pending`, `Running`, …
        phase: String,
        /// All its containers are ready.
        ready: bool,
        /// It is being deleted.
        terminating: bool,
        /// Container restarts, summed.
        restarts: u32,
        /// Its address.
        ip: String,
    }
    /// One address behind a service.
    Endpoint {
        /// The address.
        address: String,
        /// The port.
        port: u16,
        /// `UDP` or `TCP`.
        protocol: String,
        /// The node it is on; empty: unknown.
        node: String,
        /// It takes traffic.
        ready: bool,
    }
    /// A service.
    Service {
        /// Empty or `None`: headless.
        cluster_ip: String,
        /// Name, port and protocol.
        ports: Vec<(String, u16, String)>,
    }
    /// A container, as it was asked for and as it is.
    ContainerState {
        /// Its name.
        name: String,
        /// `container` or `init`.
        kind: String,
        /// As the pod asks for it.
        image: String,
        /// With its digest, as the runtime has it; empty: not known.
        image_id: String,
        /// `waiting`, `running`, `terminated`, or empty: not known.
        state: String,
        /// Of this state.
        reason: String,
        /// The runtime's words, at most 512 bytes.
        message: String,
        /// It takes traffic.
        ready: bool,
        /// How often it was started anew.
        restarts: u32,
        /// Why the run before this one ended; empty: there was none.
        last_reason: String,
        /// With which code it ended.
        last_exit_code: Option<i32>,
        /// Anything else.
        attributes: Attributes,
    }
    /// A pod of this node with its containers.
    PodState {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
        /// `Pending`, `Running`, …
        phase: String,
        /// `Evicted`, …; mostly empty.
        reason: String,
        /// Milliseconds since the Unix epoch; 0: not known.
        created_unix_ms: u64,
        /// When it should be gone, its grace included; none: it is not being deleted.
        delete_by_unix_ms: Option<u64>,
        /// What must be done before it may go.
        finalizers: Vec<String>,
        /// `KIND/NAME` of what made it; empty: nothing.
        owner: String,
        /// Init containers first.
        containers: Vec<ContainerState>,
        /// Anything else.
        attributes: Attributes,
    }
    /// A controller of pods of this node.
    Workload {
        /// Its namespace.
        namespace: String,
        /// `Deployment`, `StatefulSet` or `DaemonSet`.
        kind: String,
        /// Its name.
        name: String,
        /// Not paused, and its own controller has seen the last change.
        settled: bool,
        /// Container and image; init containers too.
        images: Vec<(String, String)>,
        /// Its pods on this node.
        pods: Vec<String>,
        /// Anything else.
        attributes: Attributes,
    }
    /// Where a URL of an environment leads.
    EnvUrl {
        /// The pod's namespace.
        namespace: String,
        /// The pod.
        pod: String,
        /// The container.
        container: String,
        /// The variable.
        variable: String,
        /// In lower case.
        scheme: String,
        /// A name or an address.
        host: String,
        /// None: the URL names no port.
        port: Option<u16>,
        /// `source`, or `unread`.
        attributes: Attributes,
    }
    /// A condition of an object.
    Condition {
        /// Its type.
        name: String,
        /// `True`, `False` or `Unknown`.
        status: String,
        /// One word.
        reason: String,
        /// At most 2 KiB.
        message: String,
        /// Milliseconds since the Unix epoch; 0: not known.
        changed_unix_ms: u64,
    }
    /// An object with its conditions.
    StatusObject {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Milliseconds since the Unix epoch; 0: not known.
        created_unix_ms: u64,
        /// Of its spec.
        generation: u64,
        /// That the conditions are about; 0: not known.
        observed_generation: u64,
        /// `spec.suspend`.
        suspended: bool,
        /// Its conditions.
        conditions: Vec<Condition>,
        /// Anything else.
        attributes: Attributes,
    }
}
