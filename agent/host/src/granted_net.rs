//! The checks of calls that leave the host, and of files: see [`crate::granted`] for what holds.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use iaso_grants::{Decision, Target, canonical};
use url::{Host, Url};

use crate::broker::{CapError, DnsQuestion, HttpRequest, Request, Response};
use crate::capabilities::{Capabilities, DnsCall, HttpCall, PingCall, Resolver};
use crate::granted::{Call, READ_BYTES_MAX, bounded, misrouted};
use crate::types::{ConnectOutcome, PingOutcome, Stat};

/// Bodies that a plugin sends.
const BODY_BYTES_MAX: usize = 256 << 10;
/// Headers that a plugin sends.
const HEADERS_MAX: usize = 32;
/// Echo requests in one call.
const PINGS_MAX: u32 = 10;
/// The data that fits a jumbo frame.
const PING_PAYLOAD_MAX: u32 = 8_972;

/// Headers that say where a request goes or how it is framed: the agent's business.
const RESERVED_HEADERS: [&str; 9] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "expect",
];

impl<C: Capabilities, R: Resolver> Call<'_, C, R> {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "`answer` routes only the arms above to here"
    )]
    pub(crate) async fn net(&self, request: Request) -> Result<Response, CapError> {
        match request {
            Request::TcpConnect {
                host,
                port,
                timeout_ms,
            } => self.tcp(&host, port, timeout_ms).await,
            Request::Ping {
                host,
                count,
                timeout_ms,
                payload_bytes,
                dont_fragment,
            } => {
                let count = count.clamp(1, PINGS_MAX);
                if payload_bytes > PING_PAYLOAD_MAX {
                    return Err(CapError::TooLarge(format!(
                        "a ping carries at most {PING_PAYLOAD_MAX} bytes"
                    )));
                }
                let Some(address) = self.ping_address(&host).await? else {
                    return Ok(Response::Ping(unresolved_ping()));
                };
                let timeout = self.timeout(timeout_ms);
                let call = PingCall {
                    address,
                    count,
                    timeout,
                    payload_bytes,
                    dont_fragment,
                };
                self.broker
                    .capabilities
                    .ping(self.cx, call)
                    .await
                    .map(Response::Ping)
            }
            Request::UnixConnect { path, timeout_ms } => {
                let grants = &self.grants.net.unix;
                let real = self
                    .checked_path(&path, grants, |path| self.grants.unix(path))
                    .await?;
                let timeout = self.timeout(timeout_ms);
                self.broker
                    .capabilities
                    .unix_connect(self.cx, Path::new(&real), timeout)
                    .await
                    .map(Response::Connect)
            }
            other => Err(misrouted(&other)),
        }
    }

    async fn tcp(&self, host: &str, port: u16, timeout_ms: u32) -> Result<Response, CapError> {
        let before = |name: &str| self.grants.tcp_name(name, port);
        let granted = |target: Target<'_>| self.grants.tcp(target, port);
        let Some(address) = self.checked_address(host, before, granted).await? else {
            return Ok(Response::Connect(ConnectOutcome {
                outcome: "unresolved".to_owned(),
                address: String::new(),
                elapsed_us: 0,
                detail: format!("{host} has no address"),
            }));
        };
        let to = SocketAddr::new(address, port);
        self.broker
            .capabilities
            .tcp_connect(self.cx, to, self.timeout(timeout_ms))
            .await
            .map(Response::Connect)
    }

    async fn ping_address(&self, host: &str) -> Result<Option<IpAddr>, CapError> {
        let before = |name: &str| self.grants.icmp_name(name);
        let granted = |target: Target<'_>| self.grants.icmp(target);
        self.checked_address(host, before, granted).await
    }

    pub(crate) async fn dns(&self, question: DnsQuestion) -> Result<Response, CapError> {
        let DnsQuestion {
            server,
            port,
            name,
            record_type,
            transport,
            timeout_ms,
        } = question;
        let address: IpAddr = server.parse().map_err(|_| {
            CapError::Other("`server` of a DNS question is an IP address".to_owned())
        })?;
        let address = canonical(address);
        self.grants
            .dns(address, port)
            .map_err(|d| self.denied(&d))?;
        if name.is_empty() || name.len() > 255 {
            return Err(CapError::TooLarge(
                "a DNS name has 1 to 255 bytes".to_owned(),
            ));
        }
        if record_type.len() > 16 {
            return Err(CapError::TooLarge(
                "a record type is a short word such as `A`".to_owned(),
            ));
        }
        let tcp = match transport.as_str() {
            "udp" => false,
            "tcp" => true,
            _ => return Err(CapError::Other("`transport` is `udp` or `tcp`".to_owned())),
        };
        let server = SocketAddr::new(address, port);
        let call = DnsCall {
            server,
            name,
            record_type,
            tcp,
            timeout: self.timeout(timeout_ms),
        };
        self.broker
            .capabilities
            .dns_query(self.cx, call)
            .await
            .map(Response::Dns)
    }

    pub(crate) async fn http(&self, request: HttpRequest) -> Result<Response, CapError> {
        let method = checked_method(&request.method)?;
        let url = checked_url(&request.url)?;
        let headers = checked_headers(request.headers)?;
        if request.body.len() > BODY_BYTES_MAX {
            return Err(CapError::TooLarge(format!(
                "a request's body has at most {BODY_BYTES_MAX} bytes"
            )));
        }
        let port = url
            .port_or_known_default()
            .ok_or_else(|| CapError::Other("the URL has no port".to_owned()))?;
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(v4)) => v4.to_string(),
            Some(Host::Ipv6(v6)) => v6.to_string(),
            None => return Err(CapError::Other("the URL has no host".to_owned())),
        };
        let before = |name: &str| self.grants.http_name(name, port, &method);
        let granted = |target: Target<'_>| self.grants.http(target, port, &method);
        let address = self
            .checked_address(&host, before, granted)
            .await?
            .ok_or_else(|| CapError::Unavailable(format!("{host} has no address")))?;
        let call = HttpCall {
            method,
            url,
            connect_to: SocketAddr::new(address, port),
            headers,
            body: request.body,
            timeout: self.timeout(request.timeout_ms),
            max_bytes: request.max_bytes.min(READ_BYTES_MAX),
        };
        self.broker
            .capabilities
            .http_send(self.cx, call)
            .await
            .map(Response::Http)
    }

    pub(crate) async fn file_stat(&self, path: &str) -> Result<Response, CapError> {
        let grants = &self.grants.files.read;
        match self
            .checked_path(path, grants, |path| self.grants.file_read(path))
            .await
        {
            Ok(real) => self
                .broker
                .capabilities
                .file_stat(self.cx, Path::new(&real))
                .await
                .map(Response::Stat),
            // Its directory is not there either: the answer is known, if the plugin may have it.
            Err(CapError::Unavailable(_)) if self.grants.file_read(path).is_ok() => {
                Ok(Response::Stat(missing()))
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn file_read(
        &self,
        path: &str,
        offset: u64,
        max_bytes: u32,
    ) -> Result<Response, CapError> {
        let grants = &self.grants.files.read;
        let real = self
            .checked_path(path, grants, |path| self.grants.file_read(path))
            .await?;
        let max_bytes = max_bytes.min(READ_BYTES_MAX);
        self.broker
            .capabilities
            .file_read(self.cx, Path::new(&real), offset, max_bytes)
            .await
            .map(Response::Chunk)
    }

    /// The first address of `host` that is granted; none when it has no address; denied when none of them is granted.
    async fn checked_address(
        &self,
        host: &str,
        before: impl Fn(&str) -> Decision + Send,
        granted: impl Fn(Target<'_>) -> Decision + Send,
    ) -> Result<Option<IpAddr>, CapError> {
        let bare = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            let address = canonical(address);
            granted(Target::from(address)).map_err(|d| self.denied(&d))?;
            return Ok(Some(address));
        }
        if host.is_empty() || host.len() > 253 || !host.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(CapError::Other(
                "a host is an address or a name of 1 to 253 letters, digits, `-` and `.`"
                    .to_owned(),
            ));
        }
        before(host).map_err(|d| self.denied(&d))?;
        let mut first_denial = None;
        for address in self
            .broker
            .resolver
            .addresses(host)
            .await?
            .into_iter()
            .map(canonical)
        {
            match granted(Target {
                name: Some(host),
                address,
            }) {
                Ok(()) => return Ok(Some(address)),
                Err(denial) => first_denial = first_denial.or(Some(denial)),
            }
        }
        first_denial.map_or(Ok(None), |denial| Err(self.denied(&denial)))
    }

    /// The real path, if it is granted as it is, or lies under what a granted path that is a link points to.
    async fn checked_path(
        &self,
        path: &str,
        granted_paths: &[String],
        granted: impl Fn(&str) -> Decision + Send,
    ) -> Result<String, CapError> {
        bounded(path, "path")?;
        if !path.starts_with('/')
            || path.contains('\0')
            || Path::new(path).components().any(|c| c.as_os_str() == "..")
        {
            return Err(CapError::Other(
                "a path is absolute and has no `..`".to_owned(),
            ));
        }
        // As written first: what is not granted is not even looked at.
        granted(path).map_err(|d| self.denied(&d))?;
        let real = self.real(path).await?;
        if granted(&real).is_ok() {
            return Ok(real);
        }
        for grant in granted_paths
            .iter()
            .filter(|grant| Path::new(path).starts_with(grant))
        {
            if Path::new(&real).starts_with(self.real(grant).await?) {
                return Ok(real);
            }
        }
        granted(&real).map_err(|d| self.denied(&d)).map(|()| real)
    }

    async fn real(&self, path: &str) -> Result<String, CapError> {
        let real = self.broker.resolver.real_path(Path::new(path)).await?;
        real.into_os_string()
            .into_string()
            .map_err(|_| CapError::Other("the path is not text".to_owned()))
    }
}

fn unresolved_ping() -> PingOutcome {
    PingOutcome {
        sent: 0,
        received: 0,
        rtt_min_us: 0,
        rtt_avg_us: 0,
        rtt_max_us: 0,
        method: String::new(),
        outcome: "unresolved".to_owned(),
        address: String::new(),
    }
}

fn missing() -> Stat {
    Stat {
        kind: "missing".to_owned(),
        size: 0,
        modified_unix_ms: 0,
        mode: 0,
    }
}

fn checked_method(method: &str) -> Result<String, CapError> {
    let method = method.to_ascii_uppercase();
    if method.is_empty()
        || method.len() > 16
        || !method.bytes().all(|b| b.is_ascii_uppercase())
        || method == "CONNECT"
    {
        return Err(CapError::Other(
            "a method is a word such as `GET`".to_owned(),
        ));
    }
    Ok(method)
}

fn checked_url(text: &str) -> Result<Url, CapError> {
    bounded(text, "URL")?;
    let url =
        Url::parse(text).map_err(|e| CapError::Other(format!("the URL cannot be read: {e}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(CapError::Other(format!(
            "only `http` and `https` are known, not `{}`",
            url.scheme()
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(CapError::Other(
            "a URL must not hold a user or a password".to_owned(),
        ));
    }
    Ok(url)
}

fn checked_headers(headers: Vec<(String, String)>) -> Result<Vec<(String, String)>, CapError> {
    if headers.len() > HEADERS_MAX {
        return Err(CapError::TooLarge(format!(
            "a request has at most {HEADERS_MAX} headers"
        )));
    }
    headers.into_iter().map(checked_header).collect()
}

fn checked_header((name, value): (String, String)) -> Result<(String, String), CapError> {
    bounded(&value, "header")?;
    let name = name.to_ascii_lowercase();
    let name_is_good = !name.is_empty()
        && name.len() <= 128
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let value_is_good = value
        .bytes()
        .all(|b| b == b'\t' || (b' '..=b'~').contains(&b));
    if !name_is_good || !value_is_good {
        return Err(CapError::Other(
            "a header's name is a word and its value printable ASCII".to_owned(),
        ));
    }
    if RESERVED_HEADERS.contains(&name.as_str()) || name.starts_with("proxy-") {
        return Err(CapError::Other(format!(
            "the agent sets the header `{name}` itself"
        )));
    }
    Ok((name, value))
}
