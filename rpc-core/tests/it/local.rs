//! Channels to services in this process, as tests of applications use them: clients without a
//! socket, and fakes behind real clients.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rpc_core::{Channel, Delivery, ErrorKind, RpcError};

#[rpc_core::service]
trait Mailer {
    async fn send(&self, to: &str, text: &str) -> u64;
    async fn sent(&self) -> u64 {
        0
    }
}

/// What an application does with a mailer.
struct Signup {
    mailer: MailerClient,
}

impl Signup {
    async fn register(&self, name: &str) -> Result<u64, RpcError> {
        self.mailer.send(name, "Welcome!").timeout(Duration::from_secs(1)).await
    }
}

/// Notes what it was asked to send. Some names make it fail.
#[derive(Default)]
struct FakeMailer {
    sent: Mutex<Vec<(String, String)>>,
}

impl Mailer for FakeMailer {
    async fn send(&self, to: &str, text: &str) -> u64 {
        match to {
            "slow" => std::future::pending().await,
            "broken" => panic!("a test's own panic"),
            _ => {}
        }
        let mut sent = self.sent.lock().unwrap();
        sent.push((to.to_owned(), text.to_owned()));
        sent.len() as u64
    }
}

/// The application, and what it talks to.
fn signup() -> (Signup, Arc<FakeMailer>) {
    let fake = Arc::new(FakeMailer::default());
    let channel = Channel::local(MailerServer::new(Arc::clone(&fake)));
    (Signup { mailer: MailerClient::new(channel) }, fake)
}

#[tokio::test]
async fn a_client_in_one_line_calls_the_implementation() {
    let mailer = MailerClient::new(Channel::local(MailerServer::new(FakeMailer::default())));
    assert_eq!(mailer.send("ada", "hi").await.unwrap(), 1);
    assert_eq!(mailer.sent().await.unwrap(), 0);
}

#[tokio::test]
async fn a_fake_behind_a_real_client_shows_what_it_was_asked() {
    let (signup, fake) = signup();
    assert_eq!(signup.register("ada").await.unwrap(), 1);
    assert_eq!(*fake.sent.lock().unwrap(), [("ada".to_owned(), "Welcome!".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn faults_of_a_fake_are_those_of_a_server() {
    let (signup, _fake) = signup();
    let slow = signup.register("slow").await.unwrap_err();
    assert_eq!((slow.kind(), slow.delivery()), (ErrorKind::DeadlineExceeded, Delivery::Unknown));
    let broken = signup.register("broken").await.unwrap_err();
    assert_eq!((broken.kind(), broken.delivery()), (ErrorKind::HandlerPanicked, Delivery::Replied));
    assert_eq!(signup.register("ada").await.unwrap(), 1);
}

#[tokio::test]
async fn the_service_is_gone_with_the_last_channel() {
    let (signup, fake) = signup();
    signup.register("ada").await.unwrap();
    let again = signup.mailer.clone();
    drop(signup);
    assert_eq!(again.send("bob", "hi").await.unwrap(), 2);
    drop(again);
    let gone = async {
        while Arc::strong_count(&fake) > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the service is gone");
}

#[test]
fn a_channel_that_nobody_uses_needs_no_runtime() {
    let (signup, fake) = signup();
    assert!(format!("{signup:?}", signup = signup.mailer).contains("Mailer"));
    drop(signup);
    assert_eq!(Arc::strong_count(&fake), 1);
}

#[tokio::test]
async fn pointers_to_an_implementation_run_its_own_methods() {
    /// Says more than the default.
    struct Loud;

    impl Mailer for Loud {
        async fn send(&self, to: &str, _: &str) -> u64 {
            to.len() as u64
        }
        async fn sent(&self) -> u64 {
            7
        }
    }

    async fn both(mailer: impl Mailer) -> (u64, u64) {
        (mailer.send("ada", "").await, mailer.sent().await)
    }

    let shared = Arc::new(Loud);
    assert_eq!(both(Arc::clone(&shared)).await, (3, 7));
    assert_eq!(both(Box::new(shared)).await, (3, 7));
    let served = MailerClient::new(Channel::local(MailerServer::new(Box::new(Arc::new(Loud)))));
    assert_eq!(served.sent().await.unwrap(), 7, "not the default of the trait");
}
