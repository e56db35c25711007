//! Ranges of addresses as peers.

use model::{CidrPeer, Peer, Prefix};

use crate::objects::ParseOptions;
use crate::strict::{At, Refused};

/// An element of `toCIDR` and `fromCIDR`.
pub(super) fn plain(at: &At<'_>, options: &ParseOptions) -> Result<Peer, Refused> {
    Ok(peer(prefix(at)?, Vec::new(), options))
}

/// An element of `toCIDRSet` and `fromCIDRSet`.
pub(super) fn set(at: &At<'_>, options: &ParseOptions) -> Result<Peer, Refused> {
    let mut fields = at.fields()?;
    let Some(cidr) = fields.take("cidr") else { return at.refuse("cidr is required; groups are not supported") };
    let listed = fields.take("except");
    fields.finish()?;
    let cidr = prefix(&cidr)?;
    let mut except = Vec::new();
    for item in listed.map(|listed| listed.items()).transpose()?.into_iter().flatten() {
        let prefix = prefix(&item)?;
        if !cidr.covers(prefix) {
            return item.refuse(format!("{prefix} is not within {cidr}"));
        }
        except.push(prefix);
    }
    except.sort();
    except.dedup();
    Ok(peer(cidr, except, options))
}

fn prefix(at: &At<'_>) -> Result<Prefix, Refused> {
    at.text()?.parse().or_else(|error: model::InvalidPrefix| at.refuse(error.to_string()))
}

fn peer(cidr: Prefix, except: Vec<Prefix>, options: &ParseOptions) -> Peer {
    Peer::Cidr(CidrPeer { cidr, except, world: options.families.world(cidr.is_ipv4()) })
}
