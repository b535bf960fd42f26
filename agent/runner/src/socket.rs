//! One end of the socket pair: frames out, bytes in, and a file with a message now and then.
//!
//! **Invariants**
//! - Sending never waits: what the kernel does not take now is kept, in order, and [`Socket::flush`] sends it on.
//! - What is kept is bounded by its senders: one message for each run, call and load under way.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv, recvmsg, send, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::Notify;

use crate::frame::Frames;

/// Files that wait for their message.
const FILES_MAX: usize = 128;

/// One end.
pub(crate) struct Socket {
    stream: UnixStream,
    kept: Mutex<VecDeque<Piece>>,
    has_kept: Notify,
}

struct Piece {
    bytes: Vec<u8>,
    sent: usize,
    file: Option<Arc<OwnedFd>>,
}

impl Piece {
    fn send(&mut self, stream: &UnixStream) -> io::Result<()> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        while let Some(rest) = self.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            self.sent += match &self.file {
                None => send(stream, rest, flags)?,
                Some(file) => {
                    let files = [file.as_fd()];
                    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                    let mut control = SendAncillaryBuffer::new(&mut space);
                    control.push(SendAncillaryMessage::ScmRights(&files));
                    sendmsg(stream, &[IoSlice::new(rest)], &mut control, flags)?
                }
            };
            // It goes with the first byte.
            self.file = None;
        }
        Ok(())
    }
}

impl Socket {
    /// Of a connected socket; within a runtime.
    pub(crate) fn new(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: UnixStream::from_std(stream)?,
            kept: Mutex::default(),
            has_kept: Notify::new(),
        })
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Piece>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a frame, now or as soon as there is room. An error means that the other side is gone.
    pub(crate) fn send(&self, frame: Vec<u8>, file: Option<Arc<OwnedFd>>) -> io::Result<()> {
        let mut piece = Piece {
            bytes: frame,
            sent: 0,
            file,
        };
        let mut kept = self.kept();
        if kept.is_empty() {
            match piece.send(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
        kept.push_back(piece);
        self.has_kept.notify_one();
        Ok(())
    }

    /// Sends on what was kept, for ever; ends with the error that says that the other side is gone.
    pub(crate) async fn flush(&self) -> io::Error {
        loop {
            self.has_kept.notified().await;
            if let Err(error) = self.send_kept().await {
                return error;
            }
        }
    }

    async fn send_kept(&self) -> io::Result<()> {
        loop {
            self.stream.writable().await?;
            let mut kept = self.kept();
            let sent = self.stream.try_io(Interest::WRITABLE, || {
                kept.iter_mut()
                    .try_for_each(|piece| piece.send(&self.stream))
            });
            kept.retain(|piece| piece.sent < piece.bytes.len());
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }

    /// Waits for bytes; false at the end of the stream. Files that come with them are closed.
    pub(crate) async fn receive(&self, frames: &mut Frames) -> io::Result<bool> {
        self.receive_by(frames, |stream, room| {
            Ok(recv(stream, room, RecvFlags::DONTWAIT)?.0)
        })
        .await
    }

    /// As [`Self::receive`]; files that come with the bytes are added to `files`, in order.
    pub(crate) async fn receive_with_files(
        &self,
        frames: &mut Frames,
        files: &mut VecDeque<OwnedFd>,
    ) -> io::Result<bool> {
        self.receive_by(frames, |stream, room| {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
            let got = recvmsg(stream, &mut [IoSliceMut::new(room)], &mut control, flags)?;
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(came) = message {
                    files.extend(came);
                }
            }
            if files.len() > FILES_MAX {
                return Err(io::Error::other("too many files without their message"));
            }
            Ok(got.bytes)
        })
        .await
    }

    async fn receive_by(
        &self,
        frames: &mut Frames,
        mut read: impl FnMut(&UnixStream, &mut [u8]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        loop {
            self.stream.readable().await?;
            let room = frames.room();
            let got = self
                .stream
                .try_io(Interest::READABLE, || read(&self.stream, room));
            match got {
                Ok(bytes) => {
                    frames.filled(bytes);
                    return Ok(bytes > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
