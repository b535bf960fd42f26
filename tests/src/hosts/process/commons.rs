//! What every process host believes to be on its own loopback: the kubelet's health port and containerd's socket. They share one loopback
//! and one file system, so each caller is led to its own host.

use crate::callers::{self, Caller};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// Where a host's own services really are.
#[derive(Debug, Clone)]
pub(crate) struct Inside {
    pub(crate) address: IpAddr,
    pub(crate) root: PathBuf,
}

/// The shared doors; they close when dropped.
#[derive(Debug)]
pub struct Commons {
    tasks: [JoinHandle<()>; 2],
}

impl Commons {
    pub(crate) async fn open(
        health: SocketAddr,
        containerd: &Path,
        hosts: BTreeMap<String, Inside>,
    ) -> Result<Self> {
        let hosts = Arc::new(hosts);
        let tcp = TcpListener::bind(health)
            .await
            .with_context(|| format!("cannot listen on {health}: is another lab running?"))?;
        let unix = UnixListener::bind(containerd)
            .with_context(|| format!("cannot listen on {}", containerd.display()))?;
        let tasks = [
            tokio::spawn(lead_tcp(tcp, Arc::clone(&hosts))),
            tokio::spawn(lead_unix(unix, hosts)),
        ];
        Ok(Self { tasks })
    }
}

impl Drop for Commons {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn lead_tcp(listener: TcpListener, hosts: Arc<BTreeMap<String, Inside>>) {
    loop {
        let Ok((mut outside, caller)) = listener.accept().await else {
            continue;
        };
        let hosts = Arc::clone(&hosts);
        tokio::spawn(async move {
            let Ok(local) = outside.local_addr() else {
                return;
            };
            let found = tokio::task::spawn_blocking(move || callers::caller_of(caller, local));
            let Ok(Caller::Host(host)) = found.await else {
                return;
            };
            let Some(inside) = hosts.get(&host).cloned() else {
                return;
            };
            if let Ok(mut own) = TcpStream::connect((inside.address, 10248)).await {
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut own).await;
            } else {
                let _ =
                    socket2::SockRef::from(&outside).set_linger(Some(std::time::Duration::ZERO));
            }
        });
    }
}

async fn lead_unix(listener: UnixListener, hosts: Arc<BTreeMap<String, Inside>>) {
    loop {
        let Ok((mut outside, _)) = listener.accept().await else {
            continue;
        };
        let pid = outside
            .peer_cred()
            .ok()
            .and_then(|credentials| credentials.pid());
        let host = pid.and_then(callers::host_of_pid);
        let Some(inside) = host.and_then(|host| hosts.get(&host).cloned()) else {
            continue;
        };
        tokio::spawn(async move {
            let path = inside.root.join("run/k3s/containerd/containerd.sock");
            if let Ok(mut own) = UnixStream::connect(path).await {
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut own).await;
            }
        });
    }
}
