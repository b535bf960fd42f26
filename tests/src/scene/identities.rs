//! The first tokens, made as an operator makes them: by the controller's command line, before it runs.

use super::Paths;
use crate::programs;
use anyhow::{Context, Result, bail};
use iaso_identity::{Token, TokenKind};
use tokio::process::Command;

/// The admin of the lab; its token is in a file as well, for the `iaso` command.
pub(super) async fn admin(paths: &Paths) -> Result<Token> {
    let text = said(paths, &["operator", "add", "lab", "--role", "admin"]).await?;
    super::settings::secret(&paths.operator_token_file(), &text)?;
    Token::parse(TokenKind::Operator, &text).context("the operator's token cannot be read")
}

/// A token for a host's first installation.
pub(super) async fn join_token(paths: &Paths, node: &str) -> Result<String> {
    said(paths, &["join-token", node]).await
}

async fn said(paths: &Paths, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(programs::program("iaso-controller")?);
    command
        .args(arguments)
        .arg("--config")
        .arg(&paths.controller_config);
    let output = command
        .output()
        .await
        .context("cannot run the controller's command line")?;
    if !output.status.success() {
        bail!(
            "{arguments:?} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
