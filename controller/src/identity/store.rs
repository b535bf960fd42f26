//! The record of identities, in a file of its own: the controller and its command line write it, and may at the same time.

use super::access::Role;
use super::desk::Change;
use super::{Denied, IdentityError};
use iaso_identity::{Issued, Token, unix_now};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Version of the tables; a greater one is refused.
const SCHEMA: i64 = 1;
const CREATE: &str = "
    CREATE TABLE join_tokens (
        id TEXT PRIMARY KEY,
        node TEXT NOT NULL,
        digest BLOB NOT NULL,
        made_by TEXT NOT NULL,
        expires INTEGER NOT NULL,
        used_key TEXT,
        replayed INTEGER NOT NULL DEFAULT 0,
        void INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE certificates (
        serial TEXT PRIMARY KEY,
        node TEXT NOT NULL,
        issued INTEGER NOT NULL,
        not_after INTEGER NOT NULL,
        revoked INTEGER
    ) STRICT;
    CREATE INDEX certificates_node ON certificates (node, issued);
    CREATE TABLE operators (
        name TEXT PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        digest BLOB NOT NULL,
        role TEXT NOT NULL,
        expires INTEGER
    ) STRICT;
    CREATE TABLE changes (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        node TEXT,
        text TEXT NOT NULL
    ) STRICT;
    PRAGMA user_version = 1;
";
/// What has ended is forgotten after so long: until then it is refused by name.
const KEPT_SECS: u64 = 90 * 86_400;
/// Changes that are journaled in one go.
const CHANGES_MAX: u32 = 100;

/// What became of the use of a join token.
pub(super) enum Used {
    /// It was unused.
    Now,
    /// The same key used it before: its answer was lost.
    BySameKey,
    /// It does not admit.
    No(Denied),
}

/// What somebody shows to be enrolled.
pub(super) struct Shown<'a> {
    pub(super) id: &'a str,
    pub(super) digest: &'a [u8; 32],
    pub(super) node: &'a str,
    pub(super) key: &'a str,
    /// When, in Unix seconds.
    pub(super) now: u64,
}

/// A join token as recorded.
struct JoinEntry {
    node: String,
    digest: Vec<u8>,
    expires: u64,
    used_key: Option<String>,
    is_void: bool,
}

impl JoinEntry {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            node: row.get(0)?,
            digest: row.get(1)?,
            expires: row.get::<_, i64>(2)?.unsigned_abs(),
            used_key: row.get(3)?,
            is_void: row.get(4)?,
        })
    }

    fn judge(&self, shown: &Shown<'_>) -> Used {
        if !Token::admits(&self.digest, shown.digest) {
            return Used::No(Denied::JoinTokenWrong);
        }
        if self.node != shown.node {
            let node = shown.node.chars().take(253).collect();
            return Used::No(Denied::JoinTokenOtherNode { node });
        }
        if self.used_key.as_ref().is_some_and(|key| key != shown.key) {
            return Used::No(Denied::JoinTokenUsed);
        }
        if self.is_void {
            return Used::No(Denied::JoinTokenVoid);
        }
        if self.expires < shown.now {
            let by_secs = shown.now - self.expires;
            return Used::No(Denied::JoinTokenExpired { by_secs });
        }
        if self.used_key.is_some() {
            return Used::BySameKey;
        }
        Used::Now
    }
}

/// An operator as recorded.
#[derive(Debug, Clone)]
pub struct OperatorEntry {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When its token ends, in Unix seconds.
    pub expires: Option<u64>,
    pub(super) digest: Vec<u8>,
}

/// The record.
pub(super) struct Store {
    connection: Connection,
    path: PathBuf,
}

impl Store {
    pub(super) fn open(path: &Path) -> Result<Self, IdentityError> {
        let fail = |operation| {
            move |source| IdentityError::Store {
                operation,
                path: path.to_owned(),
                source,
            }
        };
        let connection = Connection::open(path).map_err(fail("open"))?;
        connection
            .busy_timeout(Duration::from_secs(5))
            .map_err(fail("set up"))?;
        private(path);
        connection
            .pragma_update(None, "synchronous", "FULL")
            .map_err(fail("set up"))?;
        let store = Self {
            connection,
            path: path.to_owned(),
        };
        store.exclusively(|| store.migrate())??;
        Ok(store)
    }

    fn migrate(&self) -> Result<(), IdentityError> {
        let found: i64 = self
            .connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(self.fail("read"))?;
        match found {
            0 => self
                .connection
                .execute_batch(CREATE)
                .map_err(self.fail("create")),
            SCHEMA => Ok(()),
            found => Err(IdentityError::Newer {
                path: self.path.clone(),
                found,
                known: SCHEMA,
            }),
        }
    }

    /// Does something while no other program writes the record.
    pub(super) fn exclusively<T>(&self, work: impl FnOnce() -> T) -> Result<T, IdentityError> {
        self.connection
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(self.fail("lock"))?;
        let done = work();
        self.connection
            .execute_batch("COMMIT")
            .map_err(self.fail("write"))?;
        Ok(done)
    }

    /// Writes all of it, or nothing.
    pub(super) fn together<T>(
        &self,
        work: impl FnOnce() -> Result<T, IdentityError>,
    ) -> Result<T, IdentityError> {
        let transaction =
            rusqlite::Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)
                .map_err(self.fail("lock"))?;
        // It is rolled back when it is dropped.
        let done = work()?;
        transaction.commit().map_err(self.fail("write"))?;
        Ok(done)
    }

    fn fail(&self, operation: &'static str) -> impl Fn(rusqlite::Error) -> IdentityError + use<> {
        let path = self.path.clone();
        move |source| IdentityError::Store {
            operation,
            path: path.clone(),
            source,
        }
    }

    pub(super) fn add_join_token(
        &self,
        token: &Token,
        node: &str,
        expires: u64,
        by: &str,
    ) -> Result<(), IdentityError> {
        let fail = self.fail("write");
        self.forget_old()?;
        self.connection
            .execute(
                "INSERT INTO join_tokens (id, node, digest, made_by, expires) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![token.id(), node, token.digest().as_slice(), by, signed(expires)],
            )
            .map(drop)
            .map_err(fail)
    }

    fn forget_old(&self) -> Result<(), IdentityError> {
        let before = signed(unix_now().saturating_sub(KEPT_SECS));
        for table in ["join_tokens WHERE expires", "certificates WHERE not_after"] {
            self.connection
                .execute(&format!("DELETE FROM {table} < ?1"), [before])
                .map_err(self.fail("write"))?;
        }
        Ok(())
    }

    /// Uses a join token, durably, before anything is issued for it.
    pub(super) fn use_join_token(&mut self, shown: &Shown<'_>) -> Result<Used, IdentityError> {
        let fail = self.fail("write");
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&fail)?;
        let found = transaction
            .query_row(
                "SELECT node, digest, expires, used_key, void FROM join_tokens WHERE id = ?1",
                [shown.id],
                JoinEntry::read,
            )
            .optional()
            .map_err(&fail)?;
        let used = found.map_or(Used::No(Denied::JoinTokenWrong), |entry| entry.judge(shown));
        if let Used::Now = used {
            transaction
                .execute(
                    "UPDATE join_tokens SET used_key = ?2 WHERE id = ?1",
                    [shown.id, shown.key],
                )
                .map_err(&fail)?;
            // With what was used before, nobody comes in any more.
            transaction
                .execute(
                    "UPDATE join_tokens SET void = 1 WHERE node = ?1 AND id <> ?2 AND used_key IS NOT NULL",
                    [shown.node, shown.id],
                )
                .map_err(&fail)?;
        }
        transaction.commit().map_err(&fail)?;
        Ok(used)
    }

    #[cfg(test)]
    pub(super) fn join_expiry(&self, id: &str) -> u64 {
        let read = self.connection.query_row(
            "SELECT expires FROM join_tokens WHERE id = ?1",
            [id],
            |row| row.get(0),
        );
        i64::unsigned_abs(read.unwrap())
    }

    /// True for the first time only.
    pub(super) fn note_replay(&mut self, id: &str) -> Result<bool, IdentityError> {
        self.connection
            .execute(
                "UPDATE join_tokens SET replayed = 1 WHERE id = ?1 AND replayed = 0",
                [id],
            )
            .map(|count| count > 0)
            .map_err(self.fail("write"))
    }

    pub(super) fn void_join_tokens(
        &mut self,
        node: &str,
        by: Option<&str>,
    ) -> Result<usize, IdentityError> {
        self.connection
            .execute(
                "UPDATE join_tokens SET void = 1 WHERE node = ?1 AND void = 0 AND used_key IS NULL AND (?2 IS NULL OR made_by = ?2)",
                params![node, by],
            )
            .map_err(self.fail("write"))
    }

    /// Records a certificate, and takes all but the latest `keep` others of the node back. Says how many.
    pub(super) fn certify(
        &mut self,
        node: &str,
        issued: &Issued,
        now: u64,
        keep: usize,
    ) -> Result<usize, IdentityError> {
        let fail = self.fail("write");
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&fail)?;
        let superseded = transaction
            .execute(
                "UPDATE certificates SET revoked = ?2 WHERE revoked IS NULL AND node = ?1 AND serial NOT IN
                 (SELECT serial FROM certificates WHERE revoked IS NULL AND node = ?1 ORDER BY issued DESC, rowid DESC LIMIT ?3)",
                params![node, signed(now), i64::try_from(keep).unwrap_or(i64::MAX)],
            )
            .map_err(&fail)?;
        transaction
            .execute(
                "INSERT INTO certificates (serial, node, issued, not_after) VALUES (?1, ?2, ?3, ?4)",
                params![issued.serial, node, signed(now), signed(issued.not_after)],
            )
            .map_err(&fail)?;
        transaction.commit().map_err(&fail)?;
        Ok(superseded)
    }

    /// `None`: there is no such certificate.
    pub(super) fn is_revoked(&self, serial: &str) -> Result<Option<bool>, IdentityError> {
        self.connection
            .prepare_cached("SELECT revoked IS NOT NULL FROM certificates WHERE serial = ?1")
            .and_then(|mut statement| statement.query_row([serial], |row| row.get(0)).optional())
            .map_err(self.fail("read"))
    }

    /// When the latest certificate of each node ends, in Unix seconds, of those that were not taken back.
    pub(super) fn ends(&self) -> Result<Vec<(String, u64)>, IdentityError> {
        let read = || {
            let mut statement = self.connection.prepare(
                "SELECT node, MAX(not_after) FROM certificates WHERE revoked IS NULL GROUP BY node",
            )?;
            let rows = statement.query_map([], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        };
        read().map_err(self.fail("read"))
    }

    /// Nothing that was ever made for the node lets it in again. Says how many certificates and unused join tokens that were.
    pub(super) fn revoke(&mut self, node: &str, now: u64) -> Result<(usize, usize), IdentityError> {
        let unused = self.void_join_tokens(node, None)?;
        let fail = self.fail("write");
        // Used ones admit the key that used them, for the case that an answer was lost.
        self.connection
            .execute("UPDATE join_tokens SET void = 1 WHERE node = ?1", [node])
            .map_err(&fail)?;
        let certificates = self
            .connection
            .execute(
                "UPDATE certificates SET revoked = ?2 WHERE node = ?1 AND revoked IS NULL AND not_after >= ?2",
                params![node, signed(now)],
            )
            .map_err(&fail)?;
        Ok((certificates, unused))
    }

    pub(super) fn operator(&self, id: &str) -> Result<Option<OperatorEntry>, IdentityError> {
        let found = self
            .connection
            .prepare_cached("SELECT name, role, expires, digest FROM operators WHERE id = ?1")
            .and_then(|mut statement| statement.query_row([id], entry).optional())
            .map_err(self.fail("read"))?;
        Ok(found.flatten())
    }

    pub(super) fn operators(&self) -> Result<Vec<OperatorEntry>, IdentityError> {
        let read = || {
            let mut statement = self.connection.prepare(
                "SELECT name, role, expires, digest FROM operators ORDER BY name LIMIT 1000",
            )?;
            let rows = statement.query_map([], entry)?;
            rows.filter_map(Result::transpose)
                .collect::<Result<Vec<_>, _>>()
        };
        read().map_err(self.fail("read"))
    }

    pub(super) fn add_operator(
        &self,
        token: &Token,
        name: &str,
        role: Role,
        expires: Option<u64>,
    ) -> Result<(), IdentityError> {
        self.connection
            .execute(
                "INSERT OR REPLACE INTO operators (name, id, digest, role, expires) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![name, token.id(), token.digest().as_slice(), role.to_string(), expires.map(signed)],
            )
            .map(drop)
            .map_err(self.fail("write"))
    }

    pub(super) fn remove_operator(&self, name: &str) -> Result<bool, IdentityError> {
        self.connection
            .execute("DELETE FROM operators WHERE name = ?1", [name])
            .map(|count| count > 0)
            .map_err(self.fail("write"))
    }

    /// Keeps the word of a change until the controller has journaled it.
    pub(super) fn tell(&self, node: Option<&str>, text: &str) -> Result<(), IdentityError> {
        self.connection
            .execute(
                "INSERT INTO changes (node, text) VALUES (?1, ?2)",
                params![node, text],
            )
            .map(drop)
            .map_err(self.fail("write"))
    }

    /// What the journal has not yet, the first of it.
    pub(super) fn changes(&self) -> Result<Vec<Change>, IdentityError> {
        let read = || {
            let mut statement = self
                .connection
                .prepare_cached("SELECT id, node, text FROM changes ORDER BY id LIMIT ?1")?;
            let rows = statement.query_map([CHANGES_MAX], |row| {
                Ok(Change {
                    id: row.get(0)?,
                    node: row.get(1)?,
                    text: row.get(2)?,
                })
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        };
        read().map_err(self.fail("read"))
    }

    /// The journal has it.
    pub(super) fn journaled(&self, id: i64) -> Result<(), IdentityError> {
        self.connection
            .execute("DELETE FROM changes WHERE id = ?1", [id])
            .map(drop)
            .map_err(self.fail("write"))
    }
}

/// `None`: a role that this version does not know, which admits to nothing.
fn entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<OperatorEntry>> {
    let role: String = row.get(1)?;
    let expires: Option<i64> = row.get(2)?;
    let Ok(role) = role.parse() else {
        return Ok(None);
    };
    Ok(Some(OperatorEntry {
        name: row.get(0)?,
        role,
        expires: expires.map(i64::unsigned_abs),
        digest: row.get(3)?,
    }))
}

fn signed(secs: u64) -> i64 {
    i64::try_from(secs).unwrap_or(i64::MAX)
}

/// The directory is private already: this is for whoever copies the file elsewhere.
fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    if let Err(error) = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)) {
        tracing::warn!(%error, "the record of identities cannot be made private");
    }
}
