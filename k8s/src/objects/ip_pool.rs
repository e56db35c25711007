//! CiliumPodIPPool objects.

use std::sync::Arc;

use model::Prefix;
use serde_json::Value;
use tables::{IpPool, PoolRanges};

use crate::strict::{At, Refused};

/// Ranges and mask sizes; whom a pool selects by itself is not supported, and refused.
pub(super) fn parse(value: &Value, name: Arc<str>) -> Result<IpPool, String> {
    pool(value, name).map_err(|refused| refused.to_string())
}

fn pool(value: &Value, name: Arc<str>) -> Result<IpPool, Refused> {
    let root = At { path: String::new(), value };
    let mut fields = root.fields()?;
    for known in ["apiVersion", "kind", "metadata", "status"] {
        fields.take(known);
    }
    let Some(spec) = fields.take("spec") else { return root.refuse("spec is required") };
    fields.finish()?;
    let mut fields = spec.fields()?;
    let (ipv4, ipv6) = (fields.take("ipv4"), fields.take("ipv6"));
    fields.finish()?;
    let ipv4 = ipv4.map(|at| ranges(&at)).transpose()?;
    Ok(IpPool { name, ipv4, ipv6: ipv6.map(|at| ranges(&at)).transpose()? })
}

fn ranges(at: &At<'_>) -> Result<PoolRanges, Refused> {
    let mut fields = at.fields()?;
    let (cidrs, mask) = (fields.take("cidrs"), fields.take("maskSize"));
    fields.finish()?;
    let (Some(cidrs), Some(mask)) = (cidrs, mask) else { return at.refuse("cidrs and maskSize are required") };
    let prefix = |item: &At<'_>| item.text()?.parse::<Prefix>().or_else(|error| item.refuse(error.to_string()));
    let cidrs = cidrs.items()?.iter().map(prefix).collect::<Result<_, _>>()?;
    let bits = mask.value.as_u64().and_then(|bits| u8::try_from(bits).ok());
    let Some(mask_size) = bits else { return mask.refuse("expected a number of bits") };
    Ok(PoolRanges { cidrs, mask_size })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pool_has_ranges_and_a_mask_size() {
        let value = json!({"spec": {"ipv4": {"cidrs": ["10.5.0.0/16"], "maskSize": 28}}});
        let pool = parse(&value, "blue".into()).unwrap();
        assert_eq!(pool.ipv4.unwrap(), PoolRanges { cidrs: vec!["10.5.0.0/16".parse().unwrap()], mask_size: 28 });
        assert_eq!(pool.ipv6, None);
        for (spec, part) in [
            (json!({"ipv4": {"cidrs": ["10.5.0.0/33"], "maskSize": 28}}), "spec.ipv4.cidrs[0]"),
            (json!({"ipv4": {"cidrs": []}}), "spec.ipv4: cidrs and maskSize are required"),
            (json!({"podSelector": {}}), "spec.podSelector: not supported"),
        ] {
            let error = parse(&json!({ "spec": spec }), "blue".into()).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
