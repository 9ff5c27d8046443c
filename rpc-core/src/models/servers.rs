//! Servers: a shutdown among calls and connections that come.

use std::{sync::Arc, time::Duration};

use shuttle::{future::block_on, thread};

use super::rig::{ECHO, LATE, Model, Served, Told, check, told};
use crate::{client::Channel, error::Delivery, server::Server, service::Plain, transport::memory};

const GRACE: Duration = Duration::from_secs(10);

#[test]
fn a_shutdown_loses_no_call() {
    check(|| {
        let model = Arc::<Model>::default();
        let listener = block_on(memory::listen("models: a shutdown:0")).expect("a name");
        let connector = memory::connector(listener.local_addr().to_string());
        let server =
            Server::builder().service(Served(Arc::clone(&model))).listen(listener).start().unwrap();
        let builder = Channel::builder().no_timeout().no_keepalive().fail_fast(true);
        let channel = builder.lazy(connector);
        let caller = thread::spawn(move || {
            let calls = [(&ECHO, 1), (&LATE, 2)];
            calls.map(|(method, number)| {
                told(block_on(channel.call::<Plain<u32>>(method, (number,))))
            })
        });
        assert!(block_on(server.shutdown(GRACE)), "nothing had to be broken off");
        let told = caller.join().unwrap();
        let mut replies = 0;
        for (told, number) in told.into_iter().zip([1, 2]) {
            match told {
                Told::Reply(reply) => assert_eq!(reply, number),
                Told::Failed(delivery) => {
                    assert!(matches!(delivery, Delivery::NotSent | Delivery::Rejected));
                }
                Told::Gone => unreachable!("a channel makes another connection"),
            }
            replies += u32::from(matches!(told, Told::Reply(_)));
        }
        assert_eq!(model.begun(), replies, "what ran was answered");
    });
}
