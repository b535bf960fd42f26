//! A runner that was taken over tries files, sockets, other processes and more rights; the same program shows that each attempt works without
//! the lock.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Child, Command, Stdio};

const EPERM: &str = "1";
const EACCES: &str = "13";

/// What each attempt came to, and the line about the lock.
struct Attacked {
    lock: Option<String>,
    came_to: BTreeMap<String, String>,
}

/// A process that is there to be attacked.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn attack(lock: &str) -> Attacked {
    let victim = Victim(Command::new("sleep").arg("60").spawn().unwrap());
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port().to_string();
    let name = SocketAddr::from_abstract_name(format!("iaso-attacked-{port}")).unwrap();
    let _unix = UnixListener::bind_addr(&name).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_iaso-attacker"))
        .args(["attack", lock, &victim.0.id().to_string(), &port])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut attacked = Attacked {
        lock: None,
        came_to: BTreeMap::new(),
    };
    for line in text.lines() {
        let (name, result) = line.split_once(' ').unwrap();
        if name == "locked" {
            attacked.lock = Some(result.to_owned());
        } else {
            attacked.came_to.insert(name.to_owned(), result.to_owned());
        }
    }
    assert!(
        attacked.came_to.contains_key("exec"),
        "it did not get to its last attempt: {text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    attacked
}

#[test]
fn nothing_that_a_runner_could_try_gets_through_and_all_of_it_would_without_the_lock() {
    let free = attack("none");
    // What works needs no lock to fail for somebody who is not root.
    let needs_root = ["become-root", "raise-limit", "user-namespace"];
    for (attempt, result) in &free.came_to {
        let is_open = result == "open" || (!is_root() && needs_root.contains(&attempt.as_str()));
        assert!(is_open || attempt == "no-such-call", "{attempt}: {result}");
    }
    let locked = attack("all");
    assert_eq!(
        free.came_to.keys().collect::<Vec<_>>(),
        locked.came_to.keys().collect::<Vec<_>>()
    );
    for (attempt, result) in &locked.came_to {
        assert_eq!(result, EPERM, "{attempt} ({:?})", locked.lock);
    }
    assert!(locked.came_to.len() >= 20, "{:?}", locked.came_to);
}

#[test]
fn with_a_hole_in_the_filter_of_system_calls_the_other_layers_still_hold() {
    let attacked = attack("all-but-seccomp");
    let lock = attacked.lock.unwrap();
    if !is_root() || lock.contains("no landlock") {
        // What is left then is not much, and the lock says so.
        return skipped("the layers without seccomp", &lock);
    }
    for attempt in [
        "read-file",
        "write-file",
        "list-directory",
        "tcp",
        "exec",
        "fork",
    ] {
        assert_eq!(attacked.came_to[attempt], EACCES, "{attempt} ({lock})");
    }
    for attempt in ["ptrace", "kill", "become-root", "raise-limit"] {
        assert_eq!(attacked.came_to[attempt], EPERM, "{attempt} ({lock})");
    }
    for attempt in ["udp", "abstract-unix", "unix-listener"] {
        assert_ne!(attacked.came_to[attempt], "open", "{attempt} ({lock})");
    }
}

/// Says loudly that a test did not run, which is a failure where every test must.
fn skipped(name: &str, why: &str) {
    let must_run = std::env::var("IASO_REQUIRE_ALL").is_ok_and(|value| value == "1");
    assert!(
        !must_run,
        "{name} cannot be tested here, and IASO_REQUIRE_ALL is set: {why}"
    );
    eprintln!("SKIPPED {name}: it needs root and landlock: {why}");
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
