//! Reads every file that may hold a certificate of k3s.

use iaso_plugin::{Error, Files};

use crate::certificate::{Certificate, read};
use crate::settings::Settings;

const FILE_BYTES_MAX: u32 = 64 << 10;

const OF_AGENT: &[&str] = &[
    "client-ca.crt",
    "client-k3s-controller.crt",
    "client-kube-proxy.crt",
    "client-kubelet.crt",
    "server-ca.crt",
    "serving-kubelet.crt",
];

const OF_SERVER: &[&str] = &[
    "client-admin.crt",
    "client-auth-proxy.crt",
    "client-ca.crt",
    "client-controller.crt",
    "client-k3s-cloud-controller.crt",
    "client-k3s-controller.crt",
    "client-kube-apiserver.crt",
    "client-kube-proxy.crt",
    "client-scheduler.crt",
    "client-supervisor.crt",
    "request-header-ca.crt",
    "server-ca.crt",
    "serving-kube-apiserver.crt",
    "etcd/client.crt",
    "etcd/peer-ca.crt",
    "etcd/peer-server-client.crt",
    "etcd/server-ca.crt",
    "etcd/server-client.crt",
    "kube-controller-manager/kube-controller-manager.crt",
    "kube-scheduler/kube-scheduler.crt",
];

/// Whose certificates they are: it decides what renews them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    Server,
    Agent,
    /// Named by the operator.
    Extra,
}

/// What one file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Certificates(Vec<Certificate>),
    /// It is there, and is no certificate.
    Damaged(String),
    /// Named by the operator, and not there.
    Missing,
    Unseen(String),
}

/// One file that is there, or should be.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) owner: Owner,
    pub(crate) content: Content,
}

pub(crate) fn look<H: Files>(host: &H, settings: &Settings) -> Vec<Seen> {
    let known = |directory: &str, names: &[&str], owner| {
        let names = if directory.is_empty() { &[] } else { names };
        names
            .iter()
            .map(|name| (format!("{directory}/{name}"), owner))
            .collect::<Vec<_>>()
    };
    let mut files = known(&settings.server_dir, OF_SERVER, Owner::Server);
    files.extend(known(&settings.agent_dir, OF_AGENT, Owner::Agent));
    let extra = settings.extra.iter();
    files.extend(extra.map(|path| (path.clone(), Owner::Extra)));
    files
        .into_iter()
        .filter_map(|(path, owner)| {
            let content = content(host, &path);
            let may_be_absent = owner != Owner::Extra && content == Content::Missing;
            (!may_be_absent).then_some(Seen {
                path,
                owner,
                content,
            })
        })
        .collect()
}

fn content<H: Files>(host: &H, path: &str) -> Content {
    match host.stat(path) {
        Ok(stat) if stat.kind == "missing" => return Content::Missing,
        Ok(_) => {}
        Err(why) => return unseen(&why),
    }
    match host.read(path, 0, FILE_BYTES_MAX) {
        Ok(chunk) if chunk.truncated => {
            Content::Unseen(format!("it has more than {FILE_BYTES_MAX} bytes"))
        }
        Ok(chunk) => read(&chunk.data).map_or_else(Content::Damaged, Content::Certificates),
        Err(why) => unseen(&why),
    }
}

fn unseen(why: &Error) -> Content {
    Content::Unseen(why.to_string())
}
