//! What an agent with ten plugins holds in memory: its process and the runner's, beside one that runs the same plugins in its own process.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use iaso_measure::Figure;

const PLUGINS: usize = 10;
const READY_WITHIN: Duration = Duration::from_mins(2);
/// Each plugin has run so often before anything is read.
const RUNS: u64 = 5;

/// Killed with its runner when this goes.
struct Agent {
    process: Child,
    status: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let apart = Agent::start("process")?.settled()?;
    let together = Agent::start("in-process")?.settled()?;
    for (name, what, reach) in [
        ("agent.rss-10-plugins", "VmRSS:", Some(20.0)),
        ("agent.rss-anon-10-plugins", "RssAnon:", None),
    ] {
        Figure {
            name: name.into(),
            unit: "MiB".into(),
            value: apart.memory_mib(what)?,
            baseline_is: "plugins in the agent's process".into(),
            baseline: together.memory_mib(what)?,
            reach,
            runs: 1,
        }
        .tell()?;
    }
    Ok(())
}

impl Agent {
    fn start(mode: &str) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let status = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = directory.path().join("agent.toml");
        std::fs::write(&config, configuration(directory.path(), status, mode)?)?;
        let process = Command::new(env!("CARGO_BIN_EXE_iaso-agent"))
            .args(["run", "--config"])
            .arg(config)
            .env("IASO_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self {
            process,
            status,
            _directory: directory,
        })
    }

    /// Waits until every plugin has run a few times.
    fn settled(self) -> io::Result<Self> {
        let started = Instant::now();
        while started.elapsed() < READY_WITHIN {
            if self.runs().unwrap_or(0) >= RUNS * PLUGINS as u64 {
                return Ok(self);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(io::Error::other("the plugins did not run"))
    }

    fn runs(&self) -> io::Result<u64> {
        let mut stream = TcpStream::connect(self.status)?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let runs = text
            .lines()
            .filter(|line| line.starts_with("iaso_agent_plugin_runs_total"));
        let count = |line: &str| line.rsplit(' ').next()?.parse::<u64>().ok();
        Ok(runs.filter_map(count).sum())
    }

    /// Of its process and those that it started, summed. What both map is counted for each.
    fn memory_mib(&self, what: &str) -> io::Result<f64> {
        let mut kib = 0.0;
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|n| n.parse::<u32>().ok())
            else {
                continue;
            };
            // One that ended meanwhile is none of ours.
            let text = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            let field = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name))?;
                line.split_whitespace().next()?.parse::<f64>().ok()
            };
            if pid == self.process.id() || field("PPid:") == Some(f64::from(self.process.id())) {
                kib += field(what).unwrap_or(0.0);
            }
        }
        Ok(kib / 1024.0)
    }
}

fn configuration(directory: &Path, status: SocketAddr, mode: &str) -> io::Result<String> {
    let plugins = std::env::var_os("IASO_PLUGINS_DIR")
        .ok_or_else(|| io::Error::other("IASO_PLUGINS_DIR is not set: use `cargo xtask bench`"))?;
    let mut shipped: Vec<_> = std::fs::read_dir(plugins)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "wasm"))
        .collect();
    shipped.sort();
    let mut text = format!(
        "node = \"styx\"\nstate_dir = \"{}\"\nstatus_listen = \"{status}\"\n[runner]\nmode = \"{mode}\"\n",
        directory.join("state").display()
    );
    for (at, path) in shipped.iter().cycle().take(PLUGINS).enumerate() {
        // It runs as far as it comes without rights.
        let _ = writeln!(
            text,
            "[[plugins]]\nname = \"p{at}\"\npath = \"{}\"\ninterval_secs = 1\n[plugins.grants]\n\
             declined = [\"net\", \"dns\", \"http\", \"services\", \"scripts\", \"host\", \"files\", \"kube\"]",
            path.display()
        );
    }
    Ok(text)
}
