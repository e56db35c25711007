//! The suite on the in-memory fake.

use std::{sync::Arc, time::Duration};

use kvstore::fake::Fake;

use crate::suite::{self, Store};

#[tokio::test(start_paused = true)]
async fn the_fake_passes_the_suite() {
    let fake = Fake::new();
    let clock = fake.clone();
    // The fake's clock moves with the test's.
    let store = Store {
        backend: Arc::new(fake),
        pass: Box::new(move |time: Duration| {
            let clock = clock.clone();
            Box::pin(async move {
                for _ in 0..10 {
                    tokio::time::sleep(time / 10).await;
                    clock.advance(time / 10);
                }
            })
        }),
    };
    suite::run(&store).await;
}
