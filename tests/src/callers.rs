//! Finds the process host that a loopback connection comes from.
//!
//! Process hosts share one loopback. Their processes carry their host's name in the environment, so the lab can tell them apart as a
//! network would by address.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// The environment variable that names the host of a process.
pub const HOST_VARIABLE: &str = "IASO_LAB_HOST";
/// The environment variable that names the lab of a process, by its directory.
pub const LAB_VARIABLE: &str = "IASO_LAB_DIR";

/// How often the tables are read again before their word is taken: a table read while it changes may miss a row.
const LOOKS: usize = 2;

/// Who holds the client's end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A process of this host.
    Host(String),
    /// A process that belongs to no host.
    Outside,
    /// Nobody any more: whoever made the connection has closed it or died.
    Gone,
}

/// Who made a TCP connection. Nobody's is told apart from the outside world's, or the words of a dead host would pass every cut.
#[must_use]
pub fn caller_of(client: SocketAddr, server: SocketAddr) -> Caller {
    let mut nobody = Caller::Gone;
    for _ in 0..LOOKS {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        // A socket without an inode is one that its process has let go of.
        let row = inode_of(&table, client, server).filter(|inode| *inode != 0);
        nobody = Caller::Gone;
        if let Some(inode) = row {
            if let Some(caller) = holder(inode) {
                return caller;
            }
            // Held by a process of another user, whose descriptors we cannot see: no host's processes are.
            nobody = Caller::Outside;
        }
    }
    nobody
}

fn holder(inode: u64) -> Option<Caller> {
    let wanted = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?;
    let mut others = Vec::new();
    for entry in processes.flatten() {
        let name = entry.file_name();
        if !name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        match host_of_process(&entry.path()) {
            Some(host) if holds(&entry.path(), &wanted) => return Some(Caller::Host(host)),
            Some(_) => {}
            None => others.push(entry.path()),
        }
    }
    let outside = others.iter().any(|process| holds(process, &wanted));
    outside.then_some(Caller::Outside)
}

/// The host of a process, by its id.
#[must_use]
pub fn host_of_pid(pid: i32) -> Option<String> {
    host_of_process(&Path::new("/proc").join(pid.to_string()))
}

/// Every process of one host.
#[must_use]
pub fn processes_of(host: &str) -> Vec<i32> {
    processes_with(HOST_VARIABLE, host)
}

/// Every process that carries this variable with this value.
#[must_use]
pub fn processes_with(variable: &str, value: &str) -> Vec<i32> {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_string_lossy().parse().ok()?;
            (value_in(&entry.path(), variable).as_deref() == Some(value)).then_some(pid)
        })
        .collect()
}

fn host_of_process(directory: &Path) -> Option<String> {
    value_in(directory, HOST_VARIABLE)
}

fn value_in(directory: &Path, variable: &str) -> Option<String> {
    let environment = std::fs::read(directory.join("environ")).ok()?;
    let prefix = format!("{variable}=");
    environment
        .split(|byte| *byte == 0)
        .filter_map(|pair| std::str::from_utf8(pair).ok())
        .find_map(|pair| pair.strip_prefix(&prefix))
        .map(str::to_owned)
}

fn holds(directory: &Path, wanted: &str) -> bool {
    let Ok(descriptors) = std::fs::read_dir(directory.join("fd")) else {
        return false;
    };
    descriptors.flatten().any(|entry| {
        std::fs::read_link(entry.path())
            .is_ok_and(|target| target.as_os_str().as_encoded_bytes() == wanted.as_bytes())
    })
}

fn inode_of(table: &str, local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let (local, remote) = (hexadecimal(local)?, hexadecimal(remote)?);
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let matches = fields.next() == Some(local.as_str()) && fields.next() == Some(&remote);
        matches.then(|| fields.nth(6)?.parse().ok()).flatten()
    })
}

/// An address as `/proc/net/tcp` writes it: the four bytes in host order.
fn hexadecimal(address: SocketAddr) -> Option<String> {
    match address.ip() {
        IpAddr::V4(ip) => Some(format!(
            "{:08X}:{:04X}",
            u32::from_ne_bytes(ip.octets()),
            address.port()
        )),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_the_table_is_found_by_both_ends() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:1F90 014D007F:1D13 01 00000000:00000000 00:00000000 00000000     0        0 4242 1 0000000000000000 20 0 0 10 -1\n";
        let client = "127.0.0.1:8080".parse().expect("address");
        let server = "127.0.77.1:7443".parse().expect("address");
        assert_eq!(inode_of(table, client, server), Some(4242));
        assert_eq!(inode_of(table, server, client), None);
    }
}
