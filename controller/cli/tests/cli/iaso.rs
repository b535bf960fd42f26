//! Runs the real binary, away from the environment of whoever runs the tests.

use crate::controller::{self, Controller, Script};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::process::Command;

/// No call of a test takes so long, unless it hangs.
const HANGS: Duration = Duration::from_mins(1);

impl Ran {
    /// It said all of this where errors are said.
    pub(crate) fn assert_says(&self, all: &[&str]) {
        for words in all {
            assert!(
                self.err.contains(words),
                "{words:?} is not in: {}",
                self.err
            );
        }
    }
}

/// A home with a token in it.
pub(crate) struct Home(tempfile::TempDir);

/// What came of a call.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Home {
    pub(crate) fn new() -> Self {
        let home = Self(tempfile::tempdir().expect("a temporary directory"));
        home.token("operator.token", &controller::token());
        home
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn token(&self, name: &str, content: &str) -> PathBuf {
        let file = self.path().join(name);
        fs::write(&file, content).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("set");
        file
    }

    pub(crate) fn command(&self, controller: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_iaso"));
        command
            .env_clear()
            .env("HOME", self.path())
            .env("USER", "nora")
            .env("COLUMNS", "80");
        command
            .env("IASO_TOKEN_FILE", self.path().join("operator.token"))
            .env("IASO_CONTROLLER", controller);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    pub(crate) async fn run(&self, controller: &str, args: &[&str]) -> Ran {
        finish(self.command(controller, args)).await
    }
}

pub(crate) async fn finish(mut command: Command) -> Ran {
    let Output {
        status,
        stdout,
        stderr,
    } = tokio::time::timeout(HANGS, command.output())
        .await
        .expect("iaso hangs")
        .expect("iaso starts");
    Ran {
        code: status.code().expect("iaso was not killed"),
        out: String::from_utf8(stdout).expect("UTF-8"),
        err: String::from_utf8(stderr).expect("UTF-8"),
    }
}

/// Against a controller, with the right token.
pub(crate) async fn run(controller: &Controller, args: &[&str]) -> Ran {
    Home::new().run(&controller.url(), args).await
}

/// Against a controller that answers so, with the right token.
pub(crate) async fn run_with(script: Script, args: &[&str]) -> Ran {
    run(&Controller::start(script).await, args).await
}

/// A URL where nobody listens.
pub(crate) async fn nobody() -> String {
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    format!("https://{}", free.local_addr().expect("bound"))
}
