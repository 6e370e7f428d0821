//! Getting a release's files onto the host: fetched from the server with resume, verified, unpacked.

use backon::BackoffBuilder as _;
use handover_bundle::BundleError;
use handover_model::{BundleDescriptor, Digest, Disk, in_bytes};
use handover_proto::v1::{FetchBundleRequest, agent_service_client::AgentServiceClient};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};
use tokio::{
    io::{AsyncSeekExt as _, AsyncWriteExt as _},
    sync::watch,
};
use tonic::transport::Channel;

/// Unpacked releases that are kept although nothing needs them: a rollback to one of them fetches nothing.
const SPARE: usize = 5;

/// Longest silence inside a transfer.
const STALLED: Duration = Duration::from_secs(30);

/// Where releases come from and go to.
#[derive(Clone, Debug)]
pub struct Bundles {
    /// Unpacked, each under its digest.
    releases: PathBuf,
    /// Archives on their way.
    fetching: PathBuf,
    /// The connection to the server, while there is one.
    server: watch::Receiver<Option<Channel>>,
    /// What must not be removed. Held while a folder is taken away, so that nobody is promised one that goes.
    needed: Arc<Mutex<BTreeSet<Digest>>>,
    /// One bundle is brought by one task at a time: two instances may have the same.
    turns: Arc<Mutex<Turns>>,
}

type Turns = BTreeMap<Digest, Weak<tokio::sync::Mutex<()>>>;

/// Why a bundle is not here.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The transfer broke; it goes on where it stopped.
    #[error("the transfer of bundle {0} broke")]
    Transfer(String, #[source] Box<tonic::Status>),
    /// Nothing came for a while.
    #[error("the transfer of bundle {0} stalled for {STALLED:?}")]
    Stalled(String),
    /// The server sent more than the bundle declares.
    #[error("the server sent more of bundle {0} than the {1} bytes that it declares")]
    TooMuch(String, u64),
    /// The folder cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what it declares, or cannot be unpacked.
    #[error("bundle {0} is refused")]
    Refused(String, #[source] BundleError),
    /// There is too little room for it; nothing was begun.
    #[error(
        "the disk of {} has no room for bundle {bundle}: it needs {} there ({}), and {} are free; make room there, then deploy again",
        folder.display(),
        in_bytes(*needed),
        of_what,
        in_bytes(*free)
    )]
    NoRoom {
        /// Where.
        folder: PathBuf,
        /// Which.
        bundle: String,
        /// Bytes that it needs, with those that are left to others.
        needed: u64,
        /// What they are for.
        of_what: String,
        /// Bytes that are free.
        free: u64,
    },
    /// A worker thread ended.
    #[error("unpacking bundle {0} was interrupted")]
    Interrupted(String),
}

impl FetchError {
    /// Whether another attempt would end the same way: the bundle itself is at fault, not the transfer or the disk.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Refused(_, error) => match error {
                BundleError::TooLarge { .. }
                | BundleError::TooManyNames { .. }
                | BundleError::Undeclared { .. }
                | BundleError::Compression(_)
                | BundleError::Malformed(_)
                | BundleError::Refused { .. }
                | BundleError::WrongTree { .. } => true,
                BundleError::Read(_)
                | BundleError::TooLong { .. }
                | BundleError::TooShort { .. }
                | BundleError::WrongDigest { .. }
                | BundleError::BrokenTree { .. }
                | BundleError::NoSpace { .. }
                | BundleError::DiskFull { .. }
                | BundleError::Busy { .. }
                | BundleError::Io { .. } => false,
            },
            Self::Transfer(..)
            | Self::Stalled(_)
            | Self::TooMuch(..)
            | Self::Write { .. }
            | Self::NoRoom { .. }
            | Self::Interrupted(_) => false,
        }
    }

    /// Whether there was too little room for it on this host: it comes once there is more.
    #[must_use]
    pub fn wants_room(&self) -> bool {
        match self {
            Self::NoRoom { .. }
            | Self::Refused(_, BundleError::NoSpace { .. } | BundleError::DiskFull { .. }) => true,
            Self::Write { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::Transfer(..)
            | Self::Stalled(_)
            | Self::TooMuch(..)
            | Self::Refused(..)
            | Self::Interrupted(_) => false,
        }
    }
}

impl Bundles {
    /// Releases in `releases`, archives in `fetching`, both made when needed.
    #[must_use]
    pub fn new(releases: PathBuf, fetching: PathBuf, server: watch::Receiver<Option<Channel>>) -> Self {
        Self { releases, fetching, server, needed: Arc::default(), turns: Arc::default() }
    }

    /// Removes what an agent that was killed left half unpacked.
    ///
    /// # Errors
    /// When the folder cannot be listed or cleaned.
    pub fn sweep(&self) -> io::Result<()> {
        if self.releases.is_dir() {
            handover_bundle::sweep_temporary(&self.releases).map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// The folder that a release's files are in once they are here.
    #[must_use]
    pub fn folder(&self, digest: &Digest) -> PathBuf {
        self.releases.join(digest.hex())
    }

    /// Brings a bundle here: verified before and after it is unpacked. Tries again while transfers break, for as
    /// long as it is not dropped, and says so each time; what is wrong with the bundle itself ends it.
    ///
    /// # Errors
    /// When the bundle is refused or cannot be written.
    pub async fn bring<F: Future<Output = ()>>(
        &self,
        bundle: &BundleDescriptor,
        trouble: impl Fn(String) -> F,
    ) -> Result<PathBuf, FetchError> {
        let turn = self.turn(bundle.digest);
        let _turn = turn.lock().await;
        if let Some(folder) = self.unpacked(bundle).await? {
            return Ok(folder);
        }
        let archive = self.fetching.join(bundle.digest.hex());
        self.see_to_room(bundle).await?;
        let mut pauses = backon::ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(15))
            .without_max_times()
            .build();
        loop {
            match self.fetch(bundle, &archive).await {
                Ok(()) => break,
                Err(error @ (FetchError::Transfer(..) | FetchError::Stalled(..))) => {
                    let pause = pauses.next().unwrap_or(Duration::from_secs(15));
                    tracing::warn!(bundle = %bundle.digest.short(), error = &error as &dyn std::error::Error, ?pause, "again");
                    trouble(format!(
                        "{}, again in {:.1} s",
                        crate::supervisor::chain(&error),
                        pause.as_secs_f32()
                    ))
                    .await;
                    tokio::time::sleep(pause).await;
                }
                Err(error) => {
                    if error.wants_room() {
                        // What is here of it takes the room that others need. It is gone already where it was none.
                        let _ = tokio::fs::remove_file(&archive).await;
                    }
                    return Err(error);
                }
            }
        }
        let unpacked = self.unpack(bundle, archive.clone()).await;
        // Whole and good it is not needed any more; bad it must not be resumed.
        match tokio::fs::remove_file(&archive).await {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(FetchError::Write { path: archive, source })
            }
            Ok(()) | Err(_) => unpacked,
        }
    }

    /// Looks whether there is room for a bundle, archive and files, before anything is begun. Where there is none,
    /// releases that nothing needs go first.
    async fn see_to_room(&self, bundle: &BundleDescriptor) -> Result<(), FetchError> {
        let (bundles, wanted) = (self.clone(), bundle.clone());
        let looked = tokio::task::spawn_blocking(move || match bundles.room(&wanted) {
            Err(error @ FetchError::NoRoom { .. }) => {
                match bundles.prune_to(0) {
                    Ok(()) => {}
                    Err(why) => tracing::warn!(
                        error = &why as &dyn std::error::Error,
                        "old releases cannot be removed"
                    ),
                }
                // What is said is what is there now.
                bundles
                    .room(&wanted)
                    .inspect_err(|_| tracing::debug!(error = &error as &dyn std::error::Error))
            }
            other => other,
        });
        looked.await.map_err(|_| FetchError::Interrupted(bundle.digest.short()))?
    }

    fn room(&self, bundle: &BundleDescriptor) -> Result<(), FetchError> {
        // Both folders are the agent's state: one file system.
        let there = crate::disks::nearest(&self.releases);
        // Where the file system cannot be asked, writing to it will tell.
        let Ok((free, total)) = crate::facts::disk(there) else { return Ok(()) };
        let here = std::fs::metadata(self.fetching.join(bundle.digest.hex())).map_or(0, |found| found.len());
        let (fetch, unpack) = (bundle.size.saturating_sub(here), handover_bundle::room_for(bundle));
        let reserve = Disk { free, total, ..Disk::default() }.reserve();
        let needed = fetch.saturating_add(unpack).saturating_add(reserve);
        if total == 0 || free >= needed {
            return Ok(());
        }
        Err(FetchError::NoRoom {
            folder: self.releases.clone(),
            bundle: bundle.digest.short(),
            needed,
            of_what: format!(
                "{} to fetch, {} unpacked, {} to be left free",
                in_bytes(fetch),
                in_bytes(unpack),
                in_bytes(reserve)
            ),
            free,
        })
    }

    fn turn(&self, digest: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = turns.get(&digest).and_then(Weak::upgrade).unwrap_or_default();
        turns.insert(digest, Arc::downgrade(&turn));
        turn
    }

    /// Says which bundles must stay. What is needed from here on is not removed, also not by a removal that is under
    /// way.
    pub fn need(&self, digests: BTreeSet<Digest>) {
        *self.needed.lock().unwrap_or_else(PoisonError::into_inner) = digests;
    }

    /// The folder of a bundle that is here already and whole.
    async fn unpacked(&self, bundle: &BundleDescriptor) -> Result<Option<PathBuf>, FetchError> {
        let folder = self.folder(&bundle.digest);
        let expected = bundle.clone();
        let looked = tokio::task::spawn_blocking(move || {
            (folder.is_dir() && handover_bundle::verify_tree(&folder, &expected).is_ok()).then_some(folder)
        });
        looked.await.map_err(|_| FetchError::Interrupted(bundle.digest.short()))
    }

    async fn unpack(&self, bundle: &BundleDescriptor, archive: PathBuf) -> Result<PathBuf, FetchError> {
        let (expected, releases) = (bundle.clone(), self.releases.clone());
        let unpacked = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&releases)
                .map_err(|source| FetchError::Write { path: releases.clone(), source })?;
            let open = |source| FetchError::Write { path: archive.clone(), source };
            let file = std::fs::File::open(&archive).map_err(open)?;
            handover_bundle::unpack(file, &expected, &releases)
                .map_err(|error| FetchError::Refused(expected.digest.short(), error))
        });
        unpacked.await.map_err(|_| FetchError::Interrupted(bundle.digest.short()))?
    }

    /// Appends what is missing of the archive.
    async fn fetch(&self, bundle: &BundleDescriptor, archive: &Path) -> Result<(), FetchError> {
        let short = || bundle.digest.short();
        let write = |source| FetchError::Write { path: archive.to_owned(), source };
        tokio::fs::create_dir_all(&self.fetching).await.map_err(write)?;
        let mut file = tokio::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(archive)
            .await
            .map_err(write)?;
        let mut offset = file.metadata().await.map_err(write)?.len();
        if offset > bundle.size {
            file.set_len(0).await.map_err(write)?;
            offset = 0;
        }
        if offset == bundle.size {
            return Ok(());
        }
        file.seek(io::SeekFrom::Start(offset)).await.map_err(write)?;
        let mut client = AgentServiceClient::new(self.channel(short).await?);
        let request = FetchBundleRequest { digest: bundle.digest.to_string(), offset };
        let broken = |status| FetchError::Transfer(short(), Box::new(status));
        let mut chunks = tokio::time::timeout(STALLED, client.fetch_bundle(request))
            .await
            .map_err(|_| FetchError::Stalled(short()))?
            .map_err(broken)?
            .into_inner();
        loop {
            let chunk = tokio::time::timeout(STALLED, chunks.message())
                .await
                .map_err(|_| FetchError::Stalled(short()))?
                .map_err(broken)?;
            let Some(chunk) = chunk else { break };
            offset += chunk.data.len() as u64;
            if offset > bundle.size {
                file.set_len(0).await.map_err(write)?;
                return Err(FetchError::TooMuch(short(), bundle.size));
            }
            file.write_all(&chunk.data).await.map_err(write)?;
        }
        file.flush().await.map_err(write)?;
        if offset < bundle.size {
            return Err(broken(tonic::Status::unavailable("the stream ended early")));
        }
        Ok(())
    }

    /// The connection to the server, waited for.
    async fn channel(&self, short: impl Fn() -> String) -> Result<Channel, FetchError> {
        let mut server = self.server.clone();
        let channel = server.wait_for(Option::is_some).await.ok().and_then(|channel| channel.clone());
        channel.ok_or_else(|| FetchError::Interrupted(short()))
    }

    /// Removes unpacked releases that nothing needs, but for the newest few, and archives nobody waits for.
    ///
    /// # Errors
    /// When a folder cannot be listed or removed.
    pub fn prune(&self) -> io::Result<()> {
        self.prune_to(SPARE)
    }

    fn prune_to(&self, spare: usize) -> io::Result<()> {
        let mut unneeded = self.unneeded(&self.releases)?;
        unneeded.sort_by_key(|(modified, _)| std::cmp::Reverse(*modified));
        for (_, path) in unneeded.into_iter().skip(spare) {
            // The name first: half a release must not stand under it. What an agent that dies here leaves is swept.
            let aside = self.releases.join(format!(".broken-pruned-{}", std::process::id()));
            if self.unless_needed(&path, |path| std::fs::rename(path, &aside))? {
                tracing::info!(release = %path.display(), "pruned");
                std::fs::remove_dir_all(&aside)?;
            }
        }
        for (_, path) in self.unneeded(&self.fetching)? {
            self.unless_needed(&path, |path| std::fs::remove_file(path))?;
        }
        Ok(())
    }

    fn unneeded(&self, folder: &Path) -> io::Result<Vec<(std::time::SystemTime, PathBuf)>> {
        let needed = self.needed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let names: BTreeSet<String> = needed.iter().map(Digest::hex).collect();
        folders(folder, |name| !names.contains(name))
    }

    /// Takes something away where it is not needed at this moment.
    fn unless_needed(&self, path: &Path, take: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<bool> {
        let needed = self.needed.lock().unwrap_or_else(PoisonError::into_inner);
        if needed.iter().any(|digest| path.file_name().is_some_and(|name| *name == *digest.hex())) {
            return Ok(false);
        }
        take(path).map(|()| true)
    }
}

/// What lies in a folder under 64 hexadecimal digits and is to be looked at.
fn folders(
    folder: &Path,
    wanted: impl Fn(&str) -> bool,
) -> io::Result<Vec<(std::time::SystemTime, PathBuf)>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()) && wanted(name) {
            found.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    Ok(found)
}
