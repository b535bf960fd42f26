//! Recordings as one stream: the journal's entries and the recorder's parts, put together as a bundle.
//!
//! **Invariants**
//! - Parts are passed on as they lie on the disk; nothing larger than one of them is held.
//! - A reader that goes away ends the work; one that is slow makes it wait.

use super::{Shared, events};
use crate::recorder::{Archive, ArchiveError, Mark, Recorded};
use crate::store::READ_MAX;
use crate::text::{bounded, chain};
use iaso_engine::id::IncidentId;
use iaso_engine::time::Tick;
use iaso_proto::v1;
use iaso_replay::codec::{EncodeError, Member};
use iaso_replay::line::{Ending, FORMAT, Header, Line, Stop, WrittenEntry};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Largest chunk of an answer, in bytes.
const CHUNK_BYTES_MAX: usize = 256 << 10;
/// Chunks that may wait for a reader.
const CHUNKS_QUEUED_MAX: usize = 8;
/// Entries are put together in members of so many bytes.
const MEMBER_BYTES: usize = 1 << 20;
/// Most incidents in one bundle.
const INCIDENTS_MAX: usize = 10_000;

type Answer = ReceiverStream<Result<v1::RecordingChunk, Status>>;

/// Why the stream ends early.
enum Broken {
    /// Nobody reads any more.
    Gone,
    /// It is told to the reader.
    Status(Status),
}

impl From<Status> for Broken {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<ArchiveError> for Broken {
    fn from(error: ArchiveError) -> Self {
        Self::Status(unreadable(&error))
    }
}

impl From<EncodeError> for Broken {
    fn from(error: EncodeError) -> Self {
        Self::Status(Status::internal(chain(&error)))
    }
}

fn unreadable(error: &ArchiveError) -> Status {
    Status::unavailable(bounded(&chain(error), 600))
}

/// Finds what was asked for, and streams it.
pub(super) async fn get(
    shared: &Shared,
    request: v1::GetRecordingRequest,
) -> Result<Answer, Status> {
    let Some(archive) = shared.archive.clone() else {
        return Err(Status::failed_precondition(
            "nothing is recorded: set recording.max_mib above 0, or see the controller's log for why the recordings cannot be opened",
        ));
    };
    let incident = bounded(&request.incident, 300);
    if !incident.is_empty() {
        let key = IncidentId(incident.clone());
        let known = shared
            .handle
            .ask(move |view| view.ledger.incidents.contains_key(&key));
        if !known
            .await
            .map_err(|gone| Status::unavailable(gone.to_string()))?
        {
            return Err(Status::not_found(super::operator::no_incident(&incident)));
        }
    }
    let mark = archive.flush().await;
    let since = Tick(u64::try_from(request.since_unix_ms).unwrap_or(0));
    let wanted = (!incident.is_empty()).then(|| incident.clone());
    let recorded = archive
        .list(wanted, since)
        .await
        .map_err(|error| unreadable(&error))?;
    if recorded.is_empty() && incident.is_empty() {
        return Err(Status::not_found(
            "nothing was recorded in that time: recordings are made while incidents are open, and kept for recording.keep_days",
        ));
    }
    let incidents: BTreeSet<String> = if incident.is_empty() {
        let all = recorded.iter().flat_map(|one| one.incidents.clone());
        all.take(INCIDENTS_MAX).collect()
    } else {
        BTreeSet::from([incident])
    };
    let (out, stream) = mpsc::channel(CHUNKS_QUEUED_MAX);
    let bundle = Bundle {
        shared: shared.clone(),
        archive,
        mark,
        out,
        member: Member::default(),
        entries: 0,
    };
    tokio::spawn(bundle.stream(recorded, incidents));
    Ok(ReceiverStream::new(stream))
}

struct Bundle {
    shared: Shared,
    archive: Arc<Archive>,
    mark: Mark,
    out: mpsc::Sender<Result<v1::RecordingChunk, Status>>,
    member: Member,
    entries: u64,
}

impl Bundle {
    async fn stream(mut self, recorded: Vec<Recorded>, incidents: BTreeSet<String>) {
        let stop = self.shared.stop.clone();
        let ended = tokio::select! {
            () = stop.cancelled() => Err(Broken::Status(Status::unavailable("the controller is stopping: ask again in a moment"))),
            ended = self.write(&recorded, &incidents) => ended,
        };
        if let Err(Broken::Status(status)) = ended {
            // The reader may have gone: nobody to tell.
            let _ = self.out.send(Err(status)).await;
        }
    }

    async fn write(
        &mut self,
        recorded: &[Recorded],
        incidents: &BTreeSet<String>,
    ) -> Result<(), Broken> {
        self.member.push(&Line::Header(Header {
            format: FORMAT,
            controller: env!("CARGO_PKG_VERSION").to_owned(),
            at: self.shared.clock.now(),
            incidents: incidents.iter().cloned().collect(),
        }))?;
        self.end_member().await?;
        let setups: BTreeSet<&String> = recorded.iter().map(|one| &one.setup).collect();
        for digest in setups {
            if let Some(member) = self.archive.setup(digest.clone()).await? {
                self.send(member).await?;
            }
        }
        for incident in incidents {
            self.journal(0, u64::MAX, Some(incident.clone())).await?;
        }
        for one in recorded {
            self.recording(one).await?;
        }
        self.member.push(&Line::End {
            recordings: recorded.len() as u64,
            entries: self.entries,
        })?;
        self.end_member().await
    }

    async fn recording(&mut self, one: &Recorded) -> Result<(), Broken> {
        self.member.push(&Line::Begin { recording: one.id })?;
        self.journal(one.first_sequence, one.last_sequence, None)
            .await?;
        self.end_member().await?;
        for number in 0..one.chunks {
            // Pruned meanwhile: the reader sees that it is missing.
            if let Some(member) = self.archive.chunk(one.id, number).await? {
                self.send(member).await?;
            }
        }
        let running = self.mark.running == Some(one.id);
        let how = one.ending.unwrap_or(if running {
            Ending::Running
        } else {
            Ending::Cut
        });
        self.member.push(&Line::Stop(Stop {
            recording: one.id,
            how,
            chunks: one.chunks,
            lost: one.lost,
        }))?;
        self.end_member().await
    }

    /// The journal's entries after `after`, up to `last`.
    async fn journal(
        &mut self,
        mut after: u64,
        last: u64,
        incident: Option<String>,
    ) -> Result<(), Broken> {
        loop {
            let page = self
                .shared
                .store
                .read(after, READ_MAX, incident.clone())
                .await
                .map_err(|error| events::unreadable(&error))?;
            let full = page.len() == READ_MAX;
            for entry in page {
                if entry.sequence > last {
                    return Ok(());
                }
                after = entry.sequence;
                let written = WrittenEntry::of(&entry).map_err(EncodeError::Json)?;
                self.member.push(&Line::Entry(written))?;
                self.entries = self.entries.saturating_add(1);
            }
            if self.member.raw_bytes() > MEMBER_BYTES {
                self.end_member().await?;
            }
            if !full {
                return Ok(());
            }
        }
    }

    async fn end_member(&mut self) -> Result<(), Broken> {
        if self.member.raw_bytes() == 0 {
            return Ok(());
        }
        let member = std::mem::take(&mut self.member).finish()?;
        self.send(member).await
    }

    async fn send(&self, member: Vec<u8>) -> Result<(), Broken> {
        for data in member.chunks(CHUNK_BYTES_MAX) {
            let chunk = v1::RecordingChunk {
                data: data.to_vec(),
            };
            self.out.send(Ok(chunk)).await.map_err(|_| Broken::Gone)?;
        }
        Ok(())
    }
}
