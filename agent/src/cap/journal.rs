//! The log of one unit, read by a child process of `journalctl`: bounded in time, lines and bytes.

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, SystemTime},
};

use iaso_host::{CapError, types::JournalLine};
use serde_json::Value;
use tokio::{io::AsyncReadExt as _, process::Command};

const OUTPUT_BYTES_MAX: u64 = 4 << 20;
const MESSAGE_BYTES_MAX: usize = 4096;
const LINES_MAX: u32 = 500;
const TIMEOUT: Duration = Duration::from_secs(10);

/// Reads unit logs with one program.
pub struct Journal {
    program: PathBuf,
}

impl Journal {
    /// `program`: journalctl, or what answers the same arguments.
    #[must_use]
    pub fn new(program: PathBuf) -> Self {
        Self { program }
    }

    /// The last lines of a unit's log, oldest first.
    pub async fn read(
        &self,
        unit: &str,
        lines: u32,
        age: Duration,
        timeout: Duration,
    ) -> Result<Vec<JournalLine>, CapError> {
        let read = self.run(unit, lines.min(LINES_MAX), age);
        tokio::time::timeout(timeout.min(TIMEOUT), read)
            .await
            .unwrap_or(Err(CapError::Timeout))
    }

    async fn run(
        &self,
        unit: &str,
        lines: u32,
        age: Duration,
    ) -> Result<Vec<JournalLine>, CapError> {
        let since = SystemTime::now()
            .checked_sub(age)
            .and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok())
            .map_or(0, |since| since.as_secs());
        let mut child = Command::new(&self.program)
            .args([
                "-u",
                unit,
                "-n",
                &lines.to_string(),
                "--output=json",
                "--since",
                &format!("@{since}"),
            ])
            .env("SYSTEMD_PAGER", "")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| self.unavailable(&error.to_string()))?;
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let both = async {
            if let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) {
                let (read, _) = tokio::join!(
                    read_up_to(stdout, OUTPUT_BYTES_MAX, &mut output),
                    read_up_to(stderr, 4096, &mut errors),
                );
                return read;
            }
            Ok(())
        };
        both.await.map_err(|error| {
            CapError::Other(format!("cannot read journalctl's output: {error}"))
        })?;
        if output.len() as u64 >= OUTPUT_BYTES_MAX {
            return Err(CapError::TooLarge(format!(
                "the log of {unit}: ask for fewer lines"
            )));
        }
        let status = child
            .wait()
            .await
            .map_err(|error| self.unavailable(&error.to_string()))?;
        if !status.success() && output.is_empty() {
            return Err(self.unavailable(String::from_utf8_lossy(&errors).trim()));
        }
        Ok(parse(&output))
    }

    fn unavailable(&self, why: &str) -> CapError {
        CapError::Unavailable(format!(
            "{} does not show this host's journal: {why}",
            self.program.display()
        ))
    }
}

async fn read_up_to(
    from: impl tokio::io::AsyncRead + Unpin,
    max: u64,
    into: &mut Vec<u8>,
) -> std::io::Result<()> {
    from.take(max).read_to_end(into).await.map(drop)
}

/// Lines that are not what is expected are passed over: a log is written by anybody.
fn parse(output: &[u8]) -> Vec<JournalLine> {
    let lines = output
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .filter_map(|line| to_line(&serde_json::from_slice(line).ok()?))
        .collect()
}

fn to_line(entry: &Value) -> Option<JournalLine> {
    let at_us: u64 = entry.get("__REALTIME_TIMESTAMP")?.as_str()?.parse().ok()?;
    let priority = entry
        .get("PRIORITY")
        .and_then(Value::as_str)
        .and_then(|text| text.parse().ok())
        .unwrap_or(6);
    // What is not printable text comes as an array of bytes; what is too long as null.
    let message = match entry.get("MESSAGE")? {
        Value::String(text) => text.clone(),
        Value::Array(bytes) => {
            let bytes: Vec<u8> = bytes
                .iter()
                .filter_map(|byte| u8::try_from(byte.as_u64()?).ok())
                .collect();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return None,
    };
    Some(JournalLine {
        at_unix_ms: at_us / 1000,
        priority,
        message: cut(message),
    })
}

fn cut(mut text: String) -> String {
    let end = text.floor_char_boundary(MESSAGE_BYTES_MAX.min(text.len()));
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn program(script: &str) -> (tempfile::TempDir, Journal) {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("journalctl");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        (root, Journal::new(path))
    }

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn text_bytes_and_nonsense_are_each_read_as_what_they_are() {
        let output = br#"{"__REALTIME_TIMESTAMP":"1700000000123456","PRIORITY":"3","MESSAGE":"Node password rejected"}
not json
{"__REALTIME_TIMESTAMP":"1700000001000000","MESSAGE":[104,105,255]}
{"__REALTIME_TIMESTAMP":"1700000002000000","MESSAGE":null}"#;
        let lines = parse(output);
        let seen: Vec<_> = lines
            .iter()
            .map(|line| (line.at_unix_ms, line.priority, line.message.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                (1_700_000_000_123, 3, "Node password rejected"),
                (1_700_000_001_000, 6, "hi\u{fffd}")
            ]
        );
    }

    #[tokio::test]
    async fn the_program_gets_unit_lines_and_age() {
        let (_root, journal) = program(
            r#"printf '{"__REALTIME_TIMESTAMP":"1","MESSAGE":"%s %s %s %s"}\n' "$1" "$2" "$3" "$4""#,
        );
        let lines = journal
            .read("k3s-agent.service", 9_999, MINUTE, MINUTE)
            .await
            .expect("lines");
        assert_eq!(lines[0].message, "-u k3s-agent.service -n 500");
    }

    #[tokio::test]
    async fn a_hung_a_missing_and_a_failing_program_are_each_said() {
        let (_root, hung) = program("sleep 600");
        assert_eq!(
            hung.read("u", 1, MINUTE, Duration::from_millis(50)).await,
            Err(CapError::Timeout)
        );
        let (_root, failing) = program("echo no journal files were found >&2; exit 1");
        let error = failing
            .read("u", 1, MINUTE, MINUTE)
            .await
            .expect_err("it failed")
            .to_string();
        assert!(error.contains("no journal files were found"), "{error}");
        let missing = Journal::new("/nowhere/journalctl".into());
        assert!(matches!(
            missing.read("u", 1, MINUTE, MINUTE).await,
            Err(CapError::Unavailable(_))
        ));
    }

    #[tokio::test]
    async fn endless_output_is_cut_off() {
        let (_root, endless) = program("exec yes");
        assert!(matches!(
            endless.read("u", 1, MINUTE, MINUTE).await,
            Err(CapError::TooLarge(_))
        ));
    }
}
