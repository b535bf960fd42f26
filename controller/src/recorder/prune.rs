//! What is given up when there is no room or it is too old: recordings of closed incidents, oldest first. Others never.

use super::ArchiveError;
use super::archive::Writer;
use iaso_engine::ledger::{Ledger, Standing};
use rusqlite::params;

/// Recordings that are given up at most in one go: the rest comes with the next part.
const PRUNED_MAX: usize = 1_000;
/// Pages that are given back to the disk in one go.
const VACUUM_PAGES: u32 = 2_000;

impl Writer {
    /// At the start: what a killed controller left is cut, and incidents that ended meanwhile are known as closed.
    pub(super) fn take_up(&mut self, ledger: &Ledger) -> Result<(), ArchiveError> {
        self.connection
            .execute(
                "UPDATE recordings SET ending = 'cut' WHERE ending IS NULL",
                [],
            )
            .map_err(self.fail("write"))?;
        self.reconcile(ledger)?;
        let bytes: i64 = self
            .connection
            .query_row(
                "SELECT coalesce(sum(bytes), 0) FROM recordings",
                [],
                |row| row.get(0),
            )
            .map_err(self.fail("read"))?;
        self.bytes = bytes.unsigned_abs();
        Ok(())
    }

    /// An incident that the ledger has closed, or does not have any more, is closed.
    pub(super) fn reconcile(&mut self, ledger: &Ledger) -> Result<(), ArchiveError> {
        let open: Vec<String> = {
            let mut statement = self
                .connection
                .prepare("SELECT DISTINCT incident FROM covers WHERE incident NOT IN (SELECT incident FROM closed)")
                .map_err(self.fail("read"))?;
            let rows = statement
                .query_map([], |row| row.get(0))
                .map_err(self.fail("read"))?;
            rows.collect::<rusqlite::Result<_>>()
                .map_err(self.fail("read"))?
        };
        for incident in open {
            let id = iaso_engine::id::IncidentId(incident);
            let at = match ledger.incidents.get(&id).map(|known| known.standing) {
                None => self.now,
                Some(Standing::Closed(at, _)) => at,
                Some(Standing::Open | Standing::Verifying(_) | Standing::Parked) => continue,
            };
            self.closed(id.as_str(), at)?;
        }
        Ok(())
    }

    /// Gives up what is too old, and what is too much.
    pub(super) fn prune(&mut self) -> Result<(), ArchiveError> {
        let keep = u64::try_from(self.keep.as_millis()).unwrap_or(u64::MAX);
        let oldest = self.now.0.saturating_sub(keep);
        let mut given_up = 0;
        while given_up < PRUNED_MAX {
            let Some((recording, until, bytes)) = self.oldest_closed()? else {
                break;
            };
            // A tenth is kept free, so that not every part that is written gives up one.
            let crowded = self.bytes > self.bytes_max.saturating_sub(self.bytes_max / 10);
            if until >= oldest && !crowded {
                break;
            }
            self.give_up(recording)?;
            self.bytes = self.bytes.saturating_sub(bytes);
            given_up += 1;
        }
        if given_up > 0 {
            tracing::info!(recordings = given_up, "old recordings were given up");
            self.connection
                .execute_batch(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES});"))
                .map_err(self.fail("shrink"))?;
        }
        Ok(())
    }

    fn oldest_closed(&self) -> Result<Option<(i64, u64, u64)>, ArchiveError> {
        use rusqlite::OptionalExtension as _;
        let sql = "SELECT id, until, bytes FROM recordings WHERE ending IS NOT NULL AND NOT EXISTS
            (SELECT 1 FROM covers WHERE recording = id AND incident NOT IN (SELECT incident FROM closed)) ORDER BY id LIMIT 1";
        self.connection
            .query_row(sql, [], |row| {
                let number = |index| row.get(index).map(i64::unsigned_abs);
                Ok((row.get(0)?, number(1)?, number(2)?))
            })
            .optional()
            .map_err(self.fail("read"))
    }

    fn give_up(&mut self, recording: i64) -> Result<(), ArchiveError> {
        let fail = self.fail("prune");
        let transaction = match self.connection.transaction() {
            Ok(transaction) => transaction,
            Err(error) => return Err(fail(error)),
        };
        let done = (|| {
            for sql in [
                "DELETE FROM chunks WHERE recording = ?1",
                "DELETE FROM covers WHERE recording = ?1",
                "DELETE FROM recordings WHERE id = ?1",
            ] {
                transaction.execute(sql, params![recording])?;
            }
            transaction.execute_batch(
                "DELETE FROM closed WHERE incident NOT IN (SELECT incident FROM covers);
                 DELETE FROM setups WHERE digest NOT IN (SELECT setup FROM recordings);",
            )?;
            transaction.commit()
        })();
        done.map_err(fail)
    }
}
