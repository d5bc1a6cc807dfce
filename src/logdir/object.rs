//! A log directory in an object store.
//!
//! Owns: keys as paths, listing, the observed version of an object, the runtime for requests. Must not know: the
//! content of objects.
//!
//! One listing per scan. Listed objects are opened without another request, so unchanged objects cost only their part
//! of the listing.

mod client;
mod fault;
mod file;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use object_store::path::Path as Key;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::place::Bucket;
use super::{Discovery, Entry, Kind, LogFile, Logdir, Stat};
use fault::Fault;
use file::ObjectFile;

/// A request that takes longer in spite of the client's own time-outs is given up: the thread that waits for it has a
/// watchdog to feed.
const ASK_WITHIN: Duration = Duration::from_secs(20);

/// Timeout for the next page of a listing. A store usually gives 10 pages of 1,000 keys per second.
const PAGE_WITHIN: Duration = Duration::from_secs(30);

/// Of so many objects, the newest, the version is remembered: the others are old, and another request asks for the
/// version of one that is read after all.
const MOST_LISTED: usize = 100_000;

/// A log directory in an object store.
pub struct ObjectLogdir {
    remote: Arc<Remote>,
    /// The result of the latest listing.
    listed: Mutex<HashMap<PathBuf, Version>>,
}

/// An object store, and what asking it needs.
struct Remote {
    bucket: Bucket,
    client: Arc<dyn ObjectStore>,
    runtime: Runtime,
    /// Whether the last request got through. While it did not, only listing is tried: a thousand objects that each
    /// wait for their time-out would hold the reader up for hours.
    reachable: AtomicBool,
}

/// An object in a listing, with its tag.
type Listed = (Entry, Option<Box<str>>);

/// A version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    size: u64,
    /// Nanoseconds since the Unix epoch; stores give whole seconds.
    modified: i128,
    /// In quotes, as requests and answers write it; Azure's listings do not.
    e_tag: Option<String>,
}

impl Version {
    fn of(meta: &ObjectMeta) -> Version {
        let seconds = i128::from(meta.last_modified.timestamp());
        let modified = seconds * 1_000_000_000 + i128::from(meta.last_modified.timestamp_subsec_nanos());
        Version { size: meta.size, modified, e_tag: meta.e_tag.as_deref().map(quoted) }
    }

    /// Whether an answer is of this version, as far as can be told.
    fn is(&self, meta: &ObjectMeta) -> bool {
        let tag = meta.e_tag.as_deref().map(quoted);
        (self.e_tag.is_none() || tag.is_none() || self.e_tag == tag) && self.size == meta.size
    }

    fn stat(&self) -> Stat {
        let mut hasher = DefaultHasher::new();
        self.e_tag.hash(&mut hasher);
        Stat { size: self.size, modified: self.modified, identity: (hasher.finish(), 0) }
    }
}

fn quoted(tag: &str) -> String {
    if tag.ends_with('"') { tag.to_owned() } else { format!("\"{tag}\"") }
}

impl Remote {
    /// Waits for an answer.
    fn ask<T>(&self, request: impl Future<Output = object_store::Result<T>>) -> Result<T, Fault> {
        if !self.reachable.load(Ordering::Relaxed) {
            return Err(Fault::Unreachable("an earlier request of this scan got no response".to_owned()));
        }
        let answer = self.runtime.block_on(async { timeout(ASK_WITHIN, request).await });
        let result = answer.map_or(Err(Fault::Silent), |result| result.map_err(|error| Fault::of(&error)));
        if result.as_ref().is_err_and(Fault::is_of_the_way) {
            self.reachable.store(false, Ordering::Relaxed);
        }
        result
    }

    fn key(&self, path: &Path) -> io::Result<Key> {
        let odd = || io::Error::new(io::ErrorKind::NotFound, format!("no key can be {}", path.display()));
        let below = path.to_str().ok_or_else(odd)?;
        let separator = if self.bucket.prefix.is_empty() || below.is_empty() { "" } else { "/" };
        Key::parse(format!("{}{separator}{below}", self.bucket.prefix)).map_err(|_| odd())
    }

    /// The path of a key relative to the log directory.
    fn path(&self, key: &Key) -> Option<PathBuf> {
        let below = key.as_ref().strip_prefix(&self.bucket.prefix)?;
        let below = if self.bucket.prefix.is_empty() { below } else { below.strip_prefix('/')? };
        Some(PathBuf::from(below))
    }

    fn shown(&self, key: &Key) -> String {
        Bucket { prefix: key.to_string(), ..self.bucket.clone() }.to_string()
    }

    /// Lists the relevant objects under a key, each with its tag. Returns objects listed before an error, too.
    fn list(&self, under: &Key) -> (Vec<Listed>, Option<Fault>) {
        let mut found = Vec::new();
        let fault = self.runtime.block_on(async {
            let mut objects = self.client.list(Some(under));
            loop {
                match timeout(PAGE_WITHIN, objects.next()).await {
                    Ok(Some(Ok(meta))) => found.extend(self.worth_reading(&meta)),
                    Ok(Some(Err(error))) => return Some(Fault::of(&error)),
                    Ok(None) => return None,
                    Err(_) => return Some(Fault::Silent),
                }
            }
        });
        self.reachable.store(!fault.as_ref().is_some_and(Fault::is_of_the_way), Ordering::Relaxed);
        (found, fault)
    }

    fn worth_reading(&self, meta: &ObjectMeta) -> Option<Listed> {
        let (path, version) = (self.path(&meta.location)?, Version::of(meta));
        let kind = Kind::of(&path)?;
        Some((Entry { path, kind, stat: version.stat() }, version.e_tag.map(String::into_boxed_str)))
    }
}

/// The earliest time such that at most `most` objects were modified then or later.
fn newest_from(found: &[Listed], most: usize) -> i128 {
    if found.len() <= most {
        return i128::MIN;
    }
    let mut times: Vec<i128> = found.iter().map(|(entry, _)| entry.stat.modified).collect();
    let (_, oldest, _) = times.select_nth_unstable_by(most, |a, b| b.cmp(a));
    *oldest + 1
}

impl ObjectLogdir {
    /// A log directory in an object store, whose client is set up by environment variables as is usual for it. Nothing
    /// is asked of it yet.
    ///
    /// # Errors
    ///
    /// The variables are invalid.
    pub fn new(bucket: &Bucket, variables: &BTreeMap<String, String>) -> io::Result<ObjectLogdir> {
        let wrong =
            |error: object_store::Error| Fault::Setup(error.to_string()).told(&format!("ask for {bucket}"), bucket);
        ObjectLogdir::over(client::client(bucket, variables).map_err(wrong)?, bucket)
    }

    fn over(client: Arc<dyn ObjectStore>, bucket: &Bucket) -> io::Result<ObjectLogdir> {
        // One thread transfers the bytes of all requests; callers wait on their own threads.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("nextrun-objects")
            .enable_all()
            .build()?;
        let remote = Remote { bucket: bucket.clone(), client, runtime, reachable: AtomicBool::new(true) };
        Ok(ObjectLogdir { remote: Arc::new(remote), listed: Mutex::default() })
    }

    /// The list behind the lock is whole at any time.
    fn listed(&self) -> MutexGuard<'_, HashMap<PathBuf, Version>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn version(&self, path: &Path) -> io::Result<(Key, Version)> {
        let key = self.remote.key(path)?;
        if let Some(version) = self.listed().get(path) {
            return Ok((key, version.clone()));
        }
        let told = |fault: Fault| fault.told(&format!("read {}", self.remote.shown(&key)), &self.remote.bucket);
        let meta = self.remote.ask(self.remote.client.head(&key)).map_err(told)?;
        Ok((key, Version::of(&meta)))
    }
}

impl Logdir for ObjectLogdir {
    fn check(&self) -> io::Result<()> {
        let (remote, what) = (&self.remote, format!("list {}", self.remote.bucket));
        let told = |fault: Fault| fault.told(&what, &remote.bucket);
        let root = remote.key(Path::new(""))?;
        let first = async { remote.client.list(Some(&root)).next().await.transpose() };
        if remote.ask(first).map_err(told)?.is_some() {
            return Ok(());
        }
        let is_object = !remote.bucket.prefix.is_empty() && remote.ask(remote.client.head(&root)).is_ok();
        let why = if is_object {
            "this is an object, not a prefix; use the part before its last /"
        } else {
            "there is nothing under this prefix"
        };
        Err(io::Error::new(io::ErrorKind::NotFound, format!("cannot {what}: {why}")))
    }

    fn discover(&self, under: &Path) -> Discovery {
        let Ok(key) = self.remote.key(under) else { return Discovery::default() };
        let (mut found, fault) = self.remote.list(&key);
        // A store lists keys in order, in which `a/b/x` is between `a/a` and `a/c`.
        found.sort_unstable_by(|(a, _), (b, _)| (a.path.parent(), &a.path).cmp(&(b.path.parent(), &b.path)));
        let oldest = newest_from(&found, MOST_LISTED);
        let mut listed = self.listed();
        if fault.is_none() {
            listed.retain(|path, _| !path.starts_with(under));
        }
        for (Entry { path, stat, .. }, tag) in found.iter_mut().filter(|(entry, _)| entry.stat.modified >= oldest) {
            let version = Version { size: stat.size, modified: stat.modified, e_tag: tag.take().map(Into::into) };
            listed.insert(path.clone(), version);
        }
        // In place, without a second list.
        let entries = found.into_iter().map(|(entry, _)| entry).collect();
        let problems = fault.iter().map(|fault| {
            let what = format!("list {}", self.remote.shown(&key));
            format!("{}; changes in it are not detected", fault.told(&what, &self.remote.bucket))
        });
        Discovery { entries, problems: problems.collect(), unseen: fault.iter().map(|_| under.to_owned()).collect() }
    }

    /// With a separate request, for a caller without a recent listing.
    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.listed().remove(path);
        self.version(path).map(|(_, version)| version.stat())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let (key, version) = self.version(path)?;
        Ok(Box::new(ObjectFile::new(Arc::clone(&self.remote), key, version)))
    }

    fn local_root(&self) -> Option<&Path> {
        None
    }
}
