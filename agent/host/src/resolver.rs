//! Names by the system's resolver, paths by the file system.
//!
//! **Invariants**
//! - A lookup that the system does not give back occupies a thread and a place in [`LOOKUPS_MAX`] until it does; when all places
//!   are taken, further lookups are refused at once instead of queued.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use crate::broker::CapError;
use crate::capabilities::Resolver;

/// Lookups in flight, abandoned ones included.
const LOOKUPS_MAX: usize = 16;
/// Addresses taken from one answer.
const ADDRESSES_MAX: usize = 16;

/// The system's own resolver (`getaddrinfo`: `/etc/hosts`, search list and all).
#[derive(Debug, Clone)]
pub struct SystemResolver {
    places: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(LOOKUPS_MAX)),
        }
    }
}

impl SystemResolver {
    /// Lookups that are running now, those that nobody waits for any more included.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        LOOKUPS_MAX.saturating_sub(self.places.available_permits())
    }

    /// Runs `work` on a thread that may be abandoned.
    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, CapError> + Send + 'static,
    ) -> Result<T, CapError> {
        let busy = |_| CapError::Unavailable("too many lookups hang on this host".to_owned());
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(busy)?;
        let task = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(place);
            result
        });
        task.await
            .unwrap_or_else(|_| Err(CapError::Other("the lookup crashed".to_owned())))
    }
}

#[async_trait]
impl Resolver for SystemResolver {
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, CapError> {
        let name = name.to_owned();
        self.on_thread(move || {
            use std::net::ToSocketAddrs as _;
            // Every error of getaddrinfo means "no address" to a plugin: whether the name or the resolver is at fault, `dns` can tell.
            let found = (name.as_str(), 0)
                .to_socket_addrs()
                .map(|all| all.take(ADDRESSES_MAX).map(|a| a.ip()).collect());
            Ok(found.unwrap_or_default())
        })
        .await
    }

    async fn real_path(&self, path: &Path) -> Result<PathBuf, CapError> {
        let path = path.to_owned();
        self.on_thread(move || real_path(&path)).await
    }
}

fn real_path(path: &Path) -> Result<PathBuf, CapError> {
    match path.canonicalize() {
        Ok(real) => Ok(real),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // A link that dangles is not "missing under its parent": where it points to was not checked.
            if path.symlink_metadata().is_ok() {
                return Err(CapError::Unavailable(format!(
                    "{} is a link to nowhere",
                    path.display()
                )));
            }
            let (parent, name) = path
                .parent()
                .zip(path.file_name())
                .ok_or_else(|| unavailable(path, &error))?;
            let parent = parent.canonicalize().map_err(|e| unavailable(path, &e))?;
            Ok(parent.join(name))
        }
        Err(error) => Err(unavailable(path, &error)),
    }
}

fn unavailable(path: &Path, error: &std::io::Error) -> CapError {
    CapError::Unavailable(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn links_are_followed_and_a_missing_last_part_is_kept() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let base = dir.path().canonicalize().expect("it exists");
        std::fs::write(base.join("real"), b"x").expect("write");
        std::os::unix::fs::symlink(base.join("real"), base.join("link")).expect("link");
        std::os::unix::fs::symlink(base.join("gone"), base.join("dangling")).expect("link");
        let resolver = SystemResolver::default();
        assert_eq!(
            resolver.real_path(&base.join("link")).await,
            Ok(base.join("real"))
        );
        assert_eq!(
            resolver.real_path(&base.join("absent")).await,
            Ok(base.join("absent"))
        );
        let dangling = resolver.real_path(&base.join("dangling")).await;
        assert!(
            matches!(dangling, Err(CapError::Unavailable(_))),
            "{dangling:?}"
        );
        assert_eq!(resolver.in_flight(), 0);
    }
}
