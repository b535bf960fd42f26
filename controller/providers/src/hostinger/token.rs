//! The API token: read from its file when it is first needed, and again when the provider refuses it.

use std::{path::PathBuf, sync::Mutex, sync::PoisonError};

use reqwest::header::HeaderValue;
use tokio::io::AsyncReadExt;
use zeroize::Zeroizing;

use crate::{ProviderError, Secret};

const TOKEN_BYTES_MAX: u64 = 4096;

/// A token file and the token last read from it.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    last: Mutex<Option<Secret>>,
}

impl TokenFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            last: Mutex::default(),
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// The token last read, or the file's.
    pub(super) async fn current(&self, call: &'static str) -> Result<Secret, ProviderError> {
        let known = self
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(token) = known {
            return Ok(token);
        }
        let token = self.read(call).await?;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(token)
    }

    /// The file's token if it is not the refused one.
    pub(super) async fn rotated(&self, call: &'static str, refused: &Secret) -> Option<Secret> {
        let token = self.read(call).await.ok()?;
        let changed = !token.same_as(refused);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        changed.then_some(token)
    }

    async fn read(&self, call: &'static str) -> Result<Secret, ProviderError> {
        let wrong = |what, source| ProviderError::Token {
            call,
            path: self.path.clone(),
            what,
            source,
        };
        let unreadable = |error| {
            wrong(
                "it cannot be read: check token_file and its permissions",
                Some(error),
            )
        };
        let file = tokio::fs::File::open(&self.path)
            .await
            .map_err(unreadable)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(4097));
        file.take(TOKEN_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .await
            .map_err(unreadable)?;
        if bytes.len() > 4096 {
            return Err(wrong(
                "it has more than 4096 bytes, so it is not a token",
                None,
            ));
        }
        let text = std::str::from_utf8(&bytes).unwrap_or("\0").trim();
        match text {
            "" => Err(wrong("it is empty: put an API token in it", None)),
            text if text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(Secret::new(text.to_owned()))
            }
            _ => Err(wrong("it must hold the token alone, on one line", None)),
        }
    }
}

/// `Authorization: Bearer …`, marked so that nothing on the way prints it.
pub(super) fn bearer(token: &Secret) -> Option<HeaderValue> {
    let text = Zeroizing::new(format!("Bearer {}", token.expose()));
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
