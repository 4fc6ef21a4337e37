//! One exchange between two members: each says who it is and whom it knows.

use std::io::{Error, ErrorKind, Result};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::codec;
use crate::model::{Event, Member};

/// Longest message, in bytes: as many members as there may be, at some hundred bytes each.
const MESSAGE_BYTES_MAX: u32 = 8 * 1024 * 1024;

/// What one member says to another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Message {
    /// Who speaks.
    pub(super) from: Member,
    /// Whom it knows.
    pub(super) members: Vec<Member>,
    /// The events of the last while, from the oldest on.
    pub(super) events: Vec<Event>,
    /// Its Lamport clock of events.
    pub(super) event_clock: u64,
}

/// Speaks first, then listens.
pub(super) async fn call(mut stream: TcpStream, message: &Message) -> Result<Message> {
    stream.set_nodelay(true)?;
    send(&mut stream, message).await?;
    receive(&mut stream).await
}

/// Reads one message: a length in four bytes, big-endian, then the record.
pub(super) async fn receive(stream: &mut TcpStream) -> Result<Message> {
    let length = stream.read_u32().await?;
    if length > MESSAGE_BYTES_MAX {
        let why = format!("message of {length} bytes, at most {MESSAGE_BYTES_MAX}");
        return Err(Error::new(ErrorKind::InvalidData, why));
    }
    let mut bytes = Vec::new();
    // What is announced is not taken on trust: the buffer grows with what arrives.
    stream.take(u64::from(length)).read_to_end(&mut bytes).await?;
    codec::decode(&bytes).map_err(|error| Error::new(ErrorKind::InvalidData, error))
}

/// Writes one message.
pub(super) async fn send(stream: &mut TcpStream, message: &Message) -> Result<()> {
    let bytes = codec::encode(message);
    let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= MESSAGE_BYTES_MAX);
    let Some(length) = length else {
        return Err(Error::new(ErrorKind::InvalidData, "more members than a message holds"));
    };
    stream.write_u32(length).await?;
    stream.write_all(&bytes).await?;
    stream.flush().await
}
