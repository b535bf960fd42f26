//! The operator's token: where it is looked for, and what is said when it is not there.

use crate::failure::Failure;
use iaso_identity::TokenKind;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Where a controller on this machine keeps it.
const BESIDE_CONTROLLER: &str = "/var/lib/iaso-controller/operator.token";
/// Longest token file, in bytes.
const BYTES_MAX: u64 = 4_096;

/// A token, and the file it came from: an error must name it.
pub(crate) struct Token {
    /// Never printed. It names the controller that it is for.
    pub(crate) secret: iaso_identity::Token,
    /// Read from here.
    pub(crate) file: PathBuf,
    /// Others on this machine can read it too.
    pub(crate) exposed: bool,
}

/// Reads the file named, or the first of the usual ones that can be read.
pub(crate) fn read(named: Option<&Path>, home: Option<&Path>) -> Result<Token, Failure> {
    if let Some(file) = named {
        return load(file).map_err(|why| {
            Failure::NoToken(format!(
                "cannot use the token file {}: {why}.\n  Name a readable one with --token-file or IASO_TOKEN_FILE.",
                file.display()
            ))
        });
    }
    let mut usual = vec![PathBuf::from(BESIDE_CONTROLLER)];
    usual.extend(home.map(|home| home.join(".config/iaso/operator.token")));
    first_of(&usual)
}

fn first_of(files: &[PathBuf]) -> Result<Token, Failure> {
    let mut tried = vec![];
    for file in files {
        match load(file) {
            Ok(token) => return Ok(token),
            Err(why) => tried.push(format!("\n  {}: {why}", file.display())),
        }
    }
    Err(Failure::NoToken(format!(
        "no operator's token could be read:{}\n  \
         Have one made on the controller's machine, `iaso-controller operator add NAME --role ROLE`, and write it to \
         ~/.config/iaso/operator.token (mode 0600), or name its file with --token-file or IASO_TOKEN_FILE.",
        tried.concat()
    )))
}

fn load(path: &Path) -> Result<Token, String> {
    let file = File::open(path).map_err(|error| in_words(&error))?;
    let metadata = file.metadata().map_err(|error| in_words(&error))?;
    if metadata.is_dir() {
        return Err("it is a directory".to_owned());
    }
    let mut content = Vec::new();
    file.take(BYTES_MAX + 1)
        .read_to_end(&mut content)
        .map_err(|error| in_words(&error))?;
    if content.len() as u64 > BYTES_MAX {
        return Err(format!(
            "it is larger than {BYTES_MAX} bytes, so it is no token"
        ));
    }
    let secret = String::from_utf8(content)
        .map_err(|_| "it is not text, so it is no token".to_owned())?
        .trim()
        .to_owned();
    if secret.is_empty() {
        return Err("it is empty".to_owned());
    }
    if !secret.chars().all(|c| c.is_ascii_graphic()) {
        return Err("it holds more than one word of printable ASCII, so it is no token".to_owned());
    }
    let secret = iaso_identity::Token::parse(TokenKind::Operator, &secret)
        .map_err(|error| error.to_string())?;
    Ok(Token {
        secret,
        file: path.to_owned(),
        exposed: metadata.permissions().mode() & 0o077 != 0,
    })
}

fn in_words(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        return "no such file".to_owned();
    }
    if error.kind() == io::ErrorKind::PermissionDenied {
        return "permission denied (try with sudo)".to_owned();
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn refusal(content: &[u8]) -> String {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("t");
        fs::write(&file, content).expect("written");
        load(&file).err().expect("must be refused")
    }

    #[test]
    fn a_token_is_one_printable_word() {
        assert_eq!(refusal(b" \n"), "it is empty");
        assert!(refusal(b"a b").contains("more than one word"));
        assert!(refusal(b"some-other-secret").contains("iaso-operator1"));
        assert!(refusal(b"\xff").contains("not text"));
        assert!(refusal(&[b'a'; 5_000]).contains("larger than 4096"));
    }

    #[test]
    fn the_second_place_is_used_when_the_first_has_none_and_every_place_is_named_when_none_has() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (missing, there) = (dir.path().join("missing"), dir.path().join("there"));
        let made =
            iaso_identity::Token::draw(TokenKind::Operator, iaso_identity::Fingerprint::of(b"ca"))
                .expect("randomness");
        fs::write(&there, format!("{}\n", made.expose())).expect("written");
        fs::set_permissions(&there, fs::Permissions::from_mode(0o644)).expect("set");
        let token = first_of(&[missing.clone(), there.clone()]).expect("read");
        assert_eq!(
            (token.secret.expose(), token.file, token.exposed),
            (made.expose(), there, true)
        );
        let said = first_of(&[missing.clone(), dir.path().to_owned()])
            .err()
            .expect("none")
            .to_string();
        assert!(
            said.contains(&format!("{}: no such file", missing.display())),
            "{said}"
        );
        assert!(
            said.contains("it is a directory") && said.contains("--token-file"),
            "{said}"
        );
    }
}
