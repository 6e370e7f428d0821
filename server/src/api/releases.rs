//! Releases: made of a bundle that is there, listed, shown.

use super::{
    permit::{Permit, Subject},
    request, schemas, uploads, views,
};
use crate::{blobs::Bundles, fleet::Refusal};
use handover_model::{Release, ReleaseRef, ServiceName};
use handover_proto::{
    status::{Reason, refuse},
    v1,
};
use tonic::Status;

/// Makes a release of a bundle that was uploaded.
pub(super) async fn create(
    permit: Permit,
    bundles: &Bundles,
    request: v1::CreateReleaseRequest,
) -> Result<v1::ReleaseInfo, Status> {
    let release =
        request.release.ok_or_else(|| refuse(Reason::InvalidRequest, "field release: is missing", ""))?;
    let release = Release::try_from(release)?;
    let access = permit.service(&release.name.service)?;
    let (by, digest) = (access.by(), release.bundle.digest);
    // Asking keeps the bundle from being pruned until the release has it.
    let received = bundles.received(digest).await.map_err(|error| uploads::refused(&error))?;
    if !received.complete {
        return Err(Refusal::NoBundle(release.name).into());
    }
    let schema = schemas::declared(bundles, &release).await?;
    let subject = Subject::service(&release.name.service).detail(format!(
        "release {}, bundle {}",
        release.name.version,
        digest.short()
    ));
    let stored = access
        .change(subject, move |desk, _| {
            desk.state.create_release(release, schema, &by, desk.now, desk.effects)
        })
        .await?;
    Ok(views::release(&stored, true))
}

/// The releases of a service, or of all that this operator may see.
pub(super) async fn list(
    permit: Permit,
    request: v1::ListReleasesRequest,
) -> Result<v1::ListReleasesResponse, Status> {
    let service: Option<ServiceName> = request::parse_optional("service", &request.service)?;
    let access = permit.filtered(service.as_ref())?;
    let seen_by = access.clone();
    let releases = access.look(move |state, _| {
        let releases = state.list_releases(service.as_ref()).into_iter();
        let seen = releases.filter(|release| seen_by.sees(&release.release.name.service));
        Ok(seen.map(|release| views::release(release, false)).collect())
    });
    Ok(v1::ListReleasesResponse { releases: releases.await? })
}

/// One release with its manifest.
pub(super) async fn get(permit: Permit, request: v1::GetReleaseRequest) -> Result<v1::ReleaseInfo, Status> {
    let v1::GetReleaseRequest { service, version } = request;
    let name = ReleaseRef {
        service: request::parse("service", &service)?,
        version: request::parse("version", &version)?,
    };
    let access = permit.service(&name.service)?;
    let release = access.look(move |state, _| Ok(views::release(state.get_release(&name)?, true)));
    Ok(release.await?)
}
