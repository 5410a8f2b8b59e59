//! `medmerge store list`.

use std::io::Write;

use serde_json::json;

use super::{Error, mib};
use crate::cli::output::{folded, stdout};
use crate::run::utc;
use crate::store::{Manifest, Store};

/// In order of creation.
pub(super) fn list(store: &Store, as_json: bool) -> Result<(), Error> {
    let mut manifests = Vec::new();
    for fingerprint in store.fingerprints()? {
        manifests.extend(store.manifest(&fingerprint)?);
    }
    manifests.sort_by_key(|manifest| (manifest.header.started, manifest.header.fingerprint));
    if as_json {
        let entries: Vec<_> = manifests.iter().map(to_json).collect();
        return Ok(writeln!(std::io::stdout(), "{:#}", serde_json::Value::from(entries))?);
    }
    let kinds = manifests.iter().map(|manifest| manifest.header.kind.len()).max().unwrap_or_default();
    let mut out = stdout();
    for manifest in &manifests {
        let header = &manifest.header;
        let (fingerprint, kind, time) = (header.fingerprint.short(), &header.kind, utc(header.started));
        let (mib, stages) = (mib(bytes(manifest)), header.stage_ids.join(", "));
        let line = format!("{fingerprint}  {kind:<kinds$}  {mib:>8.1} MiB  {time}  {stages}");
        writeln!(out, "{}", folded(&line))?;
    }
    Ok(())
}

fn to_json(manifest: &Manifest) -> serde_json::Value {
    let header = &manifest.header;
    json!({
        "fingerprint": header.fingerprint,
        "kind": header.kind,
        "stage_ids": header.stage_ids,
        "bytes": bytes(manifest),
        "time": utc(header.started),
        "seconds": header.seconds,
    })
}

fn bytes(manifest: &Manifest) -> u64 {
    manifest.files.values().map(|file| file.bytes).sum()
}
