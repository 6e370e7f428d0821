//! Releases and their bundles.

use super::{ConvertError, parse};
use crate::v1;
use handover_model::{BundleDescriptor, Release, ReleaseRef, config::MAX_MANIFEST_BYTES};

impl TryFrom<v1::BundleDescriptor> for BundleDescriptor {
    type Error = ConvertError;

    fn try_from(wire: v1::BundleDescriptor) -> Result<Self, ConvertError> {
        let v1::BundleDescriptor { digest, size, tree, unpacked, entries } = wire;
        if size == 0 {
            return Err(ConvertError::new("size", "is 0: even an empty bundle's archive has some bytes"));
        }
        Ok(Self { digest: parse("digest", &digest)?, size, tree: parse("tree", &tree)?, unpacked, entries })
    }
}

impl From<&BundleDescriptor> for v1::BundleDescriptor {
    fn from(bundle: &BundleDescriptor) -> Self {
        let BundleDescriptor { digest, size, tree, unpacked, entries } = bundle;
        Self {
            digest: digest.to_string(),
            size: *size,
            tree: tree.to_string(),
            unpacked: *unpacked,
            entries: *entries,
        }
    }
}

impl From<BundleDescriptor> for v1::BundleDescriptor {
    fn from(bundle: BundleDescriptor) -> Self {
        Self::from(&bundle)
    }
}

impl TryFrom<v1::Release> for Release {
    type Error = ConvertError;

    fn try_from(wire: v1::Release) -> Result<Self, ConvertError> {
        let v1::Release { service, version, bundle, manifest } = wire;
        let bundle = bundle.ok_or_else(|| ConvertError::new("bundle", "is missing"))?;
        if manifest.len() > MAX_MANIFEST_BYTES {
            let reason = format!("has {} bytes, at most {MAX_MANIFEST_BYTES} are taken", manifest.len());
            return Err(ConvertError::new("manifest", reason));
        }
        Ok(Self {
            name: ReleaseRef { service: parse("service", &service)?, version: parse("version", &version)? },
            bundle: bundle.try_into().map_err(|error: ConvertError| error.inside("bundle"))?,
            manifest,
        })
    }
}

impl From<&Release> for v1::Release {
    fn from(release: &Release) -> Self {
        let Release { name: ReleaseRef { service, version }, bundle, manifest } = release;
        Self {
            service: service.to_string(),
            version: version.to_string(),
            bundle: Some(bundle.into()),
            manifest: manifest.clone(),
        }
    }
}

impl From<Release> for v1::Release {
    fn from(release: Release) -> Self {
        Self::from(&release)
    }
}
