//! An object as a file.
//!
//! Owns: reading it with as few requests as possible, never from two versions. Must not know: listing.
//!
//! Objects are replaced, never appended to, so a handle uses one version: every request names it (`If-Match`), and the
//! response is checked too, because some stores ignore this header. A reader that continues from some position gets one
//! response that extends to the end of the object, read as fast as it is requested. Readers identify files by small
//! reads at the start, so the start is cached.

use std::cell::RefCell;
use std::io;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use object_store::path::Path as Key;
use object_store::{GetOptions, GetResult, ObjectStore as _, ObjectStoreExt as _};

use super::super::{LogFile, Stat};
use super::fault::Fault;
use super::{Remote, Version};
use std::sync::Arc;

/// A read of at least this many bytes is probably one of many, so the rest of the object is requested with it.
const READ_ON: usize = 64 << 10;

/// Number of bytes requested and cached with a small read at the start, so that a small object needs only one request.
const HEAD: u64 = 16 << 10;

/// Number of retries if an object was replaced between listing and reading.
const AGAIN: usize = 2;

pub(super) struct ObjectFile {
    remote: Arc<Remote>,
    key: Key,
    state: RefCell<State>,
}

struct State {
    version: Version,
    /// Whether data of this version were returned, so that the version can no longer change.
    begun: bool,
    /// The first bytes, as far as they were read.
    head: Vec<u8>,
    body: Option<Body>,
}

/// An answer that is being read.
struct Body {
    /// Bytes that were received from `start` on and may be asked for again.
    window: Vec<u8>,
    start: u64,
    rest: BoxStream<'static, object_store::Result<bytes::Bytes>>,
}

impl ObjectFile {
    pub(super) fn new(remote: Arc<Remote>, key: Key, version: Version) -> ObjectFile {
        let state = State { version, begun: false, head: Vec::new(), body: None };
        ObjectFile { remote, key, state: RefCell::new(state) }
    }

    /// Requests a range; `None` if the object ends before it.
    fn get(&self, state: &mut State, offset: u64, len: u64) -> io::Result<Option<GetResult>> {
        for _ in 0..=AGAIN {
            let end = offset.saturating_add(len).min(state.version.size);
            if offset >= end {
                return Ok(None);
            }
            let options = GetOptions {
                range: Some((offset..end).into()),
                if_match: state.version.e_tag.clone(),
                ..GetOptions::default()
            };
            match self.remote.ask(self.remote.client.get_opts(&self.key, options)) {
                Ok(result) if state.version.is(&result.meta) => {
                    state.begun = true;
                    return Ok(Some(result));
                }
                Ok(result) if !state.begun => state.version = Version::of(&result.meta),
                Err(Fault::Changed) if !state.begun => {
                    let meta =
                        self.remote.ask(self.remote.client.head(&self.key)).map_err(|fault| self.told(&fault))?;
                    state.version = Version::of(&meta);
                }
                Ok(_) => break,
                Err(fault) => return Err(self.told(&fault)),
            }
        }
        Err(self.told(&Fault::Changed))
    }

    /// A separate small read.
    fn fetch(&self, state: &mut State, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let wanted = buffer.len() as u64;
        let len = if offset == 0 { wanted.max(HEAD) } else { wanted };
        let Some(result) = self.get(state, offset, len)? else { return Ok(0) };
        let bytes = self.remote.ask(result.bytes()).map_err(|fault| self.told(&fault))?;
        if offset == 0 {
            state.head = bytes.to_vec();
        }
        Ok(copy(&bytes, buffer))
    }

    /// A read that others will follow.
    fn follow(&self, state: &mut State, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let goes_on = |body: &Body| body.start <= offset && offset <= body.start + body.window.len() as u64;
        let mut body = match state.body.take().filter(goes_on) {
            Some(body) => body,
            None => match self.get(state, offset, u64::MAX)? {
                Some(result) => Body { window: Vec::new(), start: offset, rest: result.into_stream() },
                None => return Ok(0),
            },
        };
        body.window.drain(..(offset - body.start) as usize);
        body.start = offset;
        let there = state.version.size.saturating_sub(offset);
        let wanted = usize::try_from(there).unwrap_or(usize::MAX).min(buffer.len());
        while body.window.len() < wanted {
            let next = async { body.rest.next().await.transpose() };
            match self.remote.ask(next).map_err(|fault| self.told(&fault))? {
                Some(bytes) => body.window.extend_from_slice(&bytes),
                None => return Err(self.told(&Fault::Other("the response ended early".to_owned()))),
            }
        }
        if offset == 0 {
            state.head = body.window[..wanted.min(HEAD as usize)].to_vec();
        }
        let given = copy(&body.window[..wanted], buffer);
        state.body = Some(body);
        Ok(given)
    }

    fn told(&self, fault: &Fault) -> io::Error {
        fault.told(&format!("read {}", self.remote.shown(&self.key)), &self.remote.bucket)
    }
}

impl LogFile for ObjectFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = &mut *self.state.borrow_mut();
        let end = offset.saturating_add(buffer.len() as u64).min(state.version.size);
        if offset >= end {
            return Ok(0);
        }
        if end <= state.head.len() as u64 {
            return Ok(copy(&state.head[offset as usize..end as usize], buffer));
        }
        if buffer.len() < READ_ON { self.fetch(state, buffer, offset) } else { self.follow(state, buffer, offset) }
    }

    fn stat(&self) -> io::Result<Stat> {
        Ok(self.state.borrow().version.stat())
    }

    fn is_version(&self) -> bool {
        true
    }
}

fn copy(bytes: &[u8], buffer: &mut [u8]) -> usize {
    let len = bytes.len().min(buffer.len());
    buffer[..len].copy_from_slice(&bytes[..len]);
    len
}
