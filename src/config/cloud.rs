//! Warns of likely mistakes about the cloud: endpoints of other services, unknown regions, a region in place of a project
//! id.
//!
//! They are warnings only, because the cloud may open new regions, and there are private ones.

use super::names::closest;
use super::report::Position;
use super::source_file::SourceFile;
use crate::upstream::Endpoint;

/// Warns if a project's endpoint is not one of MPC's.
pub(super) fn endpoint(source: &SourceFile, place: Position, endpoint: &Endpoint) {
    let host = endpoint.host().trim_end_matches('.');
    let Some((service, region)) = host.strip_suffix(DOMAIN).and_then(|host| host.split_once('.')) else {
        let ending = host.splitn(3, '.').nth(2).unwrap_or_default();
        if let Some(known) = closest(ending, DOMAINS).filter(|_| !DOMAINS.contains(&ending)) {
            let message = format!("`{ending}` is not a Huawei Cloud domain");
            source.warning(place, message, format!("did you mean `{known}`?"));
        }
        return;
    };
    if !matches!(service, "mpc" | "mts") {
        let message = format!("`{host}` is an endpoint of {}, not of MPC", service.to_ascii_uppercase());
        source.warning(place, message, format!("write https://{}.{region}{DOMAIN}", service_in(region)));
    } else if let Some(known) = misspelt(region) {
        source.warning(place, format!("unknown region `{region}`"), format!("did you mean `{known}`?"));
    } else if REGIONS.contains(&region) && service != service_in(region) {
        let message = format!("wrong MPC endpoint for {region}");
        source.warning(place, message, format!("write https://{}.{region}{DOMAIN}", service_in(region)));
    }
}

/// Warns if a project's id is the name of a region.
pub(super) fn project_id(source: &SourceFile, place: Position, id: &str) {
    if is_region(id) || misspelt(id).is_some() {
        let message = format!("`{id}` looks like a region: expected a project id");
        let hint = "the console shows it under My Credentials > API Credentials: 32 hexadecimal digits";
        source.warning(place, message, hint);
    }
}

/// Returns the region that was meant. `None` if it may be an unknown one.
fn misspelt(region: &str) -> Option<&'static str> {
    if is_region(region) { None } else { closest(region, REGIONS) }
}

fn is_region(text: &str) -> bool {
    let area = text.trim_end_matches(|c: char| c.is_ascii_digit());
    area.len() < text.len()
        && area.strip_suffix('-').is_some_and(|area| AREAS.split(' ').any(|known| known == area))
}

fn service_in(region: &str) -> &'static str {
    if region == "cn-north-1" { "mts" } else { "mpc" }
}

const DOMAIN: &str = ".myhuaweicloud.com";
const DOMAINS: [&str; 3] = ["myhuaweicloud.com", "myhuaweicloud.eu", "myhuaweicloud.cn"];
/// The regions with MPC according to the official SDKs.
const REGIONS: [&str; 6] =
    ["cn-north-4", "cn-east-2", "cn-east-3", "cn-south-1", "ap-southeast-3", "cn-north-1"];
const AREAS: &str = "cn-north cn-east cn-south cn-southwest cn-northeast cn-northwest cn-west ap-southeast ap-northeast \
                     ap-south af-south af-north la-north la-south na-mexico sa-brazil tr-west me-east eu-west \
                     ru-northwest";
