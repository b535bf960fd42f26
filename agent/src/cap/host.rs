//! Facts about this host: from sysinfo, and for the network from `/proc/net` and `/sys/class/net`.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use iaso_host::{
    CapError,
    types::{Disk, Facts, Link, Route},
};
use sysinfo::{Disks, System};

use super::blocking::Threads;

/// Most lines of any of these lists.
const ITEMS_MAX: usize = 256;
const FILE_BYTES_MAX: u64 = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(5);

/// Reads facts.
pub struct Host {
    node: String,
    resolv_conf: PathBuf,
    threads: Threads,
}

impl Host {
    /// `node`: this node's name in Kubernetes.
    #[must_use]
    pub fn new(node: String, resolv_conf: PathBuf, threads: Threads) -> Self {
        Self {
            node,
            resolv_conf,
            threads,
        }
    }

    /// Names, load and memory.
    pub async fn facts(&self, timeout: Duration) -> Result<Facts, CapError> {
        let node = self.node.clone();
        self.threads
            .run(timeout.min(TIMEOUT), move || facts(node))
            .await?
    }

    /// Mounted file systems. A dead network mount costs this call, not the agent.
    pub async fn disks(&self, timeout: Duration) -> Result<Vec<Disk>, CapError> {
        self.threads.run(timeout.min(TIMEOUT), disks).await?
    }

    /// Name servers in their order.
    pub fn resolvers(&self) -> Result<Vec<String>, CapError> {
        let text = read(&self.resolv_conf.to_string_lossy())?;
        Ok(parse_resolvers(&text))
    }
}

fn facts(node: String) -> Result<Facts, CapError> {
    let told = |error: sysinfo::Error| {
        CapError::Unavailable(format!("this host does not tell its facts: {error}"))
    };
    let mut system = System::new().map_err(told)?;
    system.refresh_memory();
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let uptime = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
        .map(Duration::from)
        .unwrap_or_default();
    Ok(Facts {
        hostname: hostname(),
        node,
        kernel: System::kernel_version().unwrap_or_default(),
        os: System::long_os_version().unwrap_or_default(),
        uptime_ms: millis(uptime),
        now_unix_ms: millis(now),
        cpus: std::thread::available_parallelism()
            .map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX)),
        load1_milli: load1_milli().unwrap_or(0),
        memory_total_bytes: system.total_memory(),
        memory_available_bytes: system.available_memory(),
        attributes: vec![("arch".into(), std::env::consts::ARCH.into())],
    })
}

/// The host's own name; `localhost` when it has none.
#[must_use]
pub fn hostname() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "localhost".into())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn load1_milli() -> Option<u64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    let (whole, cents) = text.split_whitespace().next()?.split_once('.')?;
    Some(whole.parse::<u64>().ok()? * 1000 + cents.parse::<u64>().ok()? * 10)
}

fn disks() -> Result<Vec<Disk>, CapError> {
    let found = Disks::new_with_refreshed_list().map_err(|error| {
        CapError::Unavailable(format!("this host does not tell its disks: {error}"))
    })?;
    let one = |disk: &sysinfo::Disk| {
        let inodes = nix::sys::statvfs::statvfs(disk.mount_point()).ok();
        Disk {
            mount: disk.mount_point().to_string_lossy().into_owned(),
            total_bytes: disk.total_space(),
            available_bytes: disk.available_space(),
            inodes_total: inodes.map_or(0, |stat| stat.files()),
            inodes_available: inodes.map_or(0, |stat| stat.files_available()),
            read_only: disk.is_read_only(),
        }
    };
    Ok(found.iter().take(ITEMS_MAX).map(one).collect())
}

/// The routing tables of both families.
pub fn routes() -> Result<Vec<Route>, CapError> {
    let mut routes = parse_routes_v4(&read("/proc/net/route")?);
    // A kernel without IPv6 has no such file.
    routes.extend(parse_routes_v6(
        &read("/proc/net/ipv6_route").unwrap_or_default(),
    ));
    routes.truncate(ITEMS_MAX);
    Ok(routes)
}

fn parse_routes_v4(text: &str) -> Vec<Route> {
    text.lines().skip(1).filter_map(route_v4).collect()
}

fn route_v4(line: &str) -> Option<Route> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let address = |at: usize| {
        u32::from_str_radix(fields.get(at)?, 16)
            .ok()
            .map(|raw| Ipv4Addr::from(raw.to_le_bytes()))
    };
    let flags = u32::from_str_radix(fields.get(3)?, 16).ok()?;
    let up_and_not_reject = flags & 1 == 1 && flags & 0x200 == 0;
    let (destination, gateway, mask) = (address(1)?, address(2)?, address(7)?);
    up_and_not_reject.then(|| Route {
        destination: format!("{destination}/{}", u32::from(mask).count_ones()),
        gateway: if gateway.is_unspecified() {
            String::new()
        } else {
            gateway.to_string()
        },
        interface: fields.first().copied().unwrap_or_default().to_owned(),
        metric: fields
            .get(6)
            .and_then(|metric| metric.parse().ok())
            .unwrap_or(0),
    })
}

fn parse_routes_v6(text: &str) -> Vec<Route> {
    text.lines().filter_map(route_v6).collect()
}

fn route_v6(line: &str) -> Option<Route> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let address = |at: usize| {
        u128::from_str_radix(fields.get(at)?, 16)
            .ok()
            .map(Ipv6Addr::from)
    };
    let number = |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok();
    let flags = number(8)?;
    let interface = (*fields.get(9)?).to_owned();
    // Local and unreachable entries lead nowhere.
    let useful = flags & 1 == 1 && flags & 0x200 == 0 && interface != "lo";
    let (destination, gateway) = (address(0)?, address(4)?);
    useful.then(|| Route {
        destination: format!("{destination}/{}", number(1).unwrap_or(0)),
        gateway: if gateway.is_unspecified() {
            String::new()
        } else {
            gateway.to_string()
        },
        interface,
        metric: number(5).unwrap_or(0),
    })
}

/// Network links with their addresses.
pub fn links() -> Result<Vec<Link>, CapError> {
    let root = "/sys/class/net";
    let entries = fs::read_dir(root).map_err(|error| super::os_error(root, &error))?;
    let addresses: Vec<(String, String)> = addresses();
    let mut links: Vec<Link> = entries
        .flatten()
        .take(ITEMS_MAX)
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let value = |file: &str| {
                fs::read_to_string(entry.path().join(file))
                    .unwrap_or_default()
                    .trim()
                    .to_owned()
            };
            let addresses = addresses
                .iter()
                .filter(|(of, _)| *of == name)
                .map(|(_, address)| address.clone())
                .collect();
            // Without a carrier the administrative state means nothing; some virtual links only know `unknown`.
            let up =
                value("carrier") == "1" && matches!(value("operstate").as_str(), "up" | "unknown");
            Link {
                up,
                mtu: value("mtu").parse().unwrap_or(0),
                addresses,
                name,
            }
        })
        .collect();
    links.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(links)
}

fn addresses() -> Vec<(String, String)> {
    let Ok(found) = nix::ifaddrs::getifaddrs() else {
        return Vec::new();
    };
    found
        .filter_map(|entry| {
            let address = ip(entry.address.as_ref()?)?;
            let mask = entry.netmask.as_ref().and_then(ip);
            let prefix = match mask {
                Some(IpAddr::V4(mask)) => u32::from(mask).count_ones(),
                Some(IpAddr::V6(mask)) => u128::from(mask).count_ones(),
                None => 0,
            };
            Some((entry.interface_name, format!("{address}/{prefix}")))
        })
        .take(ITEMS_MAX)
        .collect()
}

fn ip(address: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

fn parse_resolvers(text: &str) -> Vec<String> {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with(['#', ';']));
    lines
        .filter_map(|line| line.strip_prefix("nameserver")?.split_whitespace().next())
        .take(ITEMS_MAX)
        .map(str::to_owned)
        .collect()
}

fn read(path: &str) -> Result<String, CapError> {
    let content = crate::disk::read_bounded(std::path::Path::new(path), FILE_BYTES_MAX);
    match content {
        Ok(Some(bytes)) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Ok(None) => Err(CapError::Unavailable(format!(
            "there is no {path} on this host"
        ))),
        Err(error) => Err(CapError::Unavailable(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read_as_the_kernel_writes_them() {
        let v4 = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0000000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
eth0\t0000010A\t00000000\t0201\t0\t0\t100\t00FFFFFF\t0\t0\t0";
        let routes = parse_routes_v4(v4);
        let seen: Vec<_> = routes
            .iter()
            .map(|route| {
                (
                    route.destination.as_str(),
                    route.gateway.as_str(),
                    route.metric,
                )
            })
            .collect();
        assert_eq!(
            seen,
            [("0.0.0.0/0", "10.0.0.1", 100), ("10.0.0.0/24", "", 100)]
        );
        let v6 = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0";
        let routes = parse_routes_v6(v6);
        assert_eq!(
            (
                routes[0].destination.as_str(),
                routes[0].gateway.as_str(),
                routes[0].metric
            ),
            ("::/0", "fe80::1", 1024)
        );
    }

    #[test]
    fn comments_and_options_are_no_name_servers() {
        let text = "# nameserver 9.9.9.9\nsearch a\nnameserver 127.0.0.53\n  nameserver\t2001:db8::1 # here\noptions edns0\n";
        assert_eq!(parse_resolvers(text), ["127.0.0.53", "2001:db8::1"]);
    }

    #[tokio::test]
    async fn this_very_host_has_a_name_memory_and_a_loopback() {
        let host = Host::new("styx".into(), "/etc/resolv.conf".into(), Threads::new());
        let facts = host.facts(TIMEOUT).await.expect("facts");
        assert!(
            facts.memory_total_bytes > 0 && facts.cpus > 0 && facts.uptime_ms > 0,
            "{facts:?}"
        );
        assert!(
            links()
                .expect("links")
                .iter()
                .any(|link| link.name == "lo" && link.addresses.contains(&"127.0.0.1/8".into()))
        );
        assert!(host.disks(TIMEOUT).await.is_ok());
    }
}
