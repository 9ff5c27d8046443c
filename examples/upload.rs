//! A file goes to the server piece by piece, with a progress bar, and no faster than it is stored.
//!
//! `cargo run --example upload -- [FILE]`; without one it makes a file of 8 MiB.
//!
//! ```text
//! [#####---------------]  25 %
//! [##########----------]  50 %
//! [###############-----]  75 %
//! [####################] 100 %
//! stored 8388608 bytes, the same as were sent
//! one that can't be read: nothing was stored
//! the next one: refused after 1048576 bytes, the disk is full
//! ```

use std::{
    env,
    error::Error,
    hash::{DefaultHasher, Hasher},
    io,
    path::PathBuf,
};

use bytes::Bytes;
use rpc_core::{CallError, Channel, ErrorKind, Server, StreamSender, Streaming};
use rpc_transport_tcp as transport;
use serde::{Deserialize, Serialize};
use tokio::{fs::File, io::AsyncReadExt};

/// How large the pieces are. `Bytes` is sent as it lies: no copy for the stream's sake.
const PIECE_BYTES: usize = 64 * 1024;

/// What was stored, for the sender to compare.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Receipt {
    bytes: u64,
    hash: u64,
}

#[rpc_core::service]
trait Storage {
    async fn store(&self, room: u64, pieces: Streaming<Bytes>) -> Result<Receipt, String>;
}

struct Disk;

impl Storage for Disk {
    async fn store(&self, room: u64, mut pieces: Streaming<Bytes>) -> Result<Receipt, String> {
        let (mut bytes, mut hasher) = (0, DefaultHasher::new());
        while let Some(piece) = pieces.next().await {
            // The caller broke off, or has gone: what came is not the whole file.
            let piece = piece.map_err(|error| error.to_string())?;
            if bytes + piece.len() as u64 > room {
                // Returning drops the stream, which stops the sender.
                return Err(format!("refused after {bytes} bytes, the disk is full"));
            }
            bytes += piece.len() as u64;
            hasher.write(&piece);
        }
        Ok(Receipt { bytes, hash: hasher.finish() })
    }
}

/// Sends the file. One that can't be read to its end must not look like one that was sent to its end:
/// a sender that is dropped has sent everything.
async fn send(path: PathBuf, sender: StreamSender<Bytes>) -> io::Result<Receipt> {
    let sent = read(path, &sender).await;
    if let Err(error) = &sent {
        sender.abort(error);
    }
    sent
}

/// Reads the file as fast as pieces are taken, and no faster. Returns what the receipt has to say.
async fn read(path: PathBuf, sender: &StreamSender<Bytes>) -> io::Result<Receipt> {
    let mut file = File::open(path).await?;
    let size = file.metadata().await?.len();
    let (mut bytes, mut hasher) = (0, DefaultHasher::new());
    loop {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        (&mut file).take(PIECE_BYTES as u64).read_to_end(&mut piece).await?;
        if piece.is_empty() {
            break;
        }
        hasher.write(&piece);
        let before = bytes;
        bytes += piece.len() as u64;
        if sender.send(piece.into()).await.is_err() {
            break; // the server wants no more
        }
        show_progress(before, bytes, size);
    }
    Ok(Receipt { bytes, hash: hasher.finish() })
}

/// A line for each quarter.
fn show_progress(before: u64, now: u64, size: u64) {
    let quarters = |bytes: u64| bytes * 4 / size.max(1);
    if quarters(before) < quarters(now) {
        let percent = quarters(now) * 25;
        let done = usize::try_from(percent / 5).unwrap_or(20);
        println!("[{:-<20}] {percent:3} %", "#".repeat(done));
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let made = env::temp_dir().join(format!("upload-{}.bin", std::process::id()));
    let path = match env::args().nth(1) {
        Some(path) => PathBuf::from(path),
        None => {
            let content: Vec<u8> = (0..8_u32 << 20).map(|n| n.to_le_bytes()[1]).collect();
            tokio::fs::write(&made, content).await?;
            made.clone()
        }
    };
    let server = Server::builder()
        .service(StorageServer::new(Disk))
        .listen(transport::listen("127.0.0.1:0").await?)
        .start()?;
    let channel = Channel::connect(transport::connector(server.local_addr()?)).await?;
    let storage = StorageClient::new(channel);

    // One piece waits here at most; what is under way beyond that is bounded by the stream's credit.
    let (sender, pieces) = Streaming::channel(1);
    let sending = tokio::spawn(send(path.clone(), sender));
    let receipt = storage.store(u64::MAX, pieces).await?;
    assert_eq!(receipt, sending.await??);
    println!("stored {} bytes, the same as were sent", receipt.bytes);

    // A file that isn't there, as a disk that fails half-way, ends the call with the reason.
    let (sender, pieces) = Streaming::channel(1);
    let sending = tokio::spawn(send(made.with_extension("missing"), sender));
    if let Err(CallError::Rpc(error)) = storage.store(u64::MAX, pieces).await {
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert!(sending.await?.is_err());
        println!("one that can't be read: nothing was stored");
    }

    let pieces = (0..100).map(|_| Bytes::from(vec![0; PIECE_BYTES])).collect();
    if let Err(CallError::App(refusal)) = storage.store(1 << 20, pieces).await {
        println!("the next one: {refusal}");
    }
    if path == made {
        tokio::fs::remove_file(made).await?;
    }
    Ok(())
}
