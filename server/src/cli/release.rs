//! `handover release`: a folder becomes a release.

use super::{
    connection::Connection, diagnostics, error::CliError, exit, json, manifest_file::ManifestFile,
    table::Table, time,
};
use handover_model::chain;
use handover_proto::v1::{
    BundleDescriptor, CreateReleaseRequest, GetReleaseRequest, GetUploadRequest, ListReleasesRequest,
    Release, UploadBundleRequest, UploadHeader, upload_bundle_request::Part,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    fs::File,
    io::{self, IsTerminal as _, Read as _, Seek as _},
    path::{Path, PathBuf},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// One piece of an upload.
const CHUNK: usize = 256 * 1024;
/// Times that a broken upload is gone on with.
const RESUMES: u32 = 5;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a release of a folder that has a handover.toml.
    Push {
        /// The folder.
        folder: PathBuf,
        /// Its version label; it can be used once.
        #[arg(long)]
        version: String,
        /// The manifest, where it is not the folder's handover.toml.
        #[arg(long, value_name = "FILE")]
        manifest: Option<PathBuf>,
    },
    /// Releases, the newest first.
    List {
        /// Only this service's.
        service: Option<String>,
    },
    /// One release, with its manifest.
    Show {
        /// The service.
        service: String,
        /// The version.
        version: String,
    },
}

pub(super) async fn run(command: Command, mut to: Connection, as_json: bool) -> Result<exit::Exit, CliError> {
    match command {
        Command::Push { folder, version, manifest } => {
            let manifest = manifest.unwrap_or_else(|| folder.join("handover.toml"));
            push(&mut to, &folder, &manifest, version, as_json).await?;
        }
        Command::List { service } => {
            let request = ListReleasesRequest { service: service.unwrap_or_default() };
            let releases = to.client.list_releases(request).await?.into_inner().releases;
            let mut table = Table::new(&["service", "version", "created", "by", "size", "bundle"]);
            for info in &releases {
                if as_json {
                    println!("{}", json::release(info));
                }
                let release = info.release.clone().unwrap_or_default();
                let bundle = release.bundle.unwrap_or_default();
                table.row([
                    release.service,
                    release.version,
                    time::moment(info.created_unix_millis),
                    info.created_by.clone(),
                    indicatif::HumanBytes(bundle.size).to_string(),
                    bundle.digest.chars().take(19).collect(),
                ]);
            }
            if !as_json {
                table.print();
            }
        }
        Command::Show { service, version } => {
            let info = to.client.get_release(GetReleaseRequest { service, version }).await?.into_inner();
            if as_json {
                println!("{}", json::release(&info));
            } else {
                let release = info.release.clone().unwrap_or_default();
                let bundle = release.bundle.unwrap_or_default();
                println!("release {} {}", release.service, release.version);
                println!("  created  {} by {}", time::moment(info.created_unix_millis), info.created_by);
                println!("  bundle   {} ({} entries)", bundle.digest, bundle.entries);
                println!(
                    "  size     {}, unpacked {}",
                    indicatif::HumanBytes(bundle.size),
                    indicatif::HumanBytes(bundle.unpacked)
                );
                println!("\n{}", release.manifest.trim_end());
            }
        }
    }
    Ok(exit::DONE)
}

async fn push(
    to: &mut Connection,
    folder: &Path,
    manifest_path: &Path,
    version: String,
    as_json: bool,
) -> Result<(), CliError> {
    let ManifestFile { text, manifest, .. } = ManifestFile::read(manifest_path)?;
    let bar = progress();
    bar.set_message("packing");
    let (archive, bundle) = pack(folder.to_owned(), bar.clone()).await?;
    bar.set_length(bundle.size);
    bar.set_message("uploading");
    let wire = BundleDescriptor::from(&bundle);
    upload(to, &archive, &wire, &bar).await?;
    bar.finish_and_clear();
    let service = manifest.service.to_string();
    let release = Release { service, version, bundle: Some(wire), manifest: text.clone() };
    let created = to.client.create_release(CreateReleaseRequest { release: Some(release) }).await;
    let info = created.map_err(|status| with_lines(status, manifest_path, &text))?.into_inner();
    if as_json {
        println!("{}", json::release(&info));
    } else {
        let release = info.release.unwrap_or_default();
        println!(
            "release {} {}: bundle {}, {} in {} entries",
            release.service,
            release.version,
            bundle.digest.short(),
            indicatif::HumanBytes(bundle.size),
            bundle.entries
        );
        println!(
            "`handover deploy {} --version {}` carries it to the hosts",
            release.service, release.version
        );
    }
    Ok(())
}

/// A server of another version may find mistakes that this command does not: shown like its own.
fn with_lines(status: tonic::Status, path: &Path, text: &str) -> CliError {
    match CliError::from(status) {
        CliError::Refused { refusal } => match diagnostics::of_refusal(&refusal, path, text) {
            Some(shown) => CliError::ManifestRefused { refusal, shown },
            None => CliError::Refused { refusal },
        },
        other => other,
    }
}

pub(super) fn progress() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) =
        ProgressStyle::with_template("{msg} {bytes} of {total_bytes} {bar:30} {binary_bytes_per_sec}")
    {
        bar.set_style(style);
    }
    bar
}

/// The folder as an archive in a file that nobody else sees.
async fn pack(
    folder: PathBuf,
    bar: ProgressBar,
) -> Result<(File, handover_model::BundleDescriptor), CliError> {
    let packed = tokio::task::spawn_blocking(move || {
        let failed =
            |source| CliError::System { what: "make a temporary file for the bundle".to_owned(), source };
        let mut file = tempfile::tempfile().map_err(failed)?;
        let bundle = handover_bundle::pack(&folder, &mut file, &mut |bytes| bar.set_position(bytes))
            .map_err(|error| CliError::File { path: folder.clone(), problem: chain(&error) })?;
        Ok((file, bundle))
    });
    packed.await.map_err(|error| CliError::Failed(format!("packing was interrupted: {error}")))?
}

/// Sends what the server does not have yet; goes on where a transfer broke.
async fn upload(
    to: &mut Connection,
    archive: &File,
    bundle: &BundleDescriptor,
    bar: &ProgressBar,
) -> Result<(), CliError> {
    let mut resumes = 0;
    loop {
        let there =
            to.client.get_upload(GetUploadRequest { digest: bundle.digest.clone() }).await?.into_inner();
        if there.complete {
            return Ok(());
        }
        let (pieces, stream) = mpsc::channel(4);
        let header = UploadHeader { bundle: Some(bundle.clone()), offset: there.received };
        let reading = read_pieces(archive, there.received, header, pieces, bar.clone());
        let sent = to.client.upload_bundle(ReceiverStream::new(stream));
        let (sent, read) = tokio::join!(sent, reading);
        match sent {
            Ok(_) => {
                read.map_err(|source| CliError::System { what: "read the bundle back".to_owned(), source })?;
                return Ok(());
            }
            Err(status) if status.code() == tonic::Code::Unavailable && resumes < RESUMES => {
                resumes += 1;
                to.again().await?;
            }
            Err(status) => return Err(status.into()),
        }
    }
}

async fn read_pieces(
    archive: &File,
    offset: u64,
    header: UploadHeader,
    pieces: mpsc::Sender<UploadBundleRequest>,
    bar: ProgressBar,
) -> io::Result<()> {
    let mut file = archive.try_clone()?;
    // A receiver that is gone has its reason, which the call returns.
    if pieces.send(UploadBundleRequest { part: Some(Part::Header(header)) }).await.is_err() {
        return Ok(());
    }
    file.seek(io::SeekFrom::Start(offset))?;
    bar.set_position(offset);
    let mut at = offset;
    loop {
        let mut data = vec![0; CHUNK];
        let length = file.read(&mut data)?;
        if length == 0 {
            return Ok(());
        }
        data.truncate(length);
        at += length as u64;
        if pieces.send(UploadBundleRequest { part: Some(Part::Data(data)) }).await.is_err() {
            return Ok(());
        }
        bar.set_position(at);
    }
}
