//! Iaso's own programs without hosts: a controller, agents and the operator's command, as they are started by hand.

use anyhow::{Context, Result, bail};
use iaso_identity::{NodeIdentity, NodeKey, Token, TokenKind};
use iaso_proto::v1;
use iaso_proto::v1::agent_message::Kind;
use iaso_proto::v1::agent_service_client::AgentServiceClient;
use iaso_proto::v1::identity_service_client::IdentityServiceClient;
use iaso_tests::{programs, story};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

/// No program here takes so long for anything, unless it hangs.
const HANGS: Duration = Duration::from_secs(20);
/// Three workers without a machine, probed on no port.
pub(crate) const NODES: &str = "[probe]\nicmp = false\ntcp_ports = []\n\
    [[nodes]]\nname = \"styx\"\nrole = \"worker\"\naddress = \"127.0.0.9\"\n\
    [[nodes]]\nname = \"calypso\"\nrole = \"worker\"\naddress = \"127.0.0.10\"\n\
    [[nodes]]\nname = \"lethe\"\nrole = \"worker\"\naddress = \"127.0.0.11\"\n";

/// Whether a test cannot run here; it has said why.
pub(crate) fn skipped(name: &str) -> Result<bool> {
    let needed = ["iaso", "iaso-agent", "iaso-controller", "iaso-lab"];
    story::skipped(name, story::missing_programs(&needed))
}

/// What came of a program that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// It ended with this code, and said all of this where errors are said.
    pub(crate) fn assert(&self, code: i32, said: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for words in said {
            assert!(
                self.err.contains(words),
                "{words:?} is not in: {}",
                self.err
            );
        }
    }
}

/// Tied to the test's life, and deaf to whoever runs it.
fn command(program: &str, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(programs::program("iaso-lab")?);
    command
        .args(["tether", "--"])
        .arg(programs::program(program)?)
        .args(arguments)
        .env_remove("NOTIFY_SOCKET")
        .env_remove("IASO_LOG")
        .env_remove("IASO_CONTROLLER")
        .env_remove("IASO_TOKEN_FILE")
        .env("USER", "nora")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    Ok(command)
}

/// Runs a program to its end.
pub(crate) async fn run(program: &str, arguments: &[&str]) -> Result<Ran> {
    let output = tokio::time::timeout(HANGS, command(program, arguments)?.output())
        .await
        .with_context(|| format!("{program} {arguments:?} does not end"))??;
    Ok(Ran {
        code: output.status.code().context("killed")?,
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}

/// A program that goes on, and what it has said.
pub(crate) struct Program {
    /// Where an agent's files are.
    home: PathBuf,
    child: Child,
    said: watch::Receiver<String>,
}

impl Program {
    pub(crate) fn start(program: &str, arguments: &[&str]) -> Result<Self> {
        let mut child = command(program, arguments)?
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stderr.take().context("piped")?).lines();
        let (saying, said) = watch::channel(String::new());
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                saying.send_modify(|said| {
                    said.push_str(&line);
                    said.push('\n');
                });
            }
        });
        Ok(Self {
            home: PathBuf::new(),
            child,
            said,
        })
    }

    /// Waits until it has said a line with all of these words, and answers the line.
    pub(crate) async fn says(&mut self, words: &[&str]) -> Result<String> {
        let with_all = |said: &str| {
            let line = said
                .lines()
                .find(|line| words.iter().all(|word| line.contains(word)));
            line.map(str::to_owned)
        };
        let heard = self.said.wait_for(|said| with_all(said).is_some());
        if let Ok(Ok(said)) = tokio::time::timeout(HANGS, heard).await {
            return with_all(&said).context("it was there a moment ago");
        }
        bail!("it never said {words:?}, but:\n{}", self.said());
    }

    pub(crate) fn said(&self) -> String {
        self.said.borrow().clone()
    }

    pub(crate) async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}

/// A controller on a free port.
pub(crate) struct Alone {
    pub(crate) controller: Program,
    pub(crate) address: SocketAddr,
    dir: TempDir,
}

impl Alone {
    pub(crate) async fn start(more: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let config = dir.path().join("controller.toml");
        std::fs::write(&config, controller_config(more))?;
        let config = config.display().to_string();
        let made = [
            "operator", "add", "nora", "--role", "admin", "--config", &config,
        ];
        let admin = run("iaso-controller", &made).await?;
        admin.assert(0, &[]);
        private(
            &dir.path().join("admin.token").display().to_string(),
            &admin.out,
        )?;
        let mut controller = Program::start("iaso-controller", &["run", "--config", &config])?;
        let line = controller.says(&["serving", "status_address="]).await?;
        let address = line
            .split(' ')
            .find_map(|word| word.strip_prefix("address="))
            .with_context(|| format!("no address in: {line}"))?;
        Ok(Self {
            address: address.parse()?,
            controller,
            dir,
        })
    }

    /// What the controller's own command line prints.
    pub(crate) async fn says(&self, arguments: &[&str]) -> Result<String> {
        let config = self.path("controller.toml");
        let mut all = arguments.to_vec();
        all.extend(["--config", &config]);
        let ran = run("iaso-controller", &all).await?;
        ran.assert(0, &[]);
        Ok(ran.out.trim().to_owned())
    }

    /// Writes a token of a new operator to a file, and answers where.
    pub(crate) async fn operator(&self, name: &str, role: &str) -> Result<String> {
        let token = self
            .says(&["operator", "add", name, "--role", role])
            .await?;
        let file = self.path(&format!("{name}.token"));
        private(&file, &token)?;
        Ok(file)
    }

    /// Writes a join token to a file, and answers its name below the controller's directory.
    pub(crate) async fn join_token(&self, node: &str) -> Result<String> {
        let name = format!("{node}.join");
        private(&self.path(&name), &self.says(&["join-token", node]).await?)?;
        Ok(name)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The operator's command with the right token.
    pub(crate) async fn iaso(&self, arguments: &[&str]) -> Result<Ran> {
        let (url, token) = (self.url(), self.path("admin.token"));
        let mut all = vec!["--controller", &url, "--token-file", &token];
        all.extend(arguments);
        run("iaso", &all).await
    }

    /// A real agent; `token` is the name of a join token's file below the controller's directory.
    pub(crate) fn agent(&self, node: &str, token: &str) -> Result<Program> {
        let home = tempfile::tempdir_in(self.dir.path())?.keep();
        let config = agent_config(&home, node, &self.url(), &self.path(token))?;
        let program = Program::start("iaso-agent", &["run", "--config", &config])?;
        Ok(Program { home, ..program })
    }

    /// Another agent with the identity of this one.
    pub(crate) fn copy_of(&self, agent: &Program) -> Result<Program> {
        let home = tempfile::tempdir_in(self.dir.path())?.keep();
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(home.join("state"))?;
        let identity = Path::new("state/node.identity");
        std::fs::copy(agent.home.join(identity), home.join(identity))?;
        let config = agent_config(&home, "styx", &self.url(), &self.path("none.join"))?;
        Program::start("iaso-agent", &["run", "--config", &config])
    }

    /// Uses a join token, by a key that is thrown away.
    pub(crate) async fn use_up(&self, node: &str, token: &str) -> Result<()> {
        let token = Token::parse(TokenKind::Join, token)?;
        let request = v1::EnrolRequest {
            node: node.into(),
            token: token.presented(),
            request: NodeKey::generate()?.request()?,
        };
        let channel = self.anonymous(&token).await?;
        IdentityServiceClient::new(channel).enrol(request).await?;
        Ok(())
    }

    /// An agent's side of a session, to say what no real agent would.
    pub(crate) async fn session(&self, node: &str) -> Result<Session> {
        let identity = self.enrolled(node).await?;
        let endpoint = Endpoint::from_shared(self.url())?;
        let channel = iaso_identity::connect(&endpoint, identity.client()?).await?;
        let mut client = AgentServiceClient::new(channel).max_encoding_message_size(usize::MAX);
        let (up, messages) = mpsc::channel(16);
        let session = Session { up, down: None };
        session.hello(node).await?;
        let down = client.session(ReceiverStream::new(messages)).await?;
        Ok(Session {
            down: Some(down.into_inner()),
            ..session
        })
    }
}

impl Alone {
    /// An identity as an agent gets it.
    pub(crate) async fn enrolled(&self, node: &str) -> Result<NodeIdentity> {
        let text = self.says(&["join-token", node]).await?;
        let token = Token::parse(TokenKind::Join, &text)?;
        let key = NodeKey::generate()?;
        let request = v1::EnrolRequest {
            node: node.into(),
            token: token.presented(),
            request: key.request()?,
        };
        let channel = self.anonymous(&token).await?;
        let answer = IdentityServiceClient::new(channel)
            .enrol(request)
            .await?
            .into_inner();
        Ok(NodeIdentity::new(
            node.into(),
            token.fingerprint(),
            &key,
            answer.certificate,
        ))
    }

    /// TLS without a certificate.
    async fn anonymous(&self, token: &Token) -> Result<Channel> {
        let endpoint = Endpoint::from_shared(self.url())?;
        Ok(iaso_identity::connect(&endpoint, token.fingerprint().client()?).await?)
    }
}

fn private(path: &str, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text)?;
    Ok(std::fs::set_permissions(
        path,
        std::fs::Permissions::from_mode(0o600),
    )?)
}

/// A free port.
pub(crate) const FREE: &str = "127.0.0.1:0";

pub(crate) fn controller_config(more: &str) -> String {
    controller_config_at([FREE, FREE], more)
}

/// With `listen` and `status_listen`.
pub(crate) fn controller_config_at([listen, status]: [&str; 2], more: &str) -> String {
    format!(
        "listen = \"{listen}\"\nstatus_listen = \"{status}\"\ndata_dir = \"data\"\nheartbeat_secs = 1\n{more}"
    )
}

/// Writes an agent's configuration, and answers where.
pub(crate) fn agent_config(home: &Path, node: &str, url: &str, token: &str) -> Result<String> {
    let config = home.join("agent.toml");
    let state: PathBuf = home.join("state");
    std::fs::write(
        &config,
        format!(
            "node = \"{node}\"\ncontroller = \"{url}\"\njoin_token_file = \"{token}\"\nstate_dir = \"{}\"\n[session]\nreconnect_max_ms = 200\n",
            state.display()
        ),
    )?;
    Ok(config.display().to_string())
}

/// A session that is spoken by hand.
pub(crate) struct Session {
    up: mpsc::Sender<v1::AgentMessage>,
    down: Option<Streaming<v1::ControllerMessage>>,
}

impl Session {
    async fn hello(&self, node: &str) -> Result<()> {
        self.say(Kind::Hello(v1::Hello {
            node: node.into(),
            boot_id: format!("{node}-by-hand"),
            ..v1::Hello::default()
        }))
        .await
    }

    pub(crate) async fn say(&self, kind: Kind) -> Result<()> {
        let message = v1::AgentMessage { kind: Some(kind) };
        self.up.send(message).await.context("the session is gone")
    }

    /// Reports one finding under this sequence number, and waits until it is acknowledged.
    pub(crate) async fn report(&mut self, sequence: u64, severity: &str) -> Result<()> {
        self.say(Kind::Report(v1::PluginReport {
            sequence,
            plugin: "by-hand".into(),
            findings: vec![v1::Finding {
                code: "by-hand.disk-full".into(),
                severity: severity.into(),
                summary: "the disk is full".into(),
                remedies: vec!["tidy".into()],
                ..v1::Finding::default()
            }],
            ..v1::PluginReport::default()
        }))
        .await?;
        loop {
            if let v1::controller_message::Kind::Ack(ack) = self.next().await?
                && ack.sequence == sequence
            {
                return Ok(());
            }
        }
    }

    /// What the controller says next, or how it ended the session.
    pub(crate) async fn next(&mut self) -> Result<v1::controller_message::Kind, Status> {
        let down = self.down.as_mut().expect("it was opened");
        let message = tokio::time::timeout(HANGS, down.message())
            .await
            .map_err(|_| Status::deadline_exceeded("the controller says nothing"))??;
        message
            .and_then(|message| message.kind)
            .ok_or_else(|| Status::cancelled("the stream ended"))
    }

    /// Goes on as a healthy agent does, until it is dropped.
    pub(crate) fn beats(&self) -> tokio::task::JoinHandle<()> {
        let up = self.up.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(500));
            let beat = Kind::Heartbeat(v1::Heartbeat::default());
            let beat = v1::AgentMessage { kind: Some(beat) };
            while up.send(beat.clone()).await.is_ok() {
                ticks.tick().await;
            }
        })
    }
}
