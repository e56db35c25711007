//! A prefix, read once and whole: for who asks now and then, and does not follow.

use bytes::Bytes;

use crate::{Backend, Cause, Error, Header, KeyValue, Range, core::pages::Pages};

/// Everything with a prefix, at the header's revision.
#[derive(Debug, Clone, Default)]
pub struct Listed {
    pub header: Header,
    pub kvs: Vec<KeyValue>,
}

/// Reads every key with this prefix, page by page at one revision; `at` 0: the newest.
///
/// # Errors
/// Of the first page that fails; nothing of the others is told then.
pub async fn list(store: &dyn Backend, prefix: impl Into<Bytes>, at: i64) -> Result<Listed, Error> {
    let whole = Range::prefix(prefix);
    let mut pages = Pages::new();
    let (mut start, mut listed) = (whole.key.clone(), Listed::default());
    let mut revision = at;
    loop {
        let page = Range { key: start.clone(), ..whole.clone() }.limit(pages.limit()).at(revision);
        let answer = match store.range(page).await {
            Err(error) if matches!(error.cause, Cause::TooLarge(_)) && pages.halve() => continue,
            answer => answer?,
        };
        pages.learn(answer.kvs.len(), answer.kvs.iter().map(|kv| kv.key.len() + kv.value.len()).sum());
        if revision == at {
            listed.header = answer.header;
            revision = if at == 0 { answer.header.revision } else { at };
        }
        let next = answer.kvs.last().filter(|_| answer.more).map(|kv| Bytes::from([&kv.key[..], b"\0"].concat()));
        listed.kvs.extend(answer.kvs);
        match next {
            Some(next) => start = next,
            None => return Ok(listed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    #[tokio::test]
    async fn a_list_of_several_pages_is_of_one_revision() {
        let fake = Fake::new();
        for n in 0..2500 {
            fake.put(format!("p/{n:04}").into(), "v".into(), None).await.unwrap();
        }
        fake.put("q".into(), "v".into(), None).await.unwrap();
        let listed = list(&fake, "p/", 0).await.unwrap();
        assert_eq!(listed.kvs.len(), 2500);
        assert!(listed.kvs.is_sorted_by_key(|kv| kv.key.clone()));
        fake.delete("p/0000".into()).await.unwrap();
        assert_eq!(list(&fake, "p/", listed.header.revision).await.unwrap().kvs.len(), 2500);
        assert_eq!(list(&fake, "p/", 0).await.unwrap().kvs.len(), 2499);
    }
}
