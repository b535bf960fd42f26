//! The stream of events: from the journal first, then as they are written.

use super::{Shared, render};
use crate::store::{READ_MAX, Scope, StoreError};
use crate::text::{bounded, chain};
use iaso_engine::record::Entry;
use iaso_proto::v1;
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tonic::Status;

type Out = mpsc::Sender<Result<v1::Event, Status>>;

/// Streams until the reader has gone, everything was read, or the reader is too slow.
pub(super) async fn stream(shared: Shared, request: v1::WatchEventsRequest, out: Out) {
    // Before reading: what is written in between is then in the stream, and told apart by its sequence.
    let live = shared.store.subscribe();
    let ended = tokio::select! {
        () = shared.stop.cancelled() => Err(Status::unavailable("the controller is stopping: resume in a moment")),
        ended = run(&shared, &request, &out, live) => ended,
    };
    if let Err(status) = ended {
        // The reader has gone: nobody to tell.
        let _ = out.send(Err(status)).await;
    }
}

async fn run(
    shared: &Shared,
    request: &v1::WatchEventsRequest,
    out: &Out,
    mut live: broadcast::Receiver<Arc<Entry>>,
) -> Result<(), Status> {
    let incident = (!request.incident.is_empty()).then(|| bounded(&request.incident, 300));
    let mut after = request.after_sequence;
    loop {
        let page = shared
            .store
            .read(after, READ_MAX, incident.clone())
            .await
            .map_err(|error| unreadable(&error))?;
        let full = page.len() == READ_MAX;
        for entry in page {
            after = entry.sequence;
            if out.send(Ok(render::event(&entry))).await.is_err() {
                return Ok(());
            }
        }
        if !full {
            break;
        }
    }
    if !request.follow {
        return Ok(());
    }
    loop {
        let entry = tokio::select! {
            () = out.closed() => return Ok(()),
            entry = live.recv() => match entry {
                Ok(entry) => entry,
                Err(RecvError::Closed) => return Ok(()),
                Err(RecvError::Lagged(missed)) => {
                    return Err(Status::data_loss(format!(
                        "this reader is {missed} events behind: resume with after_sequence {after}"
                    )));
                }
            },
        };
        let wanted = incident.is_none() || Scope::of(&entry.record).incident == incident;
        if entry.sequence > after && wanted {
            after = entry.sequence;
            if out.send(Ok(render::event(&entry))).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// The journal's trouble, as an operator sees it.
pub(super) fn unreadable(error: &StoreError) -> Status {
    Status::unavailable(bounded(&chain(error), 600))
}
