//! A chat: each member's lines go in, everybody's come out, over one call that lasts as long as the
//! member stays.
//!
//! ```sh
//! cargo run --example chat -- serve [--addr HOST:PORT]
//! cargo run --example chat -- join NAME [--addr HOST:PORT]   # says what it reads from its input
//! ```
//!
//! Without arguments both play out in one process:
//!
//! ```text
//! ada hears: ada joined
//! ada hears: bob joined
//! bob hears: bob joined
//! eve is turned away: there is an ada already
//! ada hears: bob: hello, ada
//! bob hears: bob: hello, ada
//! ada hears: bob left
//! ```

mod hello_service;

use std::{
    collections::HashSet,
    error::Error,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use hello_service::{Args, exit_code, parse_args};
use rpc_core::{CallError, Channel, Server, StreamSender, Streaming};
use rpc_transport_tcp as transport;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    sync::broadcast,
};

const USAGE: &str = "chat [serve | join NAME] [--addr HOST:PORT]";

#[rpc_core::service]
trait Chat {
    /// Says `lines` to everybody, and returns what everybody says. It lasts until `lines` ends.
    async fn join(&self, name: &str, lines: Streaming<String>)
    -> Result<Streaming<String>, String>;
}

struct Room {
    /// What was said. A member that reads too slowly misses lines; nobody waits for it.
    said: broadcast::Sender<String>,
    members: Arc<Mutex<HashSet<String>>>,
}

impl Room {
    fn new() -> Self {
        Self { said: broadcast::Sender::new(64), members: Arc::default() }
    }
}

impl Chat for Room {
    async fn join(
        &self,
        name: &str,
        lines: Streaming<String>,
    ) -> Result<Streaming<String>, String> {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        if !members.insert(name.to_owned()) {
            return Err(format!("there is an {name} already"));
        }
        let (sender, heard) = Streaming::channel(1);
        let member = Member {
            name: name.to_owned(),
            said: self.said.clone(),
            members: Arc::clone(&self.members),
        };
        let hearing = self.said.subscribe();
        tokio::spawn(member.stay(hearing, lines, sender));
        Ok(heard)
    }
}

/// One who is there; it leaves when it is dropped.
struct Member {
    name: String,
    said: broadcast::Sender<String>,
    members: Arc<Mutex<HashSet<String>>>,
}

impl Member {
    async fn stay(
        self,
        mut hearing: broadcast::Receiver<String>,
        mut lines: Streaming<String>,
        sender: StreamSender<String>,
    ) {
        self.say(format!("{} joined", self.name));
        loop {
            tokio::select! {
                line = lines.next() => match line {
                    Some(Ok(line)) => self.say(format!("{}: {line}", self.name)),
                    // It said good-bye, or it is gone.
                    Some(Err(_)) | None => return,
                },
                line = hearing.recv() => {
                    let line = match line {
                        Ok(line) => line,
                        Err(broadcast::error::RecvError::Lagged(n)) => format!("({n} lines missed)"),
                        Err(broadcast::error::RecvError::Closed) => return,
                    };
                    if sender.send(line).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn say(&self, line: String) {
        let _nobody_is_there = self.said.send(line);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.members.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
        self.say(format!("{} left", self.name));
    }
}

async fn serve(addr: &str) -> Result<Server, Box<dyn Error>> {
    let room = ChatServer::new(Room::new());
    let server = Server::builder().service(room).listen(transport::listen(addr).await?).start()?;
    Ok(server)
}

async fn client(addr: &str) -> Result<ChatClient, Box<dyn Error>> {
    Ok(ChatClient::new(Channel::connect(transport::connector(addr)).await?))
}

/// Says what it reads, prints what it hears, until its input ends.
async fn join(addr: &str, name: &str) -> Result<(), Box<dyn Error>> {
    let (sender, lines) = Streaming::channel(1);
    // People think for longer than ten seconds.
    let mut heard = client(addr).await?.join(name, lines).no_deadline().await?;
    tokio::spawn(async move {
        let mut input = BufReader::new(tokio::io::stdin()).lines();
        while let Ok(Some(line)) = input.next_line().await {
            if sender.send(line).await.is_err() {
                return;
            }
        }
    });
    while let Some(line) = heard.next().await {
        println!("{}", line?);
    }
    Ok(())
}

/// Ada and Bob meet, in one process.
async fn demonstrate() -> Result<(), Box<dyn Error>> {
    async fn hears(name: &str, heard: &mut Streaming<String>) -> Result<(), Box<dyn Error>> {
        println!("{name} hears: {}", heard.next().await.ok_or("it ended")??);
        Ok(())
    }
    let server = serve("127.0.0.1:0").await?;
    let addr = server.local_addr()?.to_string();
    let (ada, bob) = (client(&addr).await?, client(&addr).await?);

    let (_ada_says, lines) = Streaming::channel(1);
    let mut to_ada = ada.join("ada", lines).await?;
    hears("ada", &mut to_ada).await?;
    let (bob_says, lines) = Streaming::channel(1);
    let mut to_bob = bob.join("bob", lines).await?;
    hears("ada", &mut to_ada).await?;
    hears("bob", &mut to_bob).await?;
    if let Err(CallError::App(reason)) = bob.join("ada", Streaming::from(vec![])).await {
        println!("eve is turned away: {reason}");
    }

    bob_says.send("hello, ada".to_owned()).await?;
    hears("ada", &mut to_ada).await?;
    hears("bob", &mut to_bob).await?;
    drop((bob_says, to_bob));
    hears("ada", &mut to_ada).await
}

async fn run() -> Result<(), Box<dyn Error>> {
    let Args { addr, udp: false, rest } = parse_args(USAGE)? else {
        return Err(format!("usage: {USAGE}").into());
    };
    match rest.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => demonstrate().await,
        ["join", name] => join(&addr, name).await,
        ["serve"] => {
            let server = serve(&addr).await?;
            println!("listening on {}", server.local_addr()?);
            Ok(tokio::signal::ctrl_c().await?)
        }
        _ => Err(format!("usage: {USAGE}").into()),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = run().await;
    // Reading from a terminal holds a thread that can't be stopped.
    let code = exit_code(result);
    if code == ExitCode::SUCCESS {
        std::process::exit(0);
    }
    code
}
