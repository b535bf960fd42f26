//! The post-install script of a recreated machine: installs k3s at a pinned version, joins it, and starts the agent.
//!
//! **Invariants**
//! - Every value is quoted for the shell by us; a template never quotes.
//! - An unknown or misspelt placeholder is an error when the controller starts, not when a machine is being recreated.
//! - The rendered script is a secret: it is handed on as one and never logged. The tokens in it are for this node, for a short time.

use crate::config::RejoinConfig;
use iaso_providers::Secret;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Largest script, in bytes: the provider's bound.
const SCRIPT_BYTES_MAX: usize = 48 << 10;
/// What a template may say.
const PLACEHOLDERS: [&str; 7] = [
    "node",
    "k3s_url",
    "k3s_token",
    "k3s_version",
    "iaso_controller",
    "iaso_token",
    "flags",
];
const BUILT_IN: &str = include_str!("rejoin.sh");

/// Why there is no script.
#[derive(Debug, thiserror::Error)]
pub enum RejoinError {
    /// The template cannot be read.
    #[error("cannot read rejoin.script_template {}: check its path and permissions", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It says something that is not known.
    #[error(
        "the script template has the unknown placeholder {{{{{name}}}}} on line {line}: use one of {known}"
    )]
    Unknown {
        /// What it says.
        name: String,
        /// Where.
        line: usize,
        /// What it may say.
        known: String,
    },
    /// It never ends a placeholder.
    #[error("the script template opens {{{{ on line {line} and does not close it")]
    Unclosed {
        /// Where.
        line: usize,
    },
    /// It is too large.
    #[error(
        "the script has {bytes} bytes, and the provider takes at most 49152: shorten the template"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// How a machine rejoins.
pub struct Rejoin {
    config: RejoinConfig,
    template: String,
}

impl std::fmt::Debug for Rejoin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rejoin")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Rejoin {
    /// Reads and checks the template.
    ///
    /// # Errors
    /// When it cannot be read, says something unknown, or is too large.
    pub fn new(config: RejoinConfig) -> Result<Self, RejoinError> {
        let template = match &config.script_template {
            None => BUILT_IN.to_owned(),
            Some(path) => {
                let read = |source| RejoinError::Read {
                    path: path.clone(),
                    source,
                };
                let bytes = usize::try_from(std::fs::metadata(path).map_err(read)?.len())
                    .unwrap_or(usize::MAX);
                if bytes > SCRIPT_BYTES_MAX {
                    return Err(RejoinError::TooLarge { bytes });
                }
                std::fs::read_to_string(path).map_err(read)?
            }
        };
        let rejoin = Self { config, template };
        rejoin.render(
            "node",
            "v1.33.4+k3s1",
            &Secret::new("K10::id.secret".into()),
            &Secret::new("iaso-join1.f.id.secret".into()),
        )?;
        Ok(rejoin)
    }

    /// The provider's OS image.
    #[must_use]
    pub fn template_id(&self) -> u64 {
        self.config.template_id
    }

    /// The version to install, if it is configured.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.config.k3s_version.as_deref()
    }

    /// The server to join.
    #[must_use]
    pub fn k3s_url(&self) -> &str {
        &self.config.k3s_url
    }

    /// How long a join token lives.
    #[must_use]
    pub fn token_ttl(&self) -> Duration {
        Duration::from_secs(self.config.token_ttl_secs)
    }

    /// The script for one node.
    ///
    /// # Errors
    /// When it would be too large.
    pub fn render(
        &self,
        node: &str,
        k3s_version: &str,
        k3s_token: &Secret,
        iaso_token: &Secret,
    ) -> Result<Secret, RejoinError> {
        let flags: Vec<String> = self.config.flags.iter().map(|flag| quote(flag)).collect();
        let values = BTreeMap::from([
            ("node", quote(node)),
            ("k3s_url", quote(&self.config.k3s_url)),
            ("k3s_token", quote(k3s_token.expose())),
            ("k3s_version", quote(k3s_version)),
            ("iaso_controller", quote(&self.config.agent_url)),
            ("iaso_token", quote(iaso_token.expose())),
            ("flags", flags.join(" ")),
        ]);
        let script = fill(&self.template, &values)?;
        if script.len() > SCRIPT_BYTES_MAX {
            return Err(RejoinError::TooLarge {
                bytes: script.len(),
            });
        }
        Ok(Secret::new(script))
    }
}

fn fill(template: &str, values: &BTreeMap<&str, String>) -> Result<String, RejoinError> {
    let mut out = String::with_capacity(template.len() + 1_024);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let line = template.len().saturating_sub(after.len());
        let line = template
            .get(..line)
            .unwrap_or_default()
            .matches('\n')
            .count()
            + 1;
        let Some((name, tail)) = after.split_once("}}") else {
            return Err(RejoinError::Unclosed { line });
        };
        let Some(value) = values.get(name) else {
            let name = name.chars().take(60).collect();
            return Err(RejoinError::Unknown {
                name,
                line,
                known: PLACEHOLDERS.join(", "),
            });
        };
        out.push_str(value);
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

/// One shell word, whatever is in it.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> RejoinConfig {
        RejoinConfig {
            template_id: 1_077,
            k3s_url: "https://10.0.0.1:6443".into(),
            k3s_version: None,
            script_template: None,
            agent_url: "https://10.0.0.9:7443".into(),
            flags: vec!["--node-label".into(), "a=b c".into()],
            token_ttl_secs: 3_600,
        }
    }

    fn with_template(text: &str) -> Result<Rejoin, RejoinError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Rejoin::new(RejoinConfig {
            script_template: Some(file.path().to_owned()),
            ..config()
        })
    }

    #[test]
    fn the_built_in_script_pins_the_version_and_is_a_valid_shell_script() {
        let rejoin = Rejoin::new(config()).unwrap();
        let script = rejoin
            .render(
                "styx",
                "v1.33.4+k3s1",
                &Secret::new("K10ab::id.secret".into()),
                &Secret::new("iaso-token".into()),
            )
            .unwrap();
        let text = script.expose();
        assert!(
            text.contains("INSTALL_K3S_VERSION") && text.contains("'v1.33.4+k3s1'"),
            "not pinned"
        );
        assert!(text.contains("'a=b c'"), "flags are quoted one by one");
        let checked = std::process::Command::new("sh")
            .args(["-n", "-c", text])
            .status()
            .unwrap();
        assert!(checked.success());
        assert!(!format!("{script:?} {rejoin:?}").contains("iaso-token"));
    }

    #[test]
    fn a_misspelt_placeholder_is_refused_at_start_with_its_line() {
        let error = with_template("#!/bin/sh\necho {{k3s_tokn}}\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("{{k3s_tokn}} on line 2") && error.contains("k3s_token"),
            "{error}"
        );
        assert!(
            with_template("echo {{node")
                .unwrap_err()
                .to_string()
                .contains("line 1")
        );
    }

    #[test]
    fn a_value_cannot_leave_its_quotes() {
        let rejoin = with_template("echo {{node}}").unwrap();
        let script = rejoin
            .render(
                "a'; rm -rf / #",
                "v",
                &Secret::new("t".into()),
                &Secret::new("i".into()),
            )
            .unwrap();
        let out = std::process::Command::new("sh")
            .args(["-c", script.expose()])
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&out.stdout).trim(),
            "a'; rm -rf / #"
        );
    }

    #[test]
    fn a_script_larger_than_the_provider_takes_is_refused() {
        let error = with_template(&"x".repeat(SCRIPT_BYTES_MAX + 1))
            .unwrap_err()
            .to_string();
        assert!(error.contains("shorten"), "{error}");
    }
}
