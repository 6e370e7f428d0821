//! What is compared with itself: the blocks that a server remembers of a service, or those of a file.

use super::super::{
    super::{connection::Connection, error::CliError, manifest_file},
    rows,
};
use handover_judge::{MAX_REQUESTS, Reading};
use handover_model::{Latency, Traffic, config::Manifest};
use handover_proto::v1::{GetReleaseRequest, ListBlocksRequest};
use std::{path::Path, time::Duration};

/// Blocks of one release, with what judges its canaries.
#[derive(Debug)]
pub(super) struct Recorded {
    /// What they are of.
    pub(super) name: String,
    pub(super) manifest: Manifest,
    pub(super) block: Duration,
    /// Hosts that counted something; `None` where nobody knows.
    pub(super) hosts: Option<u32>,
    /// Of each block what the groups of hosts did, at most [`MAX_REQUESTS`] together.
    pub(super) blocks: Vec<Vec<Traffic>>,
    /// Blocks that count more than that: no service does so much, and no judge takes it.
    pub(super) left_out: usize,
}

impl Recorded {
    /// Requests and bad ones.
    pub(super) fn counted(&self) -> [u64; 2] {
        self.blocks.iter().flatten().fold([0, 0], |[requests, bad], traffic| {
            [requests.saturating_add(traffic.requests), bad.saturating_add(traffic.bad)]
        })
    }

    /// What the server remembers of a service, with its current release's manifest or the one that is given.
    pub(super) async fn of_service(
        service: &str,
        manifest: Option<Manifest>,
        mut to: Connection,
    ) -> Result<Self, CliError> {
        let request = ListBlocksRequest { service: service.to_owned() };
        let told = to.client.list_blocks(request).await?.into_inner();
        if told.version.is_empty() {
            let problem =
                format!("no deployment of {service} ended well yet: nothing runs that could be measured");
            return Err(CliError::Failed(problem));
        }
        let manifest = match manifest {
            Some(manifest) => manifest,
            None => {
                let request =
                    GetReleaseRequest { service: service.to_owned(), version: told.version.clone() };
                let release = to.client.get_release(request).await?.into_inner().release.unwrap_or_default();
                Manifest::parse(&release.manifest).map_err(|mistakes| {
                    CliError::Failed(format!(
                        "the manifest of {service} {} cannot be read: {mistakes}",
                        told.version
                    ))
                })?
            }
        };
        let wrong = |error| CliError::Failed(format!("the server told something odd: {error}"));
        let mut blocks = Vec::with_capacity(told.blocks.len());
        for block in told.blocks {
            let groups = block.groups.into_iter().map(Traffic::try_from).collect::<Result<Vec<_>, _>>();
            blocks.push(groups.map_err(wrong)?);
        }
        let all = blocks.len();
        blocks.retain(|groups| is_possible(groups));
        Ok(Self {
            left_out: all - blocks.len(),
            name: format!("{service} {}", told.version),
            manifest,
            block: Duration::from_millis(told.block_millis),
            hosts: Some(told.hosts),
            blocks,
        })
    }

    /// The baseline's counts of a file that `judge replay` reads.
    pub(super) fn of_file(path: &Path, manifest: Option<Manifest>) -> Result<Self, CliError> {
        let (path, rows) = rows::of_file(path)?;
        let traffic = rows.iter().filter_map(|row| match &row.host.baseline {
            Reading::Counted(counts) => {
                let (requests, bad) = (counts.requests(), counts.bad());
                Some(vec![Traffic { requests, bad, latency: None }])
            }
            Reading::Absent | Reading::Reset => None,
        });
        let manifest = manifest.map_or_else(usual, Ok)?;
        Ok(Self {
            name: path.display().to_string(),
            block: manifest.judge.block,
            manifest,
            hosts: None,
            blocks: traffic.collect(),
            // Their line is refused.
            left_out: 0,
        })
    }
}

/// Whether a judge takes all of a block, whoever gets which part of it.
fn is_possible(groups: &[Traffic]) -> bool {
    let requests = groups.iter().map(|traffic| traffic.requests).fold(0, u64::saturating_add);
    let timed = groups.iter().filter_map(|traffic| traffic.latency.as_ref());
    let timed = timed.flat_map(Latency::buckets).copied().fold(0, u64::saturating_add);
    requests.max(timed) <= MAX_REQUESTS
}

/// The manifest that a command is given.
pub(super) fn manifest(path: &Path) -> Result<Manifest, CliError> {
    let path = manifest_file::path_of(path);
    manifest_file::ManifestFile::read(&path).map(|file| file.manifest)
}

/// A manifest in which every key has its default.
fn usual() -> Result<Manifest, CliError> {
    let text = "service = \"file\"\ncommand = [\"file\"]\n";
    Manifest::parse(text).map_err(|mistakes| CliError::Failed(mistakes.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_more_requests_than_a_judge_takes_is_none() {
        let did = |requests, buckets: Option<[u64; 2]>| Traffic {
            requests,
            bad: 0,
            latency: buckets.map(|buckets| Latency::new(vec![0.1], buckets.to_vec()).unwrap()),
        };
        let half = MAX_REQUESTS / 2;
        assert!(is_possible(&[did(half, Some([half, 0])), did(half, Some([0, half]))]));
        assert!(!is_possible(&[did(half, None), did(half + 1, None)]));
        assert!(!is_possible(&[did(u64::MAX, None), did(u64::MAX, None)]));
        assert!(!is_possible(&[did(1, Some([u64::MAX, 1]))]), "also where only its latencies are so many");
    }
}
