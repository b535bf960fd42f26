//! Which orders this agent has seen, on disk: each is begun at most once, over restarts too.
//!
//! **Invariants**
//! - An order is on disk as begun before anything is done for it.
//! - Asked again, the recorded outcome is the answer; an order that was begun by a process that is gone has `failed`.
//! - A term lower than one already seen is refused.
//! - What was refused once is refused for ever: whoever hears of it may rely on it that the order was never begun, and never will be.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::{self, DiskError};

/// Orders remembered; the oldest finished ones are forgotten first.
pub const ORDERS_MAX: usize = 512;
const FILE_BYTES_MAX: u64 = 64 << 20;

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The order's id.
    pub order_id: String,
    /// Its plugin.
    pub plugin: String,
    /// Its fix.
    pub fix: String,
    /// `fixed`, `unchanged`, `refused`, `failed`, `expired`, `stale-term` or `busy`.
    pub result: String,
    /// Why, for a person.
    pub reason: String,
    /// What was done, in order.
    pub steps: Vec<String>,
    /// When it began, milliseconds since the Unix epoch.
    pub started_unix_ms: i64,
    /// How long it took, in microseconds.
    pub duration_us: u64,
}

impl Outcome {
    /// Of something that begins now.
    #[must_use]
    pub fn begun(order_id: String, plugin: String, fix: String) -> Self {
        Self {
            order_id,
            plugin,
            fix,
            result: String::new(),
            reason: String::new(),
            steps: Vec::new(),
            started_unix_ms: crate::plugins::unix_ms(),
            duration_us: 0,
        }
    }

    /// The same, ended without anything done.
    #[must_use]
    pub fn ended(self, result: &str, reason: impl Into<String>) -> Self {
        Self {
            result: result.into(),
            reason: reason.into(),
            ..self
        }
    }
}

/// Why something that a gone process began has failed.
pub(crate) const INTERRUPTED: &str =
    "interrupted: the agent ended while it acted; nobody knows how far it got";

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    outcome: Outcome,
    done: bool,
    /// The outbox has it.
    queued: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct File {
    term: u64,
    orders: Vec<Entry>,
}

/// What to do with an order that arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Begin {
    /// It is recorded as begun: do it.
    Run,
    /// It was done before: say this again.
    Known(Outcome),
    /// It is being done: its outcome will come.
    Running,
    /// A newer leader was seen.
    Stale {
        /// The newer leader's term.
        seen: u64,
    },
    /// The record has no room: every order in it is still owed.
    Full,
}

/// The record of orders.
#[derive(Debug)]
pub struct Orders {
    path: PathBuf,
    file: File,
}

impl Orders {
    /// Reads the record. What was begun and not finished is now `failed`: its process is gone.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        let bytes = disk::read_bounded(path, FILE_BYTES_MAX)?;
        let parsed = bytes
            .map(|bytes| serde_json::from_slice::<File>(&bytes))
            .transpose();
        let mut file = parsed
            .map_err(|error| {
                DiskError::io(
                    "understand (move it away if no order is in flight)",
                    path,
                    error.into(),
                )
            })?
            .unwrap_or_default();
        for entry in file.orders.iter_mut().filter(|entry| !entry.done) {
            entry.done = true;
            entry.outcome.result = "failed".into();
            entry.outcome.reason = INTERRUPTED.into();
        }
        let orders = Self {
            path: path.to_owned(),
            file,
        };
        orders.save()?;
        Ok(orders)
    }

    /// Takes note of a leader's term, on disk too; `Err` gives the higher one that was seen.
    pub fn see_term(&mut self, term: u64) -> Result<(), u64> {
        if term < self.file.term {
            return Err(self.file.term);
        }
        if term > self.file.term {
            self.file.term = term;
            if let Err(error) = self.save() {
                // It still holds for this process; the next order that is begun writes it again.
                tracing::warn!(
                    error = crate::config::chain(&error),
                    "a new leader's term is not on record"
                );
            }
        }
        Ok(())
    }

    /// True if this order was seen before.
    #[must_use]
    pub fn knows(&self, order_id: &str) -> bool {
        self.file
            .orders
            .iter()
            .any(|entry| entry.outcome.order_id == order_id)
    }

    /// Decides about an order, and records it as begun if it is to be done. `blank` carries its names and start.
    pub fn begin(&mut self, term: u64, blank: Outcome) -> Result<Begin, DiskError> {
        let known = self
            .file
            .orders
            .iter()
            .find(|entry| entry.outcome.order_id == blank.order_id);
        if let Some(entry) = known {
            return Ok(if entry.done {
                Begin::Known(entry.outcome.clone())
            } else {
                Begin::Running
            });
        }
        if let Err(seen) = self.see_term(term) {
            return Ok(Begin::Stale { seen });
        }
        Ok(if self.record(blank, false)? {
            Begin::Run
        } else {
            Begin::Full
        })
    }

    /// Records that an order was refused before it began: the same order, come again, is answered the same. False: it is not on
    /// record, because it was begun, or the record is full of what is owed.
    pub fn refuse(&mut self, outcome: Outcome) -> Result<bool, DiskError> {
        if self.knows(&outcome.order_id) {
            return Ok(false);
        }
        self.record(outcome, true)
    }

    fn record(&mut self, outcome: Outcome, done: bool) -> Result<bool, DiskError> {
        while self.file.orders.len() >= ORDERS_MAX {
            let Some(oldest) = self
                .file
                .orders
                .iter()
                .position(|entry| entry.done && entry.queued)
            else {
                // Every one of them is owed to the controller: what is owed is never forgotten for something new.
                return Ok(false);
            };
            self.file.orders.remove(oldest);
        }
        self.file.orders.push(Entry {
            outcome,
            done,
            queued: false,
        });
        if let Err(error) = self.save() {
            // What is not on disk as begun must not be done, now or when asked again.
            self.file.orders.pop();
            return Err(error);
        }
        Ok(true)
    }

    /// Records the outcome of an order that was begun.
    pub fn finish(&mut self, outcome: Outcome) -> Result<(), DiskError> {
        if let Some(entry) = self.find(&outcome.order_id) {
            entry.outcome = outcome;
            entry.done = true;
        }
        self.save()
    }

    /// The outbox has the outcome.
    pub fn queued(&mut self, order_id: &str) -> Result<(), DiskError> {
        if let Some(entry) = self.find(order_id) {
            entry.queued = true;
        }
        self.save()
    }

    /// Outcomes that the outbox may not have: the process ended between the two.
    #[must_use]
    pub fn unqueued(&self) -> Vec<Outcome> {
        let owed = self
            .file
            .orders
            .iter()
            .filter(|entry| entry.done && !entry.queued);
        owed.map(|entry| entry.outcome.clone()).collect()
    }

    fn find(&mut self, order_id: &str) -> Option<&mut Entry> {
        self.file
            .orders
            .iter_mut()
            .find(|entry| entry.outcome.order_id == order_id)
    }

    fn save(&self) -> Result<(), DiskError> {
        let bytes = serde_json::to_vec(&self.file)
            .map_err(|error| DiskError::io("encode", &self.path, error.into()))?;
        disk::write_atomic(&self.path, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blank(id: &str) -> Outcome {
        Outcome {
            order_id: id.into(),
            plugin: "k3s-agent".into(),
            fix: "restart".into(),
            result: String::new(),
            reason: String::new(),
            steps: Vec::new(),
            started_unix_ms: 1,
            duration_us: 0,
        }
    }

    fn done(id: &str) -> Outcome {
        Outcome {
            result: "fixed".into(),
            ..blank(id)
        }
    }

    #[test]
    fn the_same_order_after_a_restart_answers_the_recorded_outcome() {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("orders.json");
        let mut orders = Orders::open(&path).expect("open");
        assert_eq!(orders.begin(1, blank("a")).expect("begin"), Begin::Run);
        assert_eq!(orders.begin(1, blank("a")).expect("begin"), Begin::Running);
        orders.finish(done("a")).expect("finish");
        let mut orders = Orders::open(&path).expect("open");
        assert_eq!(
            orders.begin(0, blank("a")).expect("begin"),
            Begin::Known(done("a")),
            "whatever the term"
        );
        assert_eq!(orders.unqueued(), [done("a")]);
        orders.queued("a").expect("queued");
        assert_eq!(Orders::open(&path).expect("open").unqueued(), []);
    }

    #[test]
    fn an_order_that_was_begun_and_not_finished_has_failed_and_is_not_done_again() {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("orders.json");
        Orders::open(&path)
            .expect("open")
            .begin(1, blank("a"))
            .expect("begin");
        let mut orders = Orders::open(&path).expect("open");
        let Begin::Known(outcome) = orders.begin(1, blank("a")).expect("begin") else {
            panic!("done again")
        };
        assert_eq!(outcome.result, "failed");
        assert!(outcome.reason.starts_with("interrupted"));
        assert_eq!(orders.unqueued().len(), 1);
    }

    #[test]
    fn a_stale_term_is_refused_also_after_a_restart() {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("orders.json");
        Orders::open(&path)
            .expect("open")
            .begin(7, blank("a"))
            .expect("begin");
        let mut orders = Orders::open(&path).expect("open");
        assert_eq!(
            orders.begin(6, blank("b")).expect("begin"),
            Begin::Stale { seen: 7 }
        );
        assert_eq!(orders.begin(7, blank("b")).expect("begin"), Begin::Run);
    }

    #[test]
    fn a_term_seen_without_an_order_is_remembered_over_a_restart() {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("orders.json");
        assert_eq!(Orders::open(&path).expect("open").see_term(7), Ok(()));
        assert_eq!(Orders::open(&path).expect("open").see_term(6), Err(7));
    }

    #[test]
    fn a_record_full_of_what_is_owed_takes_no_new_order() {
        let root = tempfile::tempdir().expect("temporary directory");
        let mut orders = Orders::open(&root.path().join("orders.json")).expect("open");
        orders.file.orders = (0..ORDERS_MAX)
            .map(|n| Entry {
                outcome: done(&n.to_string()),
                done: true,
                queued: false,
            })
            .collect();
        assert_eq!(orders.begin(1, blank("new")).expect("begin"), Begin::Full);
        assert_eq!(orders.file.orders.len(), ORDERS_MAX);
        orders.queued("0").expect("queued");
        assert_eq!(orders.begin(1, blank("new")).expect("begin"), Begin::Run);
    }

    #[test]
    fn what_was_refused_once_is_not_begun_when_it_comes_again() {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("orders.json");
        let busy = Outcome {
            result: "busy".into(),
            ..blank("a")
        };
        let mut orders = Orders::open(&path).expect("open");
        orders.refuse(busy.clone()).expect("refuse");
        let mut orders = Orders::open(&path).expect("open");
        assert_eq!(
            orders.begin(1, blank("a")).expect("begin"),
            Begin::Known(busy.clone())
        );
        assert_eq!(orders.unqueued(), [busy]);
        assert_eq!(orders.begin(1, blank("b")).expect("begin"), Begin::Run);
        let late = Outcome {
            result: "busy".into(),
            ..blank("b")
        };
        orders.refuse(late).expect("refuse");
        assert_eq!(orders.begin(1, blank("b")).expect("begin"), Begin::Running);
    }

    #[test]
    fn what_cannot_be_recorded_as_begun_is_not_begun() {
        let root = tempfile::tempdir().expect("temporary directory");
        let directory = root.path().join("gone");
        disk::private_dir(&directory).expect("directory");
        let mut orders = Orders::open(&directory.join("orders.json")).expect("open");
        std::fs::remove_dir_all(&directory).expect("remove");
        assert!(orders.begin(1, blank("a")).is_err());
        disk::private_dir(&directory).expect("directory");
        assert_eq!(orders.begin(1, blank("a")).expect("begin"), Begin::Run);
    }

    #[test]
    fn the_record_is_bounded_and_never_forgets_what_is_owed() {
        let root = tempfile::tempdir().expect("temporary directory");
        let mut orders = Orders::open(&root.path().join("orders.json")).expect("open");
        orders.file.orders = (0..ORDERS_MAX)
            .map(|n| Entry {
                outcome: done(&n.to_string()),
                done: true,
                queued: n != 0,
            })
            .collect();
        assert_eq!(orders.begin(1, blank("new")).expect("begin"), Begin::Run);
        assert_eq!(orders.file.orders.len(), ORDERS_MAX);
        assert!(matches!(
            orders.begin(1, blank("0")).expect("begin"),
            Begin::Known(_)
        ));
    }
}
