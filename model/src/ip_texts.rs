//! What an address is called by the cluster that it is of.

use std::fmt;

/// The texts of an address, to be packed into [`IpTexts`]. An empty one is none.
#[derive(Debug, Clone, Copy, Default)]
pub struct IpNames<'a> {
    /// Free text of the writer.
    pub metadata: &'a str,
    pub namespace: &'a str,
    pub pod_name: &'a str,
    pub service_account: &'a str,
}

/// The same in one piece of memory: four of their own would weigh more than the rest of the address. Together at most
/// 64 KiB, what no store's value of an address exceeds; what is longer is left out.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct IpTexts {
    all: Box<str>,
    /// Where each but the last one ends.
    ends: [u16; 3],
}

// === impl IpTexts ===

impl IpTexts {
    pub fn metadata(&self) -> Option<&str> {
        self.text(0)
    }

    pub fn namespace(&self) -> Option<&str> {
        self.text(1)
    }

    pub fn pod_name(&self) -> Option<&str> {
        self.text(2)
    }

    pub fn service_account(&self) -> Option<&str> {
        self.text(3)
    }

    fn text(&self, at: usize) -> Option<&str> {
        let end = |at: usize| self.ends.get(at).map_or(self.all.len(), |end| *end as usize);
        let start = at.checked_sub(1).map_or(0, end);
        Some(&self.all[start..end(at)]).filter(|text| !text.is_empty())
    }
}

impl From<IpNames<'_>> for IpTexts {
    fn from(names: IpNames<'_>) -> Self {
        let texts = [names.metadata, names.namespace, names.pod_name, names.service_account];
        let mut all = String::with_capacity(texts.iter().map(|text| text.len()).sum());
        let mut ends = [0; 3];
        for (at, text) in texts.into_iter().enumerate() {
            if all.len() + text.len() <= usize::from(u16::MAX) {
                all.push_str(text);
            }
            if let (Some(end), Ok(now)) = (ends.get_mut(at), u16::try_from(all.len())) {
                *end = now;
            }
        }
        Self { all: all.into(), ends }
    }
}

impl fmt::Debug for IpTexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries((0..4).map(|at| self.text(at).unwrap_or_default())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_comes_back_and_an_empty_one_is_none() {
        for chosen in 0..16_u8 {
            let text = |at: u8, text: &'static str| if chosen & (1 << at) == 0 { "" } else { text };
            let (metadata, namespace, pod_name, service_account) =
                (text(0, "frei"), text(1, "größe"), text(2, "web-1"), text(3, "x"));
            let texts = IpTexts::from(IpNames { metadata, namespace, pod_name, service_account });
            let some = |text: &'static str| Some(text).filter(|text| !text.is_empty());
            assert_eq!(texts.metadata(), some(metadata), "{texts:?}");
            assert_eq!(texts.namespace(), some(namespace), "{texts:?}");
            assert_eq!(texts.pod_name(), some(pod_name), "{texts:?}");
            assert_eq!(texts.service_account(), some(service_account), "{texts:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_left_out_and_nothing_else() {
        let long = "x".repeat(usize::from(u16::MAX) - 3);
        let texts = IpTexts::from(IpNames { metadata: "abc", namespace: &long, pod_name: "d", service_account: "" });
        assert_eq!((texts.metadata(), texts.namespace(), texts.pod_name()), (Some("abc"), Some(&*long), None));
    }

    #[test]
    fn equal_in_one_piece_is_not_equal() {
        let pod = |namespace, pod_name| IpTexts::from(IpNames { namespace, pod_name, ..IpNames::default() });
        assert_ne!(pod("ab", "c"), pod("a", "bc"));
        assert_eq!(pod("ab", "c"), pod("ab", "c"));
    }
}
